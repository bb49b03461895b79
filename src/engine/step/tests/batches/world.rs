//! Records that talk to each other, and the worker between them: it loads, steps, stores, carries what is said, and writes dead letters.

use std::collections::VecDeque;

use super::super::*;
use crate::engine::delivery::batch;
use crate::engine::effect::Passed;
use crate::engine::record::{Dead, Ending, Piece};

pub struct World {
    pub campaign: Campaign,
    destination: Destination,
    workspace: Workspace,
    in_force: InForce,
    pub records: BTreeMap<UserId, Known>,
    mail: VecDeque<(UserId, Input)>,
    /// Dead letters, in order.
    pub letters: Vec<(UserId, Dead)>,
    /// Requests given out, in order: whose, and what it says.
    pub requests: Vec<(UserId, DeliveryId, Arc<Request>)>,
    offset: i64,
    now: Timestamp,
}

pub fn world(max: u32, linger: &str) -> World {
    let profiles = Profiles { target_id: None, key_values: Value::Object(Object::new()), fields: None, profile_data: None };
    let mut campaign = api("k").always();
    campaign.webhook.body = Body::Profiles(profiles);
    let mut destination = Destination::new("d".into(), "api.example.com".into());
    destination.batch = Some(Batch { max, linger: span(linger) });
    let workspace = Workspace::default();
    let mut world = World {
        in_force: in_force(1, &[], &workspace),
        campaign,
        destination,
        workspace,
        records: BTreeMap::new(),
        mail: VecDeque::new(),
        letters: Vec::new(),
        requests: Vec::new(),
        offset: 0,
        now: START,
    };
    world.assemble();
    world
}

impl World {
    pub fn assemble(&mut self) {
        let revision = self.in_force.revision + 1;
        let (campaigns, destinations) = (vec![self.campaign.clone()], vec![self.destination.clone()]);
        self.in_force = InForce::assemble(revision, campaigns, destinations, self.workspace.clone(), policy());
    }

