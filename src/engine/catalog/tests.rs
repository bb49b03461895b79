//! Cases of applying, storing and compiling definitions.

mod messy;

use std::time::Duration;

use super::*;
use crate::engine::definition::{Problem, ReadOptions, Reading, check_together, read};
use crate::engine::delivery::Backoff;
use crate::engine::id::CampaignId;

fn campaign(key: &str, extra: &str) -> String {
    format!("---\nkind: campaign\nkey: {key}\ntrigger: {{api: {{}}}}\nwebhook: {{url: 'https://h.example/'}}\n{extra}\n")
}

fn destination(key: &str, extra: &str) -> String {
    format!("---\nkind: destination\nkey: {key}\nmatch: h.example\n{extra}\n")
}

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const CYCLE: Apply = Apply { cycle: true, prune: false, read: ReadOptions { allow_http: false } };
const PRUNE: Apply = Apply { cycle: false, prune: true, read: ReadOptions { allow_http: false } };

fn lines(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn put(catalog: &Catalog, text: &str, options: Apply) -> Result<(Catalog, Vec<Change>), Vec<Problem>> {
    let Reading { documents, problems, .. } = read("t", text, &options.read);
    assert_eq!(lines(&problems), "", "{text}");
    apply(catalog, documents, &options, NOW)
}

/// A catalog of these documents.
fn stored(text: &str) -> Catalog {
    put(&Catalog::default(), text, Apply::default()).expect("sound documents").0
}

/// Applies `text` after `before`, and shows the changes or the problems.
fn check(before: &str, text: &str, options: Apply, expect: &str) {
    let got = match put(&stored(before), text, options) {
        Ok((_, changes)) => lines(&changes),
        Err(problems) => lines(&problems),
    };
    assert_eq!(got, expect, "\n{before}\nthen\n{text}");
}

fn policy() -> Policy {
    Policy {
        max_age: Duration::from_secs(3600),
        max_lateness: Duration::from_secs(72 * 3600),
        max_overdue: Duration::from_secs(3600),
        timeout: Duration::from_secs(3),
        max_retries: 3,
        backoff: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(10) },
        expires: Duration::from_secs(86_400),
        id_key: b"key".to_vec(),
        allow_http: false,
    }
}

#[test]
fn changes_are_named() {
    let none = Apply::default();
    let with = |extra: &str| campaign("a", extra);
    let cases = [
        (String::new(), with(""), none, "campaign a: created, ready"),
        (String::new(), with("status: running"), none, "campaign a: created, running"),
        (with(""), with(""), none, "campaign a: unchanged, ready"),
        (with("status: running"), with(""), none, "campaign a: unchanged, running"),
        (with(""), with("title: x"), none, "campaign a: changed to version 2, ready"),
        (with("status: paused"), with("title: x"), none, "campaign a: changed to version 2, paused"),
        (with("status: paused"), with("title: x\nstatus: running"), none, "campaign a: changed to version 2, running"),
        (with("status: running"), with("title: x\nstatus: paused"), none, "campaign a: changed to version 2, paused"),
        (with("status: running"), with("title: x"), CYCLE, "campaign a: changed to version 2, running"),
        (with("status: running"), with(""), CYCLE, "campaign a: unchanged, running"),
        (with("status: ended"), with(""), none, "campaign a: unchanged, ended"),
        (String::new(), destination("d", ""), none, "destination d: created"),
        (destination("d", ""), destination("d", "timeout: 5s"), none, "destination d: changed to version 2"),
        (destination("d", ""), destination("d", ""), none, "destination d: unchanged"),
        ("kind: workspace".into(), "kind: workspace\ntimezone: UTC".into(), none, "workspace workspace: changed to version 2"),
        (
            [campaign("a", ""), destination("d", "")].concat(),
            [campaign("b", ""), "---\nkind: workspace".into()].concat(),
            none,
            "workspace workspace: created\ncampaign b: created, ready",
        ),
    ];
    for (before, text, options, expect) in cases {
        check(&before, &text, options, expect);
    }
}

