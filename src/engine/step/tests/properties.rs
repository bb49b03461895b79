//! What must hold for any inputs in any order: nothing panics, repeating changes nothing, caps and once-only are never exceeded.
//! (That the order of unrelated users does not matter needs no test: a step is given one user's record and no other.)

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::engine::calendar;
use crate::engine::effect::Decision;

/// What happens to the user, between 0 and a few minutes after the last.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Track {
        name: usize,
        id: u32,
        late: u32,
        partition: i32,
        number: i64,
    },
    /// An event that was read before, again.
    Replay(prop::sample::Index),
    Wake {
        behind: u32,
    },
    Retry {
        which: prop::sample::Index,
        attempt: u32,
    },
    Parked {
        which: prop::sample::Index,
        attempt: u32,
    },
    Attempted {
        which: prop::sample::Index,
        attempt: u32,
        delivered: bool,
    },
    Status {
        which: prop::sample::Index,
        status: Status,
    },
    Identify(i64),
    Delete,
    /// A run that fell due so many minutes ago.
    Run {
        number: u8,
        late: u32,
    },
    Arm(prop::sample::Index),
    /// What the last fetch of the linked campaign came to.
    Fetched(bool),
}

const NAMES: [&str; 4] = ["add", "buy", "look", "call"];

pub(super) fn acts() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let which = || any::<prop::sample::Index>();
    let status = prop_oneof![8 => Just(Status::Running), 2 => Just(Status::Paused), 1 => Just(Status::Ended)];
    let act = prop_oneof![
        12 => (0..NAMES.len(), 0..400u32, 0..90u32, 0..3i32, 0..3i64)
            .prop_map(|(name, id, late, partition, number)| Act::Track { name, id, late, partition, number }),
        4 => which().prop_map(Act::Replay),
        5 => (0..40u32).prop_map(|behind| Act::Wake { behind }),
        4 => (which(), 0..4u32).prop_map(|(which, attempt)| Act::Retry { which, attempt }),
        4 => (which(), 0..4u32).prop_map(|(which, attempt)| Act::Parked { which, attempt }),
        4 => (which(), 0..4u32, any::<bool>()).prop_map(|(which, attempt, delivered)| Act::Attempted { which, attempt, delivered }),
        1 => (which(), status).prop_map(|(which, status)| Act::Status { which, status }),
        1 => (0..3i64).prop_map(Act::Identify),
        1 => Just(Act::Delete),
        2 => (0..4u8, 0..90u32).prop_map(|(number, late)| Act::Run { number, late }),
        1 => which().prop_map(Act::Arm),
        4 => (0..4u8).prop_map(|luck| Act::Fetched(luck > 0)),
    ];
    // Mostly forward; now and then the clock steps back.
    let pause = prop_oneof![8 => 0..300_000i64, 1 => 0..7_200_000i64, 1 => -600_000..0i64];
    prop::collection::vec((pause, act), 1..120)
}

fn definitions() -> (Vec<Campaign>, Vec<FrequencyCap>) {
    let campaigns = vec![
        action("once", "buy").channel("sms"),
        action("each", "look").always().channel("sms").tags(&["promo"]),
        action("hourly", "call").every("1h").tags(&["promo"]),
        action("free", "call").always().uncapped(),
        inaction("cart", "add", "buy").same("n", "n").again(Again::Restart).always(),
        inaction("again", "look", "look").always().channel("email"),
        action("some", "add").always().only("plan", 1),
        action("linked", "call").always().linked(),
    ];
    let channel = |limit, per, name: &str| FrequencyCap { channel: Some(name.into()), ..cap(limit, per) };
    (campaigns, vec![cap(4, "6h"), channel(1, "20m", "sms"), FrequencyCap { tag: Some("promo".into()), ..cap(2, "1h") }])
}

/// Plays acts and keeps what was sent: the last claim of each delivery, without those that were taken back unstarted.
pub(super) struct Play {
    pub bench: Bench,
    given: Vec<Input>,
    ids: Vec<(DeliveryId, Arc<Request>)>,
    pub sent: BTreeMap<DeliveryId, Box<Decision>>,
    /// Campaign and event of what was deferred and has not come to an end.
    pub deferred: BTreeSet<(Box<str>, Box<str>)>,
}

