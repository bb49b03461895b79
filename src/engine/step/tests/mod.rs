//! `step` by scripts. A line is an instant, an input and, after `=>`, all that must come of it; whatever the script, every input is
//! given twice and the second time must change nothing, every record must survive its encoding, and a wake that comes
//! before its time must change nothing either.
//!
//! ```text
//! 0s  track buy {"n":1} @-5m id=m1 p=1   an event of now; or of another time, message id, partition
//! 10m identify {"plan":"gold"}           also: delete, send CAMPAIGN {..}, replay ID, poison ID
//! 30m wake                               all is read up to now; `read=20m`: only up to there
//! 31m retry|parked|delivered|failed CAMPAIGN N [unstarted]
//! 31m redrive CAMPAIGN N died=30m        its dead letter after N attempts
//! 32m set CAMPAIGN paused                also: gone
//! 33m timers|pending|ledger              what the record says; also: kept (of sets)
//! 34m run CAMPAIGN 2026-11-21T09:00      a scheduled run of this local time, due now or `due=35m`
//! 35m arm CAMPAIGN
//! 36m fetched CAMPAIGN {"link":1}        what its last fetch came to; also: unfetched CAMPAIGN
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::engine::catalog::Policy;
use crate::engine::definition::*;
use crate::engine::delivery::Backoff;
use crate::engine::effect::{Outcome, RuleShown};
use crate::engine::event::{Body as EventBody, SourceId};
use crate::engine::id::CampaignId;
use crate::engine::record::{Arm, Pending, Phase, codec};
use crate::engine::time::millis;
use crate::engine::value::{Object, Value};

mod absence;
mod actions;
mod backfill;
mod batches;
mod bounds;
mod campaigns;
mod chain;
mod dates;
mod deliveries;
mod gates;
mod linking;
mod log;
mod memberships;
mod properties;
mod redrive;
mod repeated;
mod rules;
mod runs;
mod triggers;
mod waking;
mod writing;

use campaigns::*;

/// The instant `0s` of every script.
const START: Timestamp = Timestamp(1_795_168_800_000);

/// The definitions as the engine gets them, by the ordinary way.
fn in_force(revision: u64, campaigns: &[Campaign], workspace: &Workspace) -> InForce {
    InForce::assemble(revision, campaigns.to_vec(), Vec::new(), workspace.clone(), policy())
}

fn policy() -> Policy {
    Policy {
        max_age: hours(1),
        max_lateness: hours(72),
        max_overdue: hours(1),
        timeout: Duration::from_secs(3),
        max_retries: 3,
        backoff: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(10) },
        expires: hours(24),
        id_key: b"key".to_vec(),
        allow_http: false,
    }
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

fn span(text: &str) -> Duration {
    duration_text::parse(text).unwrap_or_else(|| panic!("`{text}` is no duration"))
}

/// An instant of a script: `10m`, `-5m`.
fn at(text: &str) -> Timestamp {
    text.strip_prefix('-').map_or_else(|| START.after(span(text)), |back| START.before(span(back)))
}

fn object(text: &str) -> Object {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Runs a script over campaigns and caps.
fn check_capped(campaigns: &[Campaign], caps: &[FrequencyCap], script: &str) {
    check_in(Workspace { frequency_caps: caps.to_vec(), ..Workspace::default() }, campaigns, script);
}

/// Runs a script over campaigns of a workspace.
fn check_in(workspace: Workspace, campaigns: &[Campaign], script: &str) {
    play(Bench::new(campaigns, workspace), script);
}

fn play(mut bench: Bench, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, expected) = line.split_once("=>").unwrap_or((line, ""));
        let got = bench.line(input.trim());
        assert_eq!(got, expected.trim(), "at `{line}` of{script}");
    }
}

fn check(campaigns: &[Campaign], script: &str) {
    check_capped(campaigns, &[], script);
}

/// One user under some definitions.
struct Bench {
    campaigns: Vec<Campaign>,
    workspace: Workspace,
    /// What looks back, and since when all is known.
    past: Option<(Vec<Cohort>, Timestamp)>,
    in_force: InForce,
    user: UserId,
    known: Known,
    now: Timestamp,
    offsets: BTreeMap<i32, i64>,
    events: BTreeMap<String, Arc<Event>>,
    /// The last delivery of each campaign.
    deliveries: BTreeMap<String, (DeliveryId, Arc<Request>)>,
    /// Its pending entry.
    entries: BTreeMap<String, Pending>,
    /// Whose linked content was last asked for, by campaign.
    fetches: BTreeMap<String, DeliveryId>,
    /// Who was let in, by counter.
    limits: BTreeMap<Counter, BTreeSet<UserId>>,
}