#[test]
fn statuses_follow_their_rules() {
    let final_status = "t:6:1: error: campaign `a` has ended and cannot start again\n  help: ended is final; use a new key";
    let was_running = "t:6:1: error: campaign `a` has run and cannot be `ready` again\n  help: remove `status`, or write `paused`";
    let never_ran = "t:6:1: error: campaign `a` never ran and cannot be paused\n  help: leave it `ready`";
    let cases = [
        ("ready", "ready", "campaign a: unchanged, ready"),
        ("ready", "running", "campaign a: ready -> running"),
        ("ready", "paused", never_ran),
        ("ready", "ended", "campaign a: ready -> ended"),
        ("running", "ready", was_running),
        ("running", "running", "campaign a: unchanged, running"),
        ("running", "paused", "campaign a: running -> paused"),
        ("running", "ended", "campaign a: running -> ended"),
        ("paused", "ready", was_running),
        ("paused", "running", "campaign a: paused -> running"),
        ("paused", "paused", "campaign a: unchanged, paused"),
        ("paused", "ended", "campaign a: paused -> ended"),
        ("ended", "ready", final_status),
        ("ended", "running", final_status),
        ("ended", "paused", final_status),
        ("ended", "ended", "campaign a: unchanged, ended"),
    ];
    for (from, to, expect) in cases {
        let with = |status: &str| campaign("a", &format!("status: {status}"));
        check(&with(from), &with(to), Apply::default(), expect);
    }
}

#[test]
fn edits_are_refused_where_they_must_be() {
    let ended = "t:3:1: error: campaign `a` has ended and cannot be changed\n  help: ended is final; use a new key";
    check(&campaign("a", "status: ended"), &campaign("a", "title: x"), CYCLE, ended);
    check(&campaign("a", "status: ended"), &campaign("a", "title: x\nstatus: ended"), CYCLE, ended);
    let running = "t:3:1: error: campaign `a` is running and must be paused to be changed\n  help: pause it first, or apply with `--cycle`";
    check(&campaign("a", "status: running"), &campaign("a", "title: x"), Apply::default(), running);
    check(&campaign("a", "status: running"), &campaign("a", "title: x\nstatus: running"), Apply::default(), running);
}

#[test]
fn it_is_all_or_nothing_and_names_every_problem() {
    let before = [campaign("a", "status: running"), campaign("b", "status: ended")].concat();
    let text = [campaign("a", "title: x"), campaign("b", "status: running"), campaign("c", "")].concat();
    check(
        &before,
        &text,
        Apply::default(),
        "t:3:1: error: campaign `a` is running and must be paused to be changed\n  help: pause it first, or apply with `--cycle`\n\
         t:12:1: error: campaign `b` has ended and cannot start again\n  help: ended is final; use a new key",
    );
}

#[test]
fn what_left_is_pruned_only_when_asked() {
    let before = [
        campaign("a", "status: running"),
        campaign("b", "status: ended"),
        campaign("c", ""),
        destination("d", ""),
        "---\nkind: workspace".into(),
    ]
    .concat();
    check(&before, &campaign("c", ""), Apply::default(), "campaign c: unchanged, ready");
    let expect = "workspace workspace: removed\ndestination d: removed\ncampaign a: ended\ncampaign c: unchanged, ready";
    check(&before, &campaign("c", ""), PRUNE, expect);
    let (after, _) = put(&stored(&before), &campaign("c", ""), PRUNE).expect("sound");
    let left: Vec<_> = after.documents.iter().map(|document| (&*document.key, document.status)).collect();
    assert_eq!(left, [("a", Some(Status::Ended)), ("b", Some(Status::Ended)), ("c", Some(Status::Ready))], "keys are never used again");
    check(&before, "", PRUNE, "workspace workspace: removed\ndestination d: removed\ncampaign a: ended\ncampaign c: ended");
}

#[test]
fn what_is_stored_takes_part_in_the_check() {
    let named = campaign("a", "").replace("example/'", "example/', destination: d");
    let before = [named.clone(), destination("d", "")].concat();
    check(
        &before,
        &named,
        PRUNE,
        "t:5:51: error: there is no destination `d`\n  help: write a document with `kind: destination` and this key",
    );
    check(
        &[campaign("a", ""), destination("d", "")].concat(),
        &destination("e", ""),
        Apply::default(),
        "(stored campaign a):1:1: error: several destinations match `h.example`: d, e\n  help: name the one that is meant with `webhook.destination`",
    );
    check(
        &[campaign("a", "status: ended"), destination("d", "")].concat(),
        &destination("e", ""),
        Apply::default(),
        "destination e: created",
    );
    check(
        "",
        &[campaign("a", ""), campaign("a", "")].concat(),
        Apply::default(),
        "t:9:1: error: the key `a` is taken by another campaign\n  help: the first is at t:2",
    );
}