    pub fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (input, expected) = line.split_once("=>").unwrap_or((line, ""));
            assert_eq!(self.line(input.trim()).join(", "), expected.trim(), "at `{line}` of{script}");
        }
    }

    pub fn line(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.now = at(words[0]);
        let mut shown = Vec::new();
        match words[1] {
            "claim" | "delete" => {
                for user in words[2..].iter().filter(|word| !["lost", "unreported"].contains(word)) {
                    let body = match words[1] {
                        "claim" => {
                            let properties = [("claim".into(), Value::text(format!("{}", self.offset)))].into_iter().collect();
                            EventBody::Send { campaign: "k".into(), properties, traits: Object::new() }
                        }
                        _ => EventBody::Delete,
                    };
                    let event = self.event(user, body);
                    self.give(&UserId::from(*user), &Input::Event(event), &mut shown);
                }
            }
            "wake" => {
                let due = |(user, known): (&UserId, &Known)| {
                    wake(user, known, &self.in_force, self.now).is_some_and(|wake| wake <= self.now).then(|| user.clone())
                };
                let due: Vec<UserId> = self.records.iter().filter_map(due).collect();
                due.iter().for_each(|user| self.give(user, &Input::Wake { read_to: self.now }, &mut shown));
            }
            "set" => {
                self.campaign.status = Some(serde_json::from_value(words[2].into()).unwrap());
                self.assemble();
            }
            "redrive" => {
                let user = UserId::from(words[2]);
                let (_, dead) = self.letters.iter().rfind(|(whose, _)| *whose == user).expect("a letter").clone();
                let judged = redrivable(&self.in_force, &user, &self.records[&user], &dead, self.now);
                shown.extend(judged.err().map(|refusal| format!("skipped, {}", refusal.as_str())));
                self.give(&user, &Input::Redrive(Box::new(dead)), &mut shown);
            }
            "idle" => {}
            verb => {
                let number: usize = words[2].parse().unwrap();
                let (user, id, request) = self.requests[number].clone();
                let made = words[3].parse::<u32>().unwrap();
                let input = match verb {
                    "end" => {
                        let verdict = if made == 200 { Verdict::Delivered } else { Verdict::Failed };
                        let entry = self.records.get(&user).and_then(|known| known.record.pending.iter().find(|entry| entry.id == id));
                        let attempt = entry.map_or(1, |entry| entry.phase.attempt());
                        Input::Attempted { id, attempt, verdict, status: Some(made as u16), cause: None }
                    }
                    "park" => Input::Parked { id, attempt: made, until: self.now.after(span("1m")), unstarted: made == 0 },
                    "retry" => Input::Retry { id, attempt: made, unstarted: made == 0, request },
                    other => panic!("no verb `{other}`"),
                };
                self.give(&user, &input, &mut shown);
            }
        }
        if words.last() == Some(&"lost") {
            self.mail.clear();
        }
        while let Some((to, input)) = self.mail.pop_front() {
            if words.last() == Some(&"unreported") && matches!(input, Input::Attempted { .. }) {
                continue;
            }
            self.give(&to, &input, &mut shown);
            let before = self.records.get(&to).cloned();
            let mail = self.mail.len();
            self.give(&to, &input, &mut Vec::new());
            // Who asks a batch that is gone opens another, and is not in it when that closes.
            assert!(before.is_none() || self.records.get(&to) == before.as_ref(), "said twice: {input:?}");
            self.mail.truncate(mail);
        }
        shown
    }

    fn event(&mut self, user: &str, body: EventBody) -> Arc<Event> {
        self.offset += 1;
        Arc::new(Event {
            user: user.into(),
            message_id: format!("m{}", self.offset).into(),
            timestamp: self.now,
            position: Position { source: SourceId(1), offset: self.offset, broker_time: self.now },
            anonymous_id: None,
            device_token: None,
            context_traits: Object::new(),
            body,
        })
    }

    fn give(&mut self, user: &UserId, input: &Input, shown: &mut Vec<String>) {
        let stored = self.records.get(user).cloned().unwrap_or_default();
        let mut known = stored.clone();
        let stepped = loop {
            let stepped = step(&self.in_force, user, known.clone(), input, self.now);
            if stepped.asks.is_empty() {
                break stepped;
            }
            for ask in stepped.asks {
                let Ask::Stands { user: member, id } = ask else { panic!("{ask:?}") };
                let stands = self.records.get(&member).is_some_and(|known| batch::stands(&known.record, id, user));
                known.standing.push((id, stands));
            }
        };
        assert_eq!(stepped.record_changed, stepped.known.record != stored.record, "{input:?}");
        assert_eq!(codec::decode(&codec::encode(&stepped.known.record)).as_ref(), Ok(&stepped.known.record));
        for effect in stepped.effects {
            match effect {
                Effect::Decided(line) if line.outcome == Outcome::Sent => shown.push(format!("sent {user}")),
                Effect::Decided(line) => shown.push(format!("{user}: {}", line.reason.expect("a reason").as_str())),
                Effect::Send(id) | Effect::Fail(id, _) => {
                    let entry = stepped.known.record.pending.iter().find(|entry| entry.id == id).expect("it is pending");
                    let what = match entry.phase {
                        Phase::Sending { attempt, .. } => format!("#{attempt}"),
                        Phase::Failing { cause, .. } => format!("{cause:?}"),
                        other => panic!("{other:?}"),
                    };
                    shown.push(format!("{what} {}", self.whose(user, &stepped.known)));
                    if let Some(request) = &entry.request {
                        self.requests.push((user.clone(), id, request.clone()));
                    }
                }
                Effect::Pass { to, passed } => {
                    if let Passed::Settled { ending, .. } = &*passed {
                        shown.push(format!("{to} {}", if ending.delivered { "delivered" } else { "failed" }));
                    }
                    self.mail.push_back((to, Input::Passed(passed)));
                }
                Effect::Bury(id, ending) => {
                    let mut entry = stepped.known.record.pending.iter().find(|entry| entry.id == id).expect("it is pending").clone();
                    let Ending { attempt, status, cause, .. } = *ending;
                    entry.phase = Phase::Sending { attempt, lease: self.now };
                    shown.push(format!("letter {user} #{attempt}"));
                    self.letters.push((user.clone(), Dead { at: self.now, entry }));
                    self.mail.push_back((user.clone(), Input::Attempted { id, attempt, verdict: Verdict::Failed, status, cause }));
                }
                Effect::Postpone { until, .. } => shown.push(format!("postpone {}", show_time(until))),
                Effect::Skipped => {}
                other => panic!("{other:?}"),
            }
        }
        match wake(user, &stepped.known, &self.in_force, self.now) {
            Some(_) => self.records.insert(user.clone(), stepped.known),
            None => self.records.remove(user),
        };
    }

    /// The users of a record's request, as its body says, checked against its members.
    fn whose(&self, user: &UserId, known: &Known) -> String {
        let Some(found) = &known.record.batch else { return user.to_string() };
        let request = known.record.pending[0].request.as_ref().expect("a request");
        let body: serde_json::Value = serde_json::from_str(&text_of(request)).expect("JSON");
        let named: Vec<&str> = body["profiles"].as_array().unwrap().iter().map(|one| one["Identity"].as_str().unwrap()).collect();
        let members: Vec<&str> = found.members.iter().map(|member| &*member.user).collect();
        assert_eq!(named, members);
        for member in &found.members {
            let own = self.records[&member.user].record.pending.iter().find(|entry| entry.id == member.id).expect("pending");
            let own: serde_json::Value = serde_json::from_str(&text_of(own.request.as_ref().expect("frozen"))).expect("JSON");
            assert_eq!(own["profiles"][0]["Identity"], *member.user);
        }
        named.join("+")
    }

    /// Whatever stands in its way, everything ends: what is out is answered, what waits comes up.
    pub fn end_all(&mut self, from: u64) {
        for second in from..from + 1000 {
            if self.batches() == 0 && self.records.values().all(|known| known.record.pending.is_empty()) {
                return;
            }
            self.line(&format!("{second}s wake"));
            let is_out = |(user, id, _): &(UserId, DeliveryId, Arc<Request>)| {
                self.records.get(user).is_some_and(|known| known.record.pending.iter().any(|entry| entry.id == *id))
            };
            let out: Vec<usize> = (0..self.requests.len()).filter(|number| is_out(&self.requests[*number])).collect();
            for number in out {
                self.line(&format!("{second}s end {number} 200"));
            }
        }
    }

    pub fn batches(&self) -> usize {
        self.records.keys().filter(|id| batch::is_id(id)).count()
    }
}

pub fn text_of(request: &Request) -> String {
    let pieces = &request.body.as_ref().expect("a body").0;
    pieces.iter().map(|piece| if let Piece::Text(text) = piece { &**text } else { "null" }).collect()
}
