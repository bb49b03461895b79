//! Cases of a campaign's life and of taking definitions away.

use super::*;
use crate::engine::catalog::{Apply, apply};
use crate::engine::definition::{Reading, read};

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const LATER: Timestamp = Timestamp(1_790_000_060_000);
const STRICT: ReadOptions = ReadOptions { allow_http: false };

fn stored(text: &str) -> Catalog {
    let Reading { documents, problems, .. } = read("t", text, &STRICT);
    assert_eq!(problems, [], "{text}");
    apply(&Catalog::default(), documents, &Apply::default(), NOW).expect("sound documents").0
}

fn campaign(key: &str, extra: &str) -> String {
    format!("---\nkind: campaign\nkey: {key}\ntrigger: {{api: {{}}}}\nwebhook: {{url: 'https://h.example/'}}\n{extra}\n")
}

fn shown(result: Result<String, Refusal>) -> String {
    match result {
        Ok(text) => text,
        Err(Refusal::Unknown) => "unknown".into(),
        Err(Refusal::NotFrom { status, possible }) => {
            let possible: Vec<&str> = possible.into_iter().map(Act::as_str).collect();
            format!("not from {}: {}", status.as_str(), possible.join(" "))
        }
        Err(Refusal::Invalid(problems)) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(Refusal::Stays(status)) => format!("stays, {}", status.as_str()),
        Err(Refusal::NeededBy(names)) => format!("needed by {}", names.join(", ")),
    }
}

#[test]
fn a_campaign_lives_by_its_rules() {
    let check = |status: &str, asked: Act, expect: &str| {
        let before = stored(&campaign("a", &format!("status: {status}")));
        let after = act(&before, "a", asked, &STRICT, LATER).map(|(catalog, change)| {
            let document = catalog.get(Kind::Campaign, "a").expect("it stays");
            assert_eq!((document.status, document.version), (change.status, 1));
            let begins = (status, document.status) == ("ready", Some(Status::Running));
            assert_eq!(document.since, Some(if begins { LATER } else { NOW }), "{asked:?} of a {status} campaign");
            assert_eq!(catalog.documents.len(), 1);
            change.to_string()
        });
        assert_eq!(shown(after), expect, "{asked:?} of a {status} campaign");
    };
    for (status, start, pause, end) in [
        ("ready", "campaign a: ready -> running", "not from ready: start end", "campaign a: ready -> ended"),
        ("running", "not from running: pause end", "campaign a: running -> paused", "campaign a: running -> ended"),
        ("paused", "campaign a: paused -> running", "not from paused: start end", "campaign a: paused -> ended"),
        ("ended", "not from ended: ", "not from ended: ", "not from ended: "),
    ] {
        check(status, Act::Start, start);
        check(status, Act::Pause, pause);
        check(status, Act::End, end);
    }
    assert_eq!(shown(act(&stored(""), "a", Act::Start, &STRICT, NOW).map(|(_, change)| change.to_string())), "unknown");
}

#[test]
fn only_a_sound_campaign_starts_but_any_can_be_paused_and_ended() {
    let mut catalog = stored(&campaign("a", "status: paused"));
    catalog.documents[0].canonical = catalog.documents[0].canonical.replace("https://", "http://");
    let run = |asked, status| {
        let mut catalog = catalog.clone();
        catalog.documents[0].status = Some(status);
        shown(act(&catalog, "a", asked, &STRICT, NOW).map(|(_, change)| change.to_string()))
    };
    assert!(run(Act::Start, Status::Paused).contains("(stored campaign a):1:1: error: "), "{}", run(Act::Start, Status::Paused));
    assert_eq!(run(Act::Pause, Status::Running), "campaign a: running -> paused");
    assert_eq!(run(Act::End, Status::Paused), "campaign a: paused -> ended");
}

#[test]
fn what_others_need_and_what_has_run_stays() {
    let all = [
        "kind: cohort\nkey: vip\nwhere: {user: {plan: gold}}\n---\nkind: cohort\nkey: rest\nwhere: {not: {cohort: vip}}\n",
        "---\nkind: cohort\nkey: lonely\nusers: [u1]\n---\nkind: workspace\n",
        "---\nkind: destination\nkey: d\nmatch: h.example\n---\nkind: destination\nkey: other\nmatch: o.example\n",
        &campaign("never-ran", "audience: {cohort: rest}"),
        &campaign("ran", "status: running"),
        &campaign("over", "status: ended").replace("h.example", "o.example"),
    ]
    .concat();
    let check = |kind: Kind, key: &str, expect: &str| {
        let before = stored(&all);
        let after = delete(&before, kind, key, &STRICT, LATER).map(|catalog| {
            assert_eq!((catalog.get(kind, key), catalog.documents.len() + 1), (None, before.documents.len()));
            "deleted".into()
        });
        assert_eq!(shown(after), expect, "{kind} {key}");
    };
    check(Kind::Cohort, "vip", "needed by cohort rest");
    check(Kind::Cohort, "rest", "needed by campaign never-ran");
    check(Kind::Cohort, "lonely", "deleted");
    check(Kind::Destination, "d", "needed by campaign never-ran, campaign ran");
    check(Kind::Destination, "other", "deleted");
    check(Kind::Workspace, "workspace", "deleted");
    check(Kind::Campaign, "never-ran", "deleted");
    check(Kind::Campaign, "ran", "stays, running");
    check(Kind::Campaign, "over", "stays, ended");
    check(Kind::Campaign, "nobody", "unknown");
}

#[test]
fn what_nobody_asks_for_any_more_is_not_tracked() {
    let all = campaign("a", "audience: {did: {event: purchase, in_last: 30d}}");
    let before = stored(&all);
    assert_eq!(before.tracked.len(), 1);
    let ended = act(&before, "a", Act::End, &STRICT, LATER).expect("it ends").0;
    assert_eq!(ended.tracked.len(), 0);
    let started = act(&before, "a", Act::Start, &STRICT, LATER).expect("it starts").0;
    assert_eq!(started.tracked, before.tracked, "what was known stays known");
    assert_eq!(delete(&before, Kind::Campaign, "a", &STRICT, LATER).expect("it goes").tracked.len(), 0);
}

#[test]
fn since_when_a_status_holds_is_stored() {
    for now in [Timestamp::MIN, NOW] {
        let documents = read("t", &campaign("a", "status: running"), &STRICT).documents;
        let catalog = apply(&Catalog::default(), documents, &Apply::default(), now).expect("sound documents").0;
        assert_eq!(catalog.documents[0].since, Some(now));
        assert_eq!(Catalog::decode(0, &catalog.encode()), Ok(catalog));
    }
}