#[test]
fn content_must_compile() {
    let broken =
        "---\nkind: campaign\nkey: a\ntrigger: {api: {}}\nwebhook:\n  url: https://h.example/\n  body:\n    text: 'hi {{ user.name'\n";
    let Reading { documents, problems, .. } = read("t", broken, &ReadOptions::default());
    assert_eq!(
        (lines(&problems), lines(&check_together(&documents, &[]))),
        (String::new(), String::new()),
        "it is a template's problem only"
    );
    let problems = apply(&Catalog::default(), documents, &Apply::default(), NOW).expect_err("a template that does not end");
    assert_eq!(problems.len(), 1);
    let shown = problems[0].to_string();
    assert!(shown.starts_with("t:8:11: error: `webhook.body.text` does not compile: "), "{shown}");
    let ended = broken.replace("key: a", "key: a\nstatus: ended");
    check("", &ended, Apply::default(), "campaign a: created, ended");
}

#[test]
fn the_order_of_what_is_stored_is_that_of_kind_and_key() {
    let catalog = stored(
        &[
            campaign("b", ""),
            destination("z", "match: other.example").replace("match: h.example\n", ""),
            campaign("a", ""),
            "---\nkind: workspace".into(),
        ]
        .concat(),
    );
    let keys: Vec<&str> = catalog.documents.iter().map(|document| &*document.key).collect();
    assert_eq!(keys, ["workspace", "z", "a", "b"]);
    assert_eq!(catalog.get(Kind::Campaign, "b").map(|document| document.version), Some(1));
    assert_eq!(catalog.get(Kind::Destination, "b"), None);
}

#[test]
fn a_catalog_reads_back() {
    let catalog = stored(
        &[campaign("a", "status: running\ntitle: \"\\u2028 é \\\\ \\\" 😀\""), destination("d", ""), "---\nkind: workspace".into()]
            .concat(),
    );
    let body = catalog.encode();
    assert_eq!(Catalog::decode(7, &body), Ok(Catalog { revision: 7, ..catalog }));
    assert_eq!(Catalog::decode(0, b""), Ok(Catalog::default()));
}

/// A campaign became what it is when it was created, edited or first started; a pause and what follows it change nothing.
#[test]
fn it_is_stored_when_a_campaign_became_what_it_is() {
    let hour = Duration::from_secs(3600);
    let check = |steps: &[(&str, Option<u32>)]| {
        let (mut catalog, mut at) = (Catalog::default(), NOW);
        for (text, expect) in steps {
            at = at.after(hour);
            let Reading { documents, problems, .. } = read("t", text, &ReadOptions::default());
            assert!(problems.is_empty(), "{problems:?}");
            catalog = apply(&catalog, documents, &Apply::default(), at).expect("sound documents").0;
            let stored = Catalog::decode(1, &catalog.encode()).expect("format 1");
            let since = stored.documents.first().and_then(|document| document.since);
            assert_eq!(since, expect.map(|hours| NOW.after(hour * hours)), "{text}");
            let in_force = InForce::compile(&stored, policy()).map_err(|problems| lines(&problems)).expect("sound documents");
            assert!(in_force.campaigns.iter().all(|campaign| campaign.definition.since == since), "{text}");
        }
    };
    check(&[(&destination("d", ""), None)]);
    check(&[
        (&campaign("a", ""), Some(1)),
        (&campaign("a", ""), Some(1)),
        (&campaign("a", "status: running"), Some(3)),
        (&campaign("a", "status: paused"), Some(3)),
        (&campaign("a", "status: running"), Some(3)),
        (&campaign("a", "status: paused"), Some(3)),
        (&campaign("a", "title: edited"), Some(7)),
        (&campaign("a", "title: edited\nstatus: running"), Some(7)),
    ]);
}