impl Play {
    fn new() -> Play {
        let (campaigns, caps) = definitions();
        Play::of(&campaigns, Workspace { frequency_caps: caps, ..Workspace::default() })
    }

    pub fn of(campaigns: &[Campaign], workspace: Workspace) -> Play {
        let bench = Bench::new(campaigns, workspace);
        Play { bench, given: Vec::new(), ids: Vec::new(), sent: BTreeMap::new(), deferred: BTreeSet::new() }
    }

    pub fn act(&mut self, pause: i64, act: &Act) {
        self.bench.now = Timestamp(self.bench.now.0 + pause);
        let now = self.bench.now;
        let minutes = |count: u32| Duration::from_secs(60 * u64::from(count));
        let input = match act {
            Act::Status { which, status } => return self.status(which, *status),
            Act::Track { name, id, late, partition, number } => {
                let id = format!("m{id}");
                let late = format!("-{}s", i64::from(*late) * 60 - (now.0 - START.0) / 1000).replace("--", "");
                let partition = partition.to_string();
                let option = |name: &str| match name {
                    "id=" => Some(id.clone()),
                    "@" => Some(late.clone()),
                    "p=" => Some(partition.clone()),
                    _ => None,
                };
                let properties = [("n".into(), Value::Int(*number))].into_iter().collect();
                Input::Event(self.bench.event(EventBody::Track { name: NAMES[*name].into(), properties }, &option))
            }
            Act::Identify(plan) => {
                let traits = [("plan".into(), Value::Int(*plan))].into_iter().collect();
                Input::Event(self.bench.event(EventBody::Identify { traits }, &|_| None))
            }
            Act::Run { number, late } => {
                let due = now.before(minutes(*late));
                let run = Run { due, name: format!("2026-11-2{number}T09:00").into() };
                Input::Run { campaign: CampaignId::of("run"), run, reached: due }
            }
            Act::Arm(which) => Input::Arm { campaign: which.get(&self.bench.campaigns).id },
            Act::Fetched(succeeds) => {
                let Some((campaign, delivery)) = self.bench.fetches.first_key_value() else { return };
                let fetched = if *succeeds { Ok(vec![("w".into(), Value::Int(1))]) } else { Err("link w: timeout".into()) };
                Input::Fetched { campaign: CampaignId::of(campaign), delivery: *delivery, fetched }
            }
            Act::Delete => Input::Event(self.bench.event(EventBody::Delete, &|_| None)),
            Act::Replay(_) if self.given.is_empty() => return,
            Act::Replay(which) => which.get(&self.given).clone(),
            Act::Wake { behind } => Input::Wake { read_to: now.before(minutes(*behind)) },
            Act::Retry { .. } | Act::Parked { .. } | Act::Attempted { .. } if self.ids.is_empty() => return,
            Act::Retry { which, attempt } => {
                let (id, request) = which.get(&self.ids).clone();
                Input::Retry { id, attempt: *attempt, unstarted: *attempt == 0, request }
            }
            Act::Parked { which, attempt } => {
                Input::Parked { id: which.get(&self.ids).0, attempt: *attempt, unstarted: *attempt == 0, until: now.after(minutes(1)) }
            }
            Act::Attempted { which, attempt, delivered } => {
                let verdict = if *delivered { Verdict::Delivered } else { Verdict::Failed };
                Input::Attempted { id: which.get(&self.ids).0, attempt: *attempt, verdict, status: None, cause: None }
            }
        };
        if matches!(input, Input::Event(_)) {
            self.given.push(input.clone());
        }
        self.give(&input);
        let pending = &self.bench.known.record.pending;
        for (id, request) in pending.iter().filter_map(|entry| Some((entry.id, entry.request.clone()?))) {
            if !self.ids.iter().any(|(known, _)| *known == id) {
                self.ids.push((id, request));
            }
        }
    }

    pub fn give(&mut self, input: &Input) {
        self.note(input);
        self.bench.give(input);
    }

