//! Agendas by scripts: at a time the campaign is as said, its agenda is looked at, and what comes of it is compared. A walk is walked
//! to its end at once unless the line says otherwise. Every look is made twice: the second time must change nothing.

use super::*;
use crate::engine::calendar::{Cron, DateValue};
use crate::engine::catalog::Policy;
use crate::engine::definition::{Active, Crossing, ReadOptions, Reading, Webhook, Workspace, read};
use crate::engine::delivery::Backoff;

fn policy() -> Policy {
    let hour = Duration::from_secs(3600);
    Policy {
        max_age: hour,
        max_lateness: hour,
        max_overdue: hour,
        timeout: hour,
        max_retries: 0,
        backoff: Backoff { base: hour, max: hour },
        expires: hour,
        id_key: Vec::new(),
        allow_http: false,
    }
}

fn cron(text: &str, zone: ZoneChoice) -> Trigger {
    Trigger::Schedule(Schedule { times: calendar::Schedule::Cron(Cron::parse(text).unwrap()), zone })
}

fn at(text: &str) -> Trigger {
    Trigger::Schedule(Schedule { times: calendar::Schedule::At(DateValue::parse(text).unwrap()), zone: ZoneChoice::Workspace })
}

/// A day's time in December 2026, UTC: `7T09:00`.
fn time(text: &str) -> Timestamp {
    let (day, clock) = text.split_once('T').unwrap();
    Timestamp::parse(&format!("2026-12-{day:0>2}T{clock}:00Z")).unwrap()
}

fn shown(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{}{}", text[8..10].trim_start_matches('0'), &text[10..16])
}

/// A campaign's life.
struct Life {
    trigger: Trigger,
    version: u32,
    since: Option<Timestamp>,
    revision: u64,
    agenda: Option<Agenda>,
}

impl Life {
    fn new(trigger: Trigger) -> Life {
        Life { trigger, version: 1, since: None, revision: 0, agenda: None }
    }

    fn in_force(&self, status: Option<Status>) -> InForce {
        let webhook = Webhook::new("https://h.example/", "h.example");
        let campaign = Campaign { status, version: self.version, since: self.since, ..Campaign::new("c", self.trigger.clone(), webhook) };
        let campaigns = if status.is_some() { vec![campaign] } else { Vec::new() };
        InForce::assemble(self.revision, campaigns, Vec::new(), Workspace::default(), policy())
    }

    /// A line: a time, the status (`gone`: undefined), and `stop` for a walk that gets no further than its first page.
    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = time(words[0]);
        let status = match words[1] {
            "running" => Some(Status::Running),
            "paused" => Some(Status::Paused),
            "ended" => Some(Status::Ended),
            "ready" => Some(Status::Ready),
            _ => None,
        };
        self.revision += 1;
        let in_force = self.in_force(status);
        let mut said = Vec::new();
        loop {
            let (next, stale) = look(self.agenda.as_ref(), "c", &in_force, now);
            if let Some(Stale { run, users }) = stale {
                said.push(format!("stale {}{}", shown(run.due), users.map_or(String::new(), |users| format!(" after {users}"))));
            }
            match next {
                Next::Leave => said.push("leave".into()),
                Next::Nothing => {
                    self.agenda = None;
                    said.push("nothing".into());
                }
                Next::Rest { agenda, wake } => {
                    let again = look(Some(&agenda), "c", &in_force, now);
                    assert_eq!(again, (Next::Rest { agenda: agenda.clone(), wake }, None), "{line}: asked again");
                    self.agenda = Some(agenda);
                    said.push(format!("until {}", shown(wake)));
                }
                Next::Walk(agenda) => {
                    assert_eq!(look(Some(&agenda), "c", &in_force, now), (Next::Walk(agenda.clone()), None), "{line}: asked again");
                    let walk = agenda.walk.clone().unwrap();
                    said.push(walk.run.map_or("arm".into(), |run| format!("run {} {}", shown(run.due), &run.name[8..16])));
                    let stops = words.contains(&"stop");
                    self.agenda = Some(agenda.walked(stops.then(|| b"cursor".to_vec()), 10, now));
                    if stops {
                        return said.join(", ");
                    }
                    continue;
                }
            }
            return said.join(", ");
        }
    }
}

