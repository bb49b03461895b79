//! Batches: several records that talk to each other, by scripts. What one has to say to another arrives at once unless a line ends in
//! `lost`, and is said twice: the second time must change nothing that matters.
//!
//! ```text
//! 0s claim u1 u2 => ..     sends by the API; also: delete u1
//! 1s wake                  whoever wants a look
//! 2s end N 200 | end N 400 request N ended so; also: park N M (M made), retry N M (unstarted if M is 0)
//! 3s set paused | set ended
//! ```

use std::collections::VecDeque;

use super::*;
use crate::engine::delivery::batch;
use crate::engine::effect::Passed;
use crate::engine::record::{BatchPhase, Piece};

struct World {
    campaign: Campaign,
    destination: Destination,
    workspace: Workspace,
    in_force: InForce,
    records: BTreeMap<UserId, Known>,
    mail: VecDeque<(UserId, Passed)>,
    /// Requests given out, in order: whose, and what it says.
    requests: Vec<(UserId, DeliveryId, Arc<Request>)>,
    offset: i64,
    now: Timestamp,
}

fn world(max: u32, linger: &str) -> World {
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
        requests: Vec::new(),
        offset: 0,
        now: START,
    };
    world.assemble();
    world
}

impl World {
    fn assemble(&mut self) {
        let revision = self.in_force.revision + 1;
        let (campaigns, destinations) = (vec![self.campaign.clone()], vec![self.destination.clone()]);
        self.in_force = InForce::assemble(revision, campaigns, destinations, self.workspace.clone(), policy());
    }

    fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (input, expected) = line.split_once("=>").unwrap_or((line, ""));
            assert_eq!(self.line(input.trim()).join(", "), expected.trim(), "at `{line}` of{script}");
        }
    }

    fn line(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.now = at(words[0]);
        let mut shown = Vec::new();
        match words[1] {
            "claim" | "delete" => {
                for user in words[2..].iter().filter(|word| **word != "lost") {
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
            "idle" => {}
            verb => {
                let number: usize = words[2].parse().unwrap();
                let (user, id, request) = self.requests[number].clone();
                let made = words[3].parse::<u32>().unwrap();
                let input = match verb {
                    "end" => {
                        let verdict = if made == 200 { Verdict::Delivered } else { Verdict::Failed };
                        Input::Attempted { id, attempt: 9, verdict, status: Some(made as u16), cause: None }
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
        while let Some((to, passed)) = self.mail.pop_front() {
            let input = Input::Passed(Box::new(passed));
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
                    self.mail.push_back((to, *passed));
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
            let own = batch::of_member(request, &found.members[0], member).expect("a request of its own");
            let frozen = &self.records[&member.user].record.pending.iter().find(|entry| entry.id == member.id).expect("pending").request;
            assert_eq!(Some(&own), frozen.as_deref());
        }
        named.join("+")
    }

    /// Whatever stands in its way, everything ends: what is out is answered, what waits comes up.
    fn end_all(&mut self, from: u64) {
        for second in from..from + 1000 {
            if self.batches() == 0 && self.records.values().all(|known| known.record.pending.is_empty()) {
                return;
            }
            self.line(&format!("{second}s wake"));
            for number in 0..self.requests.len() {
                self.line(&format!("{second}s end {number} 200"));
            }
        }
    }

    fn batches(&self) -> usize {
        self.records.keys().filter(|id| batch::is_id(id)).count()
    }
}

fn text_of(request: &Request) -> String {
    let pieces = &request.body.as_ref().expect("a body").0;
    pieces.iter().map(|piece| if let Piece::Text(text) = piece { &**text } else { "null" }).collect()
}

fn check(max: u32, linger: &str, script: &str) -> World {
    let mut world = world(max, linger);
    world.play(script);
    world
}

#[test]
fn a_batch_goes_out_when_it_is_full_or_has_lingered() {
    let world = check(
        2,
        "1s",
        "
        0s claim u1 u2 u3 => sent u1, sent u2, sent u3, #1 u1+u2
        1s wake => #1 u3
        2s end 0 200 => u1 delivered, u2 delivered
        2s end 1 500 => u3 failed
        4s wake
    ",
    );
    assert_eq!(world.batches(), 0, "what has ended is gone");
    assert!(world.records.values().all(|known| known.record.pending.is_empty()));
    check(
        100,
        "30s",
        "
        0s claim u1 => sent u1
        29s claim u2 => sent u2
        29s wake
        30s wake => #1 u1+u2
        30s end 0 200 => u1 delivered, u2 delivered
        31s claim u3 => sent u3
        61s wake => #1 u3
    ",
    );
}

#[test]
fn what_is_lost_on_the_way_is_asked_for_again_in_the_same_batch() {
    // The question was lost.
    let world = check(
        3,
        "1s",
        "
        0s claim u1 lost => sent u1
        0s claim u2 => sent u2
        1s wake => #1 u2
        16s wake => #2 u2, sent u1, sent u2
        16s end 0 200 => u2 delivered
        17s wake => #1 u1
        17s end 2 200 => u1 delivered
    ",
    );
    assert_eq!(world.requests[0].1, world.requests[1].1, "a take-over has the same id");
    assert_ne!(world.requests[0].1, world.requests[2].1);
    // The answer was lost: who asks again is in the batch already.
    let world = check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s end 0 200 lost => u1 delivered, u2 delivered
        3s wake => u1 delivered, u2 delivered
        33s wake
    ",
    );
    assert_eq!((world.batches(), world.requests.len()), (0, 1));
}

#[test]
fn who_asks_a_closed_batch_is_told_so_and_asks_no_more() {
    check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s park 0 1
        16s wake => sent u1, sent u2
        17s wake
        61s retry 0 1 => #2 u1+u2
        62s end 0 200 => u1 delivered, u2 delivered
    ",
    );
}

#[test]
fn a_user_who_is_deleted_before_it_goes_out_is_not_in_it() {
    check(
        3,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2
        0s delete u1 => u1: user_deleted
        1s wake => #1 u2
    ",
    );
    let world = check(
        3,
        "1s",
        "
        0s claim u1 => sent u1
        0s delete u1 => u1: user_deleted
        1s wake
    ",
    );
    assert_eq!(world.batches(), 0, "a batch of nobody is gone");
}

#[test]
fn a_pause_or_an_end_sends_everybody_back() {
    check(
        3,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2
        0s set paused
        1s wake
        30s wake
        31s set running
        61s wake => sent u1, sent u2, sent u1, sent u2
        62s wake => #1 u1+u2
    ",
    );
    check(
        3,
        "1s",
        "
        0s claim u1 => sent u1
        0s set ended
        1s wake => Ended u1
    ",
    );
    check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s park 0 1
        2s set ended
        3s retry 0 1 => Ended u1+u2
        3s end 0 400 => u1 failed, u2 failed
    ",
    );
}

#[test]
fn a_batch_that_was_never_started_is_dissolved_when_its_claims_are_old() {
    let world = check(
        2,
        "1s",
        "
        0s claim u1 u2 => sent u1, sent u2, #1 u1+u2
        1s park 0 0
        30s retry 0 0 => #1 u1+u2
        31s park 1 0
        90s retry 1 0 => sent u1, sent u2, #1 u1+u2
        91s end 2 200 => u1 delivered, u2 delivered
    ",
    );
    assert_eq!(world.requests.len(), 3);
}

#[test]
fn a_batch_is_closed_before_it_is_too_large() {
    let mut world = world(1000, "1s");
    let mut closed_at = None;
    for number in 0..1000 {
        let user = format!("{number:0>250}");
        let shown = world.line(&format!("0s claim {user}"));
        if shown.len() > 1 {
            closed_at = Some(number);
            break;
        }
    }
    let closed_at = closed_at.expect("closed before a thousand");
    let (_, _, request) = world.requests.last().expect("a request");
    assert!((100..=closed_at).contains(&closed_at) && request.weight() <= batch::MAX_BATCH_BYTES, "{} of {closed_at}", request.weight());
    assert!(request.weight() * 2 > batch::MAX_BATCH_BYTES / 2, "{}", request.weight());
    assert_eq!(world.batches(), 2, "who found no room is in another");
    for known in world.records.values() {
        assert!(codec::encode(&known.record).len() <= crate::engine::step::bounds::RECORD_HARD_BYTES);
    }
}

#[test]
fn only_equal_requests_are_shared() {
    let mut world = world(10, "1s");
    world.campaign.webhook.params = vec![("u".into(), Value::text("{{ user.id }}"))];
    world.assemble();
    world.play(
        "
        0s claim u1 u2 => sent u1, sent u2
        0s wake
    ",
    );
    assert_eq!(world.batches(), 2);
    let shown = world.line("1s wake");
    assert_eq!(shown.iter().filter(|shown| shown.starts_with("#1")).count(), 2, "{shown:?}");
    for (user, known) in world.records.iter().filter(|(id, _)| batch::is_id(id)) {
        let found = known.record.batch.as_ref().expect("a batch");
        assert_eq!((found.members.len(), &found.phase), (1, &BatchPhase::Closed), "{user:?}");
    }
}

/// Everybody reaches the receiver, by requests of one id only, however messages between the records get lost and whatever is parked,
/// taken over or answered late. (What was never started may be dissolved: nobody has seen its id.)
#[test]
fn whatever_is_lost_everybody_is_in_one_request() {
    for seed in 0..100_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let mut world = world(3, "2s");
        let mut claimed = 0;
        let mut second = 0;
        for _ in 0..60 {
            second += below(6);
            let lost = if below(3) == 0 { " lost" } else { "" };
            let number = below(world.requests.len().max(1) as u64);
            let line = match below(6) {
                0..3 => {
                    claimed += 1;
                    format!("claim u{}", below(8))
                }
                3 => "wake".to_owned(),
                _ if world.requests.is_empty() => "idle".to_owned(),
                4 => format!("end {number} 200"),
                _ => format!("park {number} 1"),
            };
            world.line(&format!("{second}s {line}{lost}"));
        }
        world.end_all(second);
        let mut ids: BTreeMap<&str, BTreeSet<DeliveryId>> = BTreeMap::new();
        let bodies: Vec<(DeliveryId, serde_json::Value)> =
            world.requests.iter().map(|(_, id, request)| (*id, serde_json::from_str(&text_of(request)).expect("JSON"))).collect();
        for (id, body) in &bodies {
            for one in body["profiles"].as_array().expect("profiles") {
                ids.entry(one["Event_properties"]["claim"].as_str().expect("a claim")).or_default().insert(*id);
            }
        }
        assert_eq!(ids.len(), claimed, "seed {seed}: somebody was not reached");
        assert!(ids.values().all(|ids| ids.len() == 1), "seed {seed}: {ids:?}");
        assert_eq!(world.batches(), 0, "seed {seed}");
        assert!(world.records.values().all(|known| known.record.pending.is_empty()), "seed {seed}");
    }
}