    fn note(&mut self, input: &Input) {
        let stepped = self.bench.step(input);
        for effect in &stepped.effects {
            if let Effect::Decided(line) = effect {
                let (campaign, event) = (line.campaign.clone(), line.event_id.clone());
                match line.outcome {
                    Outcome::Deferred => drop(self.deferred.insert((campaign, event))),
                    Outcome::Sent | Outcome::Suppressed => drop(self.deferred.remove(&(campaign, event))),
                }
            }
        }
        let deleted = matches!(input, Input::Event(event) if event.body == EventBody::Delete);
        for effect in stepped.effects {
            match effect {
                Effect::Decided(line) if line.outcome == Outcome::Sent => drop(self.sent.insert(line.delivery_id.unwrap(), line)),
                Effect::Decided(line) if !deleted => drop(line.delivery_id.map(|id| self.sent.remove(&id))),
                _ => {}
            }
        }
        // What a final failure gave back counts no longer.
        for entry in &self.bench.known.record.pending {
            let refunds = |key: &str| self.bench.campaigns.iter().any(|known| &*known.key == key && known.fatigue.refund_on_failure);
            let settled = stepped.known.record.pending.iter().all(|left| left.id != entry.id);
            let failed = matches!(input, Input::Attempted { verdict: Verdict::Failed, .. });
            if settled && failed && refunds(&entry.claim.campaign) {
                self.sent.remove(&entry.id);
            }
        }
        if stepped.known.record.tombstone != self.bench.known.record.tombstone {
            // A person who was forgotten starts anew.
            self.sent.clear();
        }
    }

    pub fn status(&mut self, which: &prop::sample::Index, status: Status) {
        let key = which.get(&self.bench.campaigns).key.clone();
        let word = serde_json::to_value(status).unwrap();
        self.bench.set(&key, word.as_str().unwrap());
    }

    /// Counts distinct deliveries by their claims, without looking at the ledger.
    pub fn check_caps(&self) {
        let Bench { campaigns, workspace, .. } = &self.bench;
        let counts = |line: &Decision| campaigns.iter().any(|campaign| campaign.key == line.campaign && campaign.fatigue.frequency_cap);
        for cap in &workspace.frequency_caps {
            let concerned: Vec<Timestamp> = self
                .sent
                .values()
                .filter(|line| counts(line))
                .filter(|line| cap.channel.is_none() || cap.channel == line.channel)
                .filter(|line| cap.tag.as_ref().is_none_or(|tag| line.tags.contains(tag)))
                .map(|line| line.at)
                .collect();
            for end in &concerned {
                let from = first_counted(cap, *end, workspace.timezone.as_deref().unwrap_or("UTC"));
                let within = concerned.iter().filter(|at| **at <= *end && **at >= from).count();
                assert!(within <= cap.limit as usize, "{within} sends from {from} to {end} against {cap:?}");
            }
        }
        let once = self.sent.values().filter(|line| &*line.campaign == "once").count();
        assert!(once <= 1, "{once} sends of a campaign that sends once");
    }
}

/// The first instant at which a send counts in a cap together with one at `end`.
fn first_counted(cap: &FrequencyCap, end: Timestamp, zone: &str) -> Timestamp {
    match cap.period {
        Period::Sliding(span) => Timestamp(end.before(span).0 + 1),
        Period::Calendar(unit) => {
            let zone = jiff::tz::TimeZone::get(zone).unwrap();
            let day = jiff::Timestamp::from_millisecond(end.0).unwrap().to_zoned(zone.clone()).date();
            let back = match unit {
                calendar::Period::Day => 0,
                calendar::Period::Week => day.weekday().to_monday_zero_offset().into(),
                calendar::Period::Month => i32::from(day.day()) - 1,
            };
            let first = day.checked_sub(jiff::Span::new().days(back)).unwrap();
            Timestamp(first.to_zoned(zone).unwrap().timestamp().as_millisecond())
        }
    }
}