#[test]
fn the_stored_format_is_the_one_that_earlier_versions_wrote() {
    let body = r#"{"format":1,"documents":[{"kind":"workspace","key":"workspace","version":1,"document":{"kind":"workspace"}},{"kind":"campaign","key":"a","version":3,"status":"paused","document":{"key":"a","kind":"campaign","trigger":{"api":{}},"webhook":{"url":"https://h.example/"}}}]}"#;
    let catalog = Catalog::decode(1, body.as_bytes()).expect("format 1");
    assert_eq!(String::from_utf8(catalog.encode()).as_deref(), Ok(body));
    let in_force = InForce::compile(&catalog, policy()).map_err(|problems| lines(&problems)).expect("sound");
    let definition = &in_force.campaigns[0].definition;
    assert_eq!((definition.version, definition.status), (3, Some(Status::Paused)));
}

#[test]
fn what_cannot_be_decoded_says_why() {
    let check = |body: &str, expect: &str| {
        let error = Catalog::decode(1, body.as_bytes()).expect_err(body).to_string();
        assert!(error.starts_with(expect), "{error}");
    };
    check(r#"{"format":2,"anything":[]}"#, "the stored definitions have format 2, this version reads up to 1: upgrade");
    check("{}", "the stored definitions cannot be read: missing field `format`");
    check(r#"{"format":1}"#, "the stored definitions cannot be read: missing field `documents`");
    check("x", "the stored definitions cannot be read: ");
}

#[test]
fn campaigns_in_force_are_sorted_by_priority_then_key() {
    let catalog = stored(
        &[
            campaign("a", ""),
            campaign("c", "priority: 5"),
            campaign("b", "priority: 5\nstatus: running"),
            campaign("d", "priority: -1\nstatus: ended"),
        ]
        .concat(),
    );
    let in_force = InForce::compile(&catalog, policy()).map_err(|problems| lines(&problems)).expect("sound");
    let keys: Vec<&str> = in_force.campaigns.iter().map(|campaign| &*campaign.definition.key).collect();
    assert_eq!(keys, ["b", "c", "a", "d"]);
    for key in keys {
        let by_key = in_force.by_key(key).map(|campaign| campaign.definition.id);
        assert_eq!(by_key, Some(CampaignId::of(key)));
        assert_eq!(in_force.campaign(CampaignId::of(key)).map(|campaign| &*campaign.definition.key), Some(key));
    }
    assert!(in_force.by_key("x").is_none());
    assert_eq!(in_force.left_out, []);
}

#[test]
fn routes_have_the_destinations_limits_else_the_defaults() {
    let catalog = stored(
        &[
            campaign("a", ""),
            campaign("b", "").replace("h.example/'", "other.example/'"),
            campaign("n", "").replace("h.example/'", "two.example/', destination: t1"),
            destination("d", "timeout: 9s\nmax_retries: 0\nmax_in_flight: 8"),
            destination("t1", "").replace("h.example", "two.example"),
            destination("t2", "").replace("h.example", "two.example"),
        ]
        .concat(),
    );
    let in_force = InForce::compile(&catalog, policy()).map_err(|problems| lines(&problems)).expect("sound");
    let route = |key: &str| in_force.destination_of(&in_force.by_key(key).expect(key).definition.webhook);
    let own =
        Route { name: "d", timeout: Duration::from_secs(9), max_retries: 0, slow_retries: &[], max_in_flight: 8, rate: None, batch: None };
    let default = |name| Route {
        name,
        timeout: Duration::from_secs(3),
        max_retries: 3,
        slow_retries: &[],
        max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        rate: None,
        batch: None,
    };
    assert_eq!((route("a"), route("b"), route("n")), (own, default("other.example"), default("t1")));
    assert_eq!(
        (in_force.route("d"), in_force.route("other.example"), in_force.route("gone")),
        (own, default("other.example"), default("gone"))
    );
}

/// A stored document in a language that this version does not know.
fn foreign(kind: Kind, key: &str, canonical: &str) -> Document {
    let status = (kind == Kind::Campaign).then_some(Status::Running);
    Document { kind, key: key.into(), version: 1, status, since: None, canonical: canonical.into() }
}

#[test]
fn a_document_that_no_longer_checks_takes_only_what_needs_it_along() {
    let mut catalog =
        stored(&[campaign("a", "status: running"), campaign("b", "status: running").replace("h.example", "free.example")].concat());
    catalog.documents.push(foreign(
        Kind::Campaign,
        "z",
        r#"{"kind":"campaign","key":"z","trigger":{"dream":{}},"webhook":{"url":"https://h.example/"}}"#,
    ));
    let compile = |catalog: &Catalog| InForce::compile(catalog, policy()).map_err(|problems| lines(&problems));
    let in_force = compile(&catalog).expect("the others");
    assert_eq!(in_force.campaigns.len(), 2);
    assert_eq!(
        lines(&in_force.left_out),
        "(stored campaign z):1:1: error: unknown kind of trigger `dream`\n  help: kinds: action, actions, inaction, date, schedule, api, cohort"
    );

    catalog.documents.push(foreign(Kind::Destination, "d", r#"{"kind":"destination","key":"d","match":"H.example","dream":1}"#));
    let in_force = compile(&catalog).expect("the others");
    assert_eq!(in_force.campaigns.len(), 1, "not sent with the wrong limits or without headers");
    assert!(lines(&in_force.left_out).contains("(stored campaign a):1:1: error: its destination `d` cannot be used"));

    catalog.documents.push(foreign(Kind::Workspace, "workspace", r#"{"kind":"workspace","dream":1}"#));
    assert_eq!(
        compile(&catalog).err().as_deref(),
        Some(
            "(stored workspace workspace):1:1: error: unknown key `dream` in a workspace\n  help: known keys: kind, timezone, frequency_caps, quiet_hours, track"
        )
    );
}

#[test]
fn what_names_a_cohort_that_cannot_be_used_is_left_out() {
    let cohort = |key: &str, rule: &str| format!("---\nkind: cohort\nkey: {key}\nwhere: {rule}\n");
    let text = [
        campaign("a", "audience: {cohort: lost}"),
        campaign("b", "audience: {not: {cohort: through}}"),
        campaign("c", "audience: {cohort: sound}"),
        cohort("through", "{cohort: lost}"),
        cohort("sound", "everyone"),
        cohort("lost", "everyone"),
    ];
    let mut catalog = stored(&text.concat());
    let lost = catalog.documents.iter_mut().find(|document| &*document.key == "lost").expect("stored");
    lost.canonical = r#"{"kind":"cohort","key":"lost","dream":1}"#.into();
    let in_force = InForce::compile(&catalog, policy()).map_err(|problems| lines(&problems)).expect("the others");
    let keys: Vec<&str> = in_force.campaigns.iter().map(|campaign| &*campaign.definition.key).collect();
    assert_eq!((keys, in_force.cohorts.iter().count()), (vec!["c"], 1));
    assert!(in_force.cohorts.get("sound").is_some() && in_force.cohorts.get("through").is_none());
    let shown = lines(&in_force.left_out);
    assert!(shown.contains("(stored campaign b):1:1: error: its cohort `through` cannot be used"), "{shown}");
}

#[test]
fn a_cohort_leaves_only_when_nothing_names_it() {
    let cohort = "---\nkind: cohort\nkey: vip\nusers: [u1]\n".to_owned();
    let named = campaign("a", "audience: {cohort: vip}");
    check("", &[&*named, &*cohort].concat(), Apply::default(), "cohort vip: created\ncampaign a: created, ready");
    check(&cohort, &cohort.replace("u1", "u2"), Apply::default(), "cohort vip: changed to version 2");
    check(
        &[&*named, &*cohort].concat(),
        &named,
        PRUNE,
        "t:6:20: error: there is no cohort `vip`\n  help: write a document with `kind: cohort` and this key",
    );
    check(&[&*campaign("a", ""), &*cohort].concat(), &campaign("a", ""), PRUNE, "cohort vip: removed\ncampaign a: unchanged, ready");
}

#[test]
fn trackers_are_known_since_they_were_first_asked_for() {
    let later = NOW.after(Duration::from_secs(60));
    let did = |event: &str| format!("audience: {{did: {{event: {event}, in_last: 1d}}}}");
    let catalog = stored(&[campaign("a", &did("login")), campaign("b", &did("order"))].concat());
    let all_since =
        |catalog: &Catalog, at: Timestamp| catalog.tracked.values().filter(|since| **since == at.after(Duration::from_secs(5))).count();
    assert_eq!((catalog.tracked.len(), all_since(&catalog, NOW)), (2, 2));
    // What is asked for anew is known from now on; what nobody asks for any more is forgotten.
    let text = [campaign("a", &did("login")), campaign("b", &did("refund"))].concat();
    let documents = read("t", &text, &ReadOptions::default()).documents;
    let (catalog, _) = apply(&catalog, documents, &Apply::default(), later).map_err(|problems| lines(&problems)).expect("sound");
    assert_eq!((catalog.tracked.len(), all_since(&catalog, NOW), all_since(&catalog, later)), (2, 1, 1));
    assert_eq!(Catalog::decode(0, &catalog.encode()), Ok(catalog.clone()));
    let in_force = InForce::compile(&catalog, policy()).map_err(|problems| lines(&problems)).expect("sound");
    assert_eq!((&in_force.tracked, &in_force.asked), (&catalog.tracked, &catalog.asked));
}

/// By the revision, a record knows what it kept for a question that was not asked for a while.
#[test]
fn a_question_that_is_asked_again_is_a_new_one() {
    let did = |event: &str| campaign("a", &format!("audience: {{did: {{event: {event}}}}}"));
    let mut catalog = Catalog::default();
    let mut asked = Vec::new();
    for event in ["login", "login", "order", "login"] {
        let documents = read("t", &did(event), &ReadOptions::default()).documents;
        let (next, _) = apply(&catalog, documents, &Apply::default(), NOW).map_err(|problems| lines(&problems)).expect("sound");
        // The store counts.
        catalog = Catalog { revision: catalog.revision + 1, ..next };
        asked.push(catalog.asked.values().copied().collect::<Vec<_>>());
    }
    assert_eq!(asked, [[1], [1], [3], [4]]);
}

#[test]
fn http_is_in_force_only_while_it_is_allowed() {
    let allowed = Apply { read: ReadOptions { allow_http: true }, ..Apply::default() };
    let (catalog, _) = put(&Catalog::default(), &campaign("a", "").replace("https:", "http:"), allowed).expect("allowed");
    let in_force = |allow_http| InForce::compile(&catalog, Policy { allow_http, ..policy() }).map_err(|problems| lines(&problems));
    assert_eq!(in_force(true).expect("sound").campaigns.len(), 1);
    assert_eq!(in_force(false).expect("sound").campaigns.len(), 0);
}

#[test]
fn a_destinations_headers_are_checked_once_and_where_they_are_written() {
    let change = destination("d", "headers: {X-A: 'a {{ secret.k'}");
    let expect = "t:5:16: error: `headers.X-A` does not compile: ";
    for before in ["running", "paused", "ended"].map(|status| campaign("a", &format!("status: {status}"))) {
        let before = [before, destination("d", "")].concat();
        let problems = put(&stored(&before), &change, Apply::default()).expect_err("a header that does not compile");
        assert_eq!(problems.len(), 1, "{}", lines(&problems));
        assert!(problems[0].to_string().starts_with(expect), "{}", lines(&problems));
    }
    let problems = put(&Catalog::default(), &change, Apply::default()).expect_err("also without any campaign");
    assert!(problems[0].to_string().starts_with(expect), "{}", lines(&problems));
}

#[test]
fn a_destination_that_changes_is_checked_with_the_running_campaigns_that_use_it() {
    let long = format!("headers: {{X-A: '{}'}}", "a".repeat(20_000));
    let change = destination("d", &long);
    let refused = |status: &str| {
        let webhook = format!("webhook: {{url: 'https://h.example/', headers: {{X-B: '{}'}}}}", "b".repeat(20_000));
        let campaign = campaign("a", &format!("status: {status}")).replace("webhook: {url: 'https://h.example/'}", &webhook);
        put(&stored(&[campaign, destination("d", "")].concat()), &change, Apply::default()).err().map(|problems| lines(&problems))
    };
    let shown = refused("running").expect("more than a request may hold");
    assert!(shown.starts_with("(stored campaign a):1:1: error: ") && shown.contains("40"), "{shown}");
    assert_eq!(refused("ended"), None);
}