#[track_caller]
fn check(life: &mut Life, script: &[(&str, &str)]) {
    for (line, expect) in script {
        assert_eq!(life.line(line), *expect, "{line}");
    }
}

/// Definitions are followed a moment after they were changed.
#[test]
fn a_start_that_is_noticed_late_misses_no_run() {
    let started = |at: &str| Life { since: Some(time(at)), ..Life::new(cron("0 9 * * *", ZoneChoice::Workspace)) };
    check(&mut started("7T08:59"), &[("7T09:02 running", "run 7T09:00 07T09:00, until 8T09:00")]);
    check(&mut started("7T09:00"), &[("7T09:02 running", "run 7T09:00 07T09:00, until 8T09:00")]);
    check(&mut started("7T09:01"), &[("7T09:02 running", "until 8T09:00")]);
    // Nobody was there for long.
    check(&mut started("5T08:59"), &[("7T09:30 running", "stale 5T09:00, run 7T09:00 07T09:00, until 8T09:00")]);
}

#[test]
fn a_schedule_runs_at_its_times_and_never_before_it_was_started() {
    check(
        &mut Life::new(cron("0 9 * * *", ZoneChoice::Workspace)),
        &[
            ("1T08:00 ready", "nothing"),
            ("2T10:00 running", "until 3T09:00"),
            ("2T11:00 running", "until 3T09:00"),
            ("3T09:00 running", "run 3T09:00 03T09:00, until 4T09:00"),
            ("3T09:01 running", "until 4T09:00"),
            ("4T09:30 running", "run 4T09:00 04T09:00, until 5T09:00"),
            ("4T10:00 gone", "nothing"),
        ],
    );
    check(
        &mut Life::new(at("2026-12-03T09:00:00")),
        &[
            ("3T08:00 running", "until 3T09:00"),
            ("3T09:05 running", "run 3T09:00 03T09:00, until 4T09:05"),
            ("4T09:05 running", "until 5T09:05"),
            ("5T00:00 ended", "nothing"),
        ],
    );
    check(&mut Life::new(at("2026-12-03T09:00:00")), &[("3T09:00 running", "run 3T09:00 03T09:00, until 4T09:00")]);
    check(&mut Life::new(at("2026-12-03T09:00:00")), &[("3T09:01 running", "until 4T09:01")]);
}

#[test]
fn a_pause_holds_and_what_is_overdue_by_too_much_is_stale() {
    check(
        &mut Life::new(cron("0 9,10 * * *", ZoneChoice::Workspace)),
        &[
            ("1T08:00 running", "until 1T09:00"),
            ("1T08:30 paused", "until 1T08:31"),
            ("1T09:59 paused", "until 1T10:00"),
            ("1T10:00 running", "run 1T09:00 01T09:00, run 1T10:00 01T10:00, until 2T09:00"),
            ("1T11:00 paused", "until 1T11:01"),
            ("2T10:30 running", "stale 2T09:00, run 2T10:00 02T10:00, until 3T09:00"),
            // Nobody was there for days.
            ("9T12:00 running", "stale 3T09:00, until 10T09:00"),
        ],
    );
}

#[test]
fn a_walk_goes_on_where_it_stands_unless_it_stood_still_for_too_long() {
    check(
        &mut Life::new(cron("0 9 * * *", ZoneChoice::Workspace)),
        &[
            ("1T08:00 running", "until 1T09:00"),
            ("1T09:00 running stop", "run 1T09:00 01T09:00"),
            ("1T09:30 paused", "until 1T09:31"),
            ("1T10:00 running stop", "run 1T09:00 01T09:00"),
            ("1T10:59 running", "run 1T09:00 01T09:00, until 2T09:00"),
            ("2T09:00 running stop", "run 2T09:00 02T09:00"),
            ("2T10:01 running", "stale 2T09:00 after 10, until 3T09:00"),
            ("3T09:00 running stop", "run 3T09:00 03T09:00"),
            ("3T09:01 ended", "nothing"),
        ],
    );
}