/// One campaign of each trigger, several waiting for each other.
fn every_trigger() -> Play {
    let crossing = |key: &str, crossing| campaign(key, Trigger::Cohort { cohort: "active".into(), crossing }).always();
    let absence = Absence { after: pattern("look"), without: pattern("buy"), in_last: Some(span("1h")) };
    let campaigns = [
        action("act", "buy").always(),
        actions("set", &["look", "add", "buy"]).within(Order::Given, Some("2h")).always(),
        actions("twice", &["call", "call"]).same("n", "n").always(),
        inaction("cart", "add", "buy").always(),
        campaign("absent", Trigger::Absence(absence)).always(),
        event_date("later", "buy", None, "1h").same("n", "n").again(Again::Restart).always(),
        // Traits of this test are small numbers: some seconds after 1970.
        user_date("ends", "plan", false, "498658h"),
        user_date("yearly", "plan", true, "7787h"),
        schedule("run", "0 9 * * *", ZoneChoice::Workspace),
        crossing("in", Crossing::Entered),
        crossing("out", Crossing::Left),
        action("chain", "$sent").always().uncapped(),
        action("failed", "$failed").always().uncapped(),
    ];
    let measure = Measure::Count(vec![Bound::Gte(2.0)]);
    let rule = Rule::Did(Box::new(Did { pattern: pattern("look"), measure, window: Window::InLast(span("90m")) }));
    let active = Cohort { key: "active".into(), members: Members::Rule(rule) };
    let mut play = Play::of(&campaigns, Workspace { frequency_caps: vec![cap(40, "6h")], ..Workspace::default() });
    play.bench = play.bench.with_past(&[active], at("-30d"));
    play
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// `Bench::give` checks of every step that it can be repeated, stored and woken early.
    #[test]
    fn caps_hold_and_repeats_change_nothing(acts in acts()) {
        let mut play = Play::new();
        for (pause, act) in &acts {
            play.act(*pause, act);
            play.check_caps();
        }
    }

    #[test]
    fn every_trigger_can_be_repeated_and_runs_come_once(acts in acts()) {
        let mut play = every_trigger();
        for (pause, act) in &acts {
            play.act(*pause, act);
            let runs = play.sent.values().filter_map(|line| line.run.as_ref());
            let distinct: BTreeSet<&Box<str>> = runs.clone().collect();
            assert_eq!(runs.count(), distinct.len(), "a run came twice");
        }
    }

    /// Reading the whole log again, from any place, changes nothing but times.
    #[test]
    fn a_log_read_again_changes_nothing(acts in acts(), from in any::<prop::sample::Index>()) {
        let mut play = Play::new();
        acts.iter().for_each(|(pause, act)| play.act(*pause, act));
        let known = play.bench.known.clone();
        let start = if play.given.is_empty() { 0 } else { from.index(play.given.len()) };
        for input in &play.given[start..] {
            let stepped = step(&play.bench.in_force, &play.bench.user, play.bench.known.clone(), input, play.bench.now);
            prop_assert_eq!(&stepped.effects, &[Effect::Skipped]);
            play.bench.known = stepped.known;
        }
        // The revision alone may be newer.
        play.bench.known.record.definitions = known.record.definitions;
        prop_assert_eq!(play.bench.known, known);
    }

    #[test]
    fn the_ends_of_time_are_no_trouble(now in prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()], then in any::<i64>(), offset in any::<i64>()) {
        let mut bench = Bench::new(&definitions().0, Workspace { frequency_caps: definitions().1, ..Workspace::default() });
        for name in NAMES {
            let event = Event {
                user: bench.user.clone(),
                message_id: name.into(),
                timestamp: Timestamp(then),
                position: Position { source: SourceId(1), offset, broker_time: Timestamp(then) },
                anonymous_id: None,
                device_token: None,
                context_traits: Object::new(),
                body: EventBody::Track { name: name.into(), properties: Object::new() },
            };
            let stepped = step(&bench.in_force, &bench.user, bench.known, &Input::Event(Arc::new(event)), Timestamp(now));
            bench.known = step(&bench.in_force, &bench.user, stepped.known, &Input::Wake { read_to: Timestamp(then) }, Timestamp(now)).known;
            wake(&bench.user, &bench.known, &bench.in_force, Timestamp(now));
        }
    }
}