impl Bench {
    fn new(campaigns: &[Campaign], workspace: Workspace) -> Bench {
        Bench {
            campaigns: campaigns.to_vec(),
            in_force: in_force(1, campaigns, &workspace),
            workspace,
            past: None,
            user: "u1".into(),
            known: Known::default(),
            now: START,
            offsets: BTreeMap::new(),
            events: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            entries: BTreeMap::new(),
            fetches: BTreeMap::new(),
            limits: BTreeMap::new(),
        }
    }

    /// With these cohorts, all history known since an instant.
    fn with_past(mut self, cohorts: &[Cohort], since: Timestamp) -> Bench {
        self.in_force = self.in_force.with_history(cohorts.to_vec(), since);
        self.past = Some((cohorts.to_vec(), since));
        self
    }

    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.now = at(words[0]);
        match words[1] {
            "set" => self.set(words[2], words[3]),
            "timers" => self.timers(),
            "pending" => self.pending(),
            "kept" => self.kept(),
            "ledger" => format!("{} sent, {} counted", self.known.record.ledger.exposures.len(), self.known.record.ledger.sends.len()),
            _ => {
                let input = self.input(&words, line);
                self.give(&input)
            }
        }
    }

    fn input(&mut self, words: &[&str], line: &str) -> Input {
        let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        let delivery = |bench: &Bench| bench.deliveries.get(words[2]).unwrap_or_else(|| panic!("{} was never sent", words[2])).clone();
        let attempt = || words[3].parse::<u32>().unwrap();
        let unstarted = || attempt() == 0 || words.contains(&"unstarted");
        match words[1] {
            "wake" => Input::Wake { read_to: option("read=").map_or(self.now, |read_to| at(&read_to)) },
            "replay" => Input::Event(self.events[words[2]].clone()),
            "poison" => {
                let event = &self.events[words[2]];
                Input::Poisoned { position: event.position, message_id: event.message_id.clone() }
            }
            "retry" => {
                let (id, request) = delivery(self);
                Input::Retry { id, attempt: attempt(), unstarted: unstarted(), request }
            }
            "run" => {
                let due = option("due=").map_or(self.now, |due| at(&due));
                let run = Run { due, name: words[3].into() };
                Input::Run { campaign: CampaignId::of(words[2]), run, reached: due }
            }
            "arm" => Input::Arm { campaign: CampaignId::of(words[2]) },
            "fetched" | "unfetched" => {
                let json = line.find('{').map_or_else(Object::new, |from| object(&line[from..]));
                let values = json.iter().map(|(name, value)| (name.into(), value.clone())).collect();
                let fetched = if words[1] == "fetched" { Ok(values) } else { Err("link w: http 503".into()) };
                let delivery = *self.fetches.get(words[2]).unwrap_or_else(|| panic!("nothing was fetched for {}", words[2]));
                Input::Fetched { campaign: CampaignId::of(words[2]), delivery, fetched }
            }
            "redrive" => {
                let died = option("died=").map_or(self.now, |time| at(&time));
                let entry = self.entries.get(words[2]).unwrap_or_else(|| panic!("{} was never sent", words[2])).clone();
                let phase = match entry.phase {
                    Phase::Failing { cause, .. } => Phase::Failing { attempt: attempt(), cause, again: died },
                    _ => Phase::Sending { attempt: attempt(), lease: died },
                };
                Input::Redrive(Box::new(Dead { at: died, entry: Pending { phase, ..entry } }))
            }
            "parked" => {
                Input::Parked { id: delivery(self).0, attempt: attempt(), until: self.now.after(span("1m")), unstarted: unstarted() }
            }
            "delivered" => {
                Input::Attempted { id: delivery(self).0, attempt: attempt(), verdict: Verdict::Delivered, status: Some(200), cause: None }
            }
            "failed" => Input::Attempted {
                id: delivery(self).0,
                attempt: attempt(),
                verdict: Verdict::Failed,
                status: Some(400),
                cause: Some("http 400".into()),
            },
            verb => {
                let json = line.find('{').map_or_else(Object::new, |from| object(&line[from..=line.rfind('}').unwrap()]));
                let body = match verb {
                    "track" => EventBody::Track { name: words[2].into(), properties: json },
                    "identify" => EventBody::Identify { traits: json },
                    "delete" => EventBody::Delete,
                    "send" => EventBody::Send { campaign: words[2].into(), properties: json, traits: Object::new() },
                    other => panic!("no verb `{other}`"),
                };
                Input::Event(self.event(body, &option))
            }
        }
    }

    fn event(&mut self, body: EventBody, option: &dyn Fn(&str) -> Option<String>) -> Arc<Event> {
        let partition: i32 = option("p=").map_or(0, |number| number.parse().unwrap());
        let next = self.offsets.entry(partition).or_insert(0);
        let offset = option("offset=").map_or(*next, |number| number.parse().unwrap());
        *next = offset + 1;
        let message_id = option("id=").unwrap_or_else(|| format!("{partition}/{offset}"));
        let broker_time = option("broker=").map_or(self.now, |time| at(&time));
        let event = Arc::new(Event {
            user: self.user.clone(),
            message_id: message_id.as_str().into(),
            timestamp: option("@").map_or(self.now, |time| at(&time)),
            position: Position { source: SourceId::of("events", 1, partition), offset, broker_time },
            anonymous_id: None,
            device_token: None,
            context_traits: option("traits=").map_or_else(Object::new, |pair| {
                let (key, value) = pair.split_once(':').unwrap();
                [(key.into(), Value::text(value))].into_iter().collect()
            }),
            body,
        });
        self.events.insert(message_id, event.clone());
        event
    }

    /// Steps, and asks the store until it is asked no more.
    fn step(&mut self, input: &Input) -> Stepped {
        let mut known = self.known.clone();
        loop {
            let stepped = step(&self.in_force, &self.user, known.clone(), input, self.now);
            if stepped.asks.is_empty() {
                return stepped;
            }
            for ask in stepped.asks {
                let Ask::Admitted { counter, limit } = ask else { panic!("a user's step asks {ask:?}") };
                let inside = self.limits.entry(counter.clone()).or_default();
                let admitted = inside.contains(&self.user) || (inside.len() as u64) < limit;
                inside.extend(admitted.then(|| self.user.clone()));
                assert!(known.admitted.iter().all(|(known, _)| *known != counter), "asked twice: {counter}");
                known.admitted.push((counter, admitted));
            }
        }
    }

    /// Steps, and checks what must hold for every step.
    fn give(&mut self, input: &Input) -> String {
        let stepped = self.step(input);
        let again = step(&self.in_force, &self.user, stepped.known.clone(), input, self.now);
        assert_eq!(again.known, stepped.known, "given twice: {input:?}");
        assert_eq!(stepped.record_changed, stepped.known.record != self.known.record, "{input:?}");
        assert!(!again.record_changed && !again.profile_changed, "given twice: {input:?}");
        let repeats = |effect: &Effect| match effect {
            Effect::Skipped | Effect::Postpone { .. } => true,
            // A conversion's line is repeated with its event, word for word.
            Effect::Converted(line) => {
                matches!(input, Input::Event(event) if (&event.message_id, event.timestamp) == (&line.event_id, line.at))
            }
            // Part of a walk may be repeated; only what was sent or waits is remembered.
            Effect::Decided(line) => matches!(input, Input::Run { .. }) && line.outcome == Outcome::Suppressed,
            _ => false,
        };
        assert!(again.effects.iter().all(repeats), "{:?}", again.effects);
        let known = &stepped.known;
        assert_eq!(codec::decode(&codec::encode(&known.record)).as_ref(), Ok(&known.record));
        assert_eq!(codec::decode_profile(&codec::encode_profile(&known.profile)).as_ref(), Ok(&known.profile));
        assert_eq!(stepped.profile_changed, known.profile != self.known.profile);
        if wake(&self.user, known, &self.in_force, self.now).is_none_or(|wake| wake > self.now) {
            let early = step(&self.in_force, &self.user, known.clone(), &Input::Wake { read_to: START }, self.now);
            assert!(early.effects.is_empty(), "an early wake: {:?}", early.effects);
            assert_eq!((&early.known.record.timers, &early.known.record.pending), (&known.record.timers, &known.record.pending));
        }
        for entry in &known.record.pending {
            if let Some(request) = &entry.request {
                self.deliveries.insert(entry.claim.campaign.to_string(), (entry.id, request.clone()));
                self.entries.insert(entry.claim.campaign.to_string(), entry.clone());
            }
        }
        for effect in &stepped.effects {
            if let Effect::Fetch(fetch) = effect {
                self.fetches.insert(fetch.key.to_string(), fetch.delivery);
            }
        }
        let mut shown: Vec<String> = stepped.effects.iter().map(|effect| show(effect, known, &self.deliveries)).collect();
        if let Input::Redrive(dead) = input {
            let refusal = redrivable(&self.in_force, &self.user, &self.known, dead, self.now).err();
            assert_eq!(refusal.is_some(), stepped.effects == [Effect::Skipped], "what is foretold comes");
            shown.extend(refusal.map(|refusal| refusal.as_str().to_owned()));
        }
        shown.extend(stepped.held_until_read.map(|until| format!("held {}", show_time(until))));
        self.known = stepped.known;
        shown.join(", ")
    }

    fn set(&mut self, key: &str, status: &str) -> String {
        self.campaigns.retain(|campaign| &*campaign.key != key || status != "gone");
        for campaign in self.campaigns.iter_mut().filter(|campaign| &*campaign.key == key) {
            campaign.status = Some(serde_json::from_value(status.into()).unwrap());
        }
        let in_force = in_force(self.in_force.revision + 1, &self.campaigns, &self.workspace);
        self.in_force = match self.past.clone() {
            Some((cohorts, since)) => in_force.with_history(cohorts, since),
            None => in_force,
        };
        String::new()
    }

    fn timers(&self) -> String {
        let shown: Vec<String> = self.known.record.timers.iter().map(|timer| show_time(timer.due)).collect();
        shown.join(", ")
    }

    fn kept(&self) -> String {
        let happened = self.known.record.sequences.iter().flat_map(|sequence| &sequence.happened);
        happened.map(|happened| format!("{} {}", happened.event, show_time(happened.timestamp))).collect::<Vec<_>>().join(", ")
    }

    fn pending(&self) -> String {
        let entries = self.known.record.pending.iter().map(|entry| {
            let (campaign, kept) = (&entry.claim.campaign, if entry.request.is_some() { "" } else { " bare" });
            match entry.phase {
                Phase::Sending { attempt, .. } => format!("{campaign} sending {attempt}{kept}"),
                Phase::Parked { attempt, .. } => format!("{campaign} parked {attempt}{kept}"),
                Phase::Failing { attempt, .. } => format!("{campaign} failing {attempt}{kept}"),
                Phase::Batched { place, .. } => format!("{campaign} in batch {place}{kept}"),
            }
        });
        entries.collect::<Vec<_>>().join(", ")
    }
}