#[test]
fn an_edited_schedule_counts_from_the_edit() {
    let mut life = Life::new(cron("0 9 * * *", ZoneChoice::Workspace));
    check(&mut life, &[("1T08:00 running", "until 1T09:00"), ("1T08:30 paused", "until 1T08:31")]);
    life.version = 2;
    check(&mut life, &[("1T09:10 paused", "until 1T09:11"), ("1T09:20 running stop", "run 1T09:00 01T09:00")]);
    life.trigger = cron("0,30 8 * * *", ZoneChoice::Workspace);
    // Neither the walk in progress nor what the new times had before the edit.
    check(&mut life, &[("1T08:40 paused", "until 1T08:41"), ("1T09:25 running", "until 2T08:00")]);
    life.trigger = cron("0 9 * * *", ZoneChoice::Workspace);
    check(&mut life, &[("2T07:00 paused", "until 2T07:01"), ("2T09:30 running", "run 2T09:00 02T09:00, until 3T09:00")]);
    life.trigger = Trigger::Api;
    check(&mut life, &[("3T07:00 paused", "nothing"), ("3T09:30 running", "nothing")]);
}

#[test]
fn all_zones_have_their_own_instant_and_local_time() {
    let mut life = Life::new(cron("0 9,10 * * MON", ZoneChoice::User));
    check(&mut life, &[("6T00:00 running", "until 6T19:00")]);
    let mut runs = Vec::new();
    let mut now = time("6T00:00");
    let in_force = life.in_force(Some(Status::Running));
    let mut agenda = life.agenda.clone();
    while now < time("8T00:00") {
        match look(agenda.as_ref(), "c", &in_force, now).0 {
            Next::Rest { agenda: rest, wake } => (agenda, now) = (Some(rest), wake),
            Next::Walk(walk) => {
                runs.extend(walk.walk.as_ref().and_then(|walk| walk.run.clone()));
                agenda = Some(walk.walked(None, 1, now));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(runs.is_sorted() && runs.windows(2).all(|pair| pair[0] != pair[1]));
    // Kiritimati (UTC+14) is the first to have nine o'clock, UTC-12 the last to have ten.
    assert_eq!(runs.first().map(|run| shown(run.due)).as_deref(), Some("6T19:00"));
    assert_eq!(runs.last().map(|run| (shown(run.due), &run.name[8..16])), Some(("7T22:00".into(), "07T10:00")));
    // Where one zone has nine o'clock another has ten.
    let at_midnight: Vec<&str> = runs.iter().filter(|run| run.due == time("7T00:00")).map(|run| &run.name[8..16]).collect();
    assert_eq!(at_midnight, ["07T09:00", "07T10:00"]);
    for zone in Zone::all() {
        let own = |run: &&Run| *run.name == *zone.local(run.due).to_string();
        assert_eq!(runs.iter().filter(own).count(), 2, "{}", zone.name());
    }
}

#[test]
fn a_campaign_is_armed_once_when_it_starts_and_again_after_an_edit() {
    let mut life = Life::new(Trigger::Cohort { cohort: "vip".into(), crossing: Crossing::Entered });
    check(
        &mut life,
        &[
            ("1T08:00 paused", "nothing"),
            ("1T09:00 running stop", "arm"),
            ("1T09:01 paused", "until 1T09:02"),
            // However long it took: nothing of it is late.
            ("9T09:00 running", "arm, until 10T09:00"),
            ("9T10:00 paused", "until 9T10:01"),
        ],
    );
    life.version = 2;
    check(&mut life, &[("9T11:00 paused", "until 9T11:01"), ("9T12:00 running", "arm, until 10T12:00"), ("9T13:00 ended", "nothing")]);
}

#[test]
fn who_is_behind_leaves_an_agenda_alone() {
    let mut life = Life::new(cron("0 9 * * *", ZoneChoice::Workspace));
    life.revision = 5;
    check(&mut life, &[("1T08:00 running", "until 1T09:00")]);
    life.revision = 3;
    check(&mut life, &[("1T09:00 gone", "leave"), ("1T09:00 running", "leave")]);
}

#[test]
fn the_next_run_is_told_whether_or_not_it_runs() {
    let check = |trigger: Trigger, active: Active, now: &str, expect: Option<&str>| {
        let webhook = Webhook::new("https://h.example/", "h.example");
        let campaign = Campaign { active, ..Campaign::new("c", trigger, webhook) };
        let in_force = InForce::assemble(1, vec![campaign.clone()], Vec::new(), Workspace::default(), policy());
        assert_eq!(next_run(&in_force, &campaign, time(now)).map(shown).as_deref(), expect, "{now}");
    };
    let nine = || cron("0 9 * * *", ZoneChoice::Workspace);
    let always = Active::default();
    check(nine(), always, "7T08:59", Some("7T09:00"));
    check(nine(), always, "7T09:00", Some("7T09:00"));
    check(nine(), always, "7T09:01", Some("8T09:00"));
    check(at("2026-12-07T09:00:00"), always, "7T09:01", None);
    check(nine(), Active { from: Some(time("10T00:00")), until: None }, "7T08:59", Some("10T09:00"));
    check(nine(), Active { from: None, until: Some(time("7T09:00")) }, "7T08:59", None);
    // Nine o'clock comes first to the zones furthest east, an hour apart.
    check(cron("0 9 * * *", ZoneChoice::User), always, "7T00:00", Some("7T00:00"));
    check(Trigger::Api, always, "7T00:00", None);
}

#[test]
fn a_schedule_that_is_past_is_told() {
    let now = Timestamp::parse("2026-12-01T00:00:00Z").unwrap();
    let check = |trigger: &str, more: &str, expect: &str| {
        let campaign =
            format!("kind: campaign\nkey: c\n{more}\naudience: everyone\nwebhook: {{url: 'https://h.example/'}}\ntrigger: {trigger}");
        let workspace = "kind: workspace\ntimezone: Asia/Seoul";
        let Reading { documents, problems, .. } = read("all.yaml", &format!("{campaign}\n---\n{workspace}"), &ReadOptions::default());
        assert_eq!(problems, [], "{campaign}");
        let told: Vec<String> = past_schedules(&documents, now).iter().map(|problem| problem.to_string()).collect();
        assert_eq!(told.concat(), expect, "{campaign}");
    };
    let help = "\n  help: it never runs: name a time to come, or end the campaign";
    let past = |since: &str| format!("all.yaml:6:1: warning: the schedule is past since {since}{help}");
    check("{schedule: {at: 2026-11-30T23:59:59Z}}", "", &past("2026-11-30T23:59:59.000Z"));
    check("{schedule: {at: 2026-12-01T00:00:00Z}}", "", "");
    check("{schedule: {at: 2026-11-30T23:59:59Z}}", "status: ended", "");
    // The workspace's clock, that of a zone, and the last of all.
    check("{schedule: {at: 2026-12-01T08:59:00}}", "", &past("2026-11-30T23:59:00.000Z"));
    check("{schedule: {at: 2026-12-01T09:01:00}}", "", "");
    check("{schedule: {at: 2026-12-01T01:01:00, timezone: Europe/Berlin}}", "", "");
    check("{schedule: {at: 2026-12-01T00:59:00, timezone: Europe/Berlin}}", "", &past("2026-11-30T23:59:00.000Z"));
    check("{schedule: {at: 2026-11-30T12:01:00, timezone: user}}", "", "");
    check("{schedule: {at: 2026-11-30T11:59:00, timezone: user}}", "", &past("2026-11-30T23:59:00.000Z"));
    check("{schedule: {cron: '0 9 * * *'}}", "fatigue: {resend: always}", "");
}