fn show(effect: &Effect, known: &Known, deliveries: &BTreeMap<String, (DeliveryId, Arc<Request>)>) -> String {
    let name = |id: &DeliveryId| deliveries.iter().find(|(_, (known, _))| known == id).map_or("?", |(name, _)| name).to_owned();
    match effect {
        Effect::Decided(line) => match (line.outcome, line.reason, &line.rule) {
            (Outcome::Sent, ..) => format!("sent {}", line.campaign),
            (Outcome::Deferred, Some(reason), _) => {
                format!("{} until {}: {}", line.campaign, show_time(line.until.unwrap()), reason.as_str())
            }
            (_, Some(reason), Some(RuleShown::Cap(cap))) => {
                format!("{}: {} {}/{}", line.campaign, reason.as_str(), cap.limit, period(cap))
            }
            (_, Some(reason), _) => format!("{}: {}", line.campaign, reason.as_str()),
            (outcome, None, _) => panic!("{outcome:?} without a reason"),
        },
        Effect::Converted(line) => {
            assert_eq!(line.arm == Arm::Treatment, line.delivery_id.is_some());
            format!("converted {} of {}", line.campaign, show_time(line.sent_at))
        }
        Effect::Send(id) => {
            let entry = known.record.pending.iter().find(|entry| entry.id == *id).expect("what is dispatched is pending");
            assert!(matches!(entry.phase, Phase::Sending { .. }) && entry.request.is_some(), "dispatched as {:?}", entry.phase);
            format!("{}#{}", entry.claim.campaign, entry.phase.attempt())
        }
        Effect::Fail(id, cause) => format!("fail {} {cause:?}", name(id)),
        Effect::Bury(id, ending) => format!("bury {} {ending:?}", name(id)),
        Effect::Postpone { id, until } => format!("postpone {} {}", name(id), show_time(*until)),
        Effect::VariableMissing { campaign, count } => format!("missing {campaign} {count}"),
        Effect::TraitsRefused { count } => format!("refused {count} traits"),
        Effect::Fetch(fetch) => {
            let urls: Vec<&str> = fetch.wanted.iter().map(|wanted| wanted.url.trim_start_matches("https://w.example")).collect();
            format!("fetch {} {} by {}", fetch.key, urls.join(" "), show_time(fetch.lease))
        }
        Effect::Pass { to, passed } => panic!("to {to:?}: {passed:?}"),
        Effect::Skipped => "skipped".to_owned(),
    }
}

fn show_time(time: Timestamp) -> String {
    let seconds = millis(time.since(START)) / 1000;
    if seconds % 60 == 0 { format!("{}m", seconds / 60) } else { format!("{seconds}s") }
}
