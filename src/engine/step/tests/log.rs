//! What is read twice, late, from elsewhere, or for someone who wants to be forgotten.

use super::*;

#[test]
fn what_was_applied_is_skipped() {
    check(
        &[action("a", "buy").always()],
        "
        0s track buy id=m1 => sent a, a#1
        1s track buy id=m2 => sent a, a#1
        2s replay m1 => skipped
        2s replay m2 => skipped
        3s track look id=m3
        4s replay m2 => skipped
    ",
    );
}

#[test]
fn partitions_have_marks_of_their_own() {
    check(
        &[action("a", "buy").always()],
        "
        0s track buy p=0 offset=100 => sent a, a#1
        1s track buy p=1 offset=5 => sent a, a#1
        2s track buy p=0 offset=101 => sent a, a#1
        3s track buy p=1 offset=5 id=other broker=1s => skipped
    ",
    );
}

#[test]
fn a_repeated_message_id_is_ignored_while_among_the_last() {
    let mut bench = Bench::new(&[action("a", "buy").always()], Workspace::default());
    assert_eq!(bench.line("0s track buy id=m"), "sent a, a#1");
    for i in 1..16 {
        assert_eq!(bench.line(&format!("{i}s track look id=x{i}")), "");
    }
    assert_eq!(bench.line("16s track buy id=m p=1"), "skipped");
    assert_eq!(bench.line("17s track look id=x17"), "");
    bench.line("18s delivered a 1");
    assert_eq!(bench.line("18s track buy id=m p=2"), "sent a, a#1");
}

#[test]
fn a_repeated_id_still_moves_the_mark() {
    let mut bench = Bench::new(&[], Workspace::default());
    bench.line("0s track look id=m");
    bench.line("1s track look id=m");
    assert_eq!(bench.known.record.marks[0].offset, 1);
    assert_eq!(bench.known.record.marks.len(), 1);
}

#[test]
fn a_log_that_began_again_is_read() {
    check(
        &[action("a", "buy").always()],
        "
        0s track buy offset=1000 id=m0 => sent a, a#1
        1s track buy offset=0 id=n0 => sent a, a#1
        1s track buy offset=1 id=n1 => sent a, a#1
        2s replay n0 => skipped
        2s replay n1 => skipped
        2s replay m0 => skipped
    ",
    );
}

#[test]
fn times_of_a_partition_may_go_back() {
    check(
        &[action("a", "buy").always()],
        "
        5s track buy id=m0 => sent a, a#1
        6s track buy id=m1 broker=2s => sent a, a#1
        7s track buy id=m2 broker=3s => sent a, a#1
        8s replay m1 => skipped
        8s replay m0 => skipped
    ",
    );
}

#[test]
fn poisoned_only_counts_as_applied() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    let option = |name: &str| (name == "id=").then(|| "bad".to_owned());
    bench.event(EventBody::Track { name: "buy".into(), properties: Object::new() }, &option);
    assert_eq!(bench.line("0s poison bad"), "");
    assert_eq!(bench.line("1s replay bad"), "skipped");
    assert_eq!(bench.line("2s track buy id=bad"), "skipped");
    assert_eq!(bench.line("3s poison bad"), "skipped");
}

#[test]
fn delete_forgets_everything() {
    check_capped(
        &[action("a", "buy"), inaction("cart", "add", "paid"), action("gold", "call").only("plan", "gold")],
        &[cap(1, "1d")],
        r#"
        0s identify {"plan":"gold"}
        1s track buy => sent a, a#1
        2s track paid
        3s track add
        4s delete => cart: user_deleted, a: user_deleted
        4s timers
        4s pending
        4s ledger => 0 sent, 0 counted
        5s delivered a 1 => skipped
        6s retry a 1 => skipped
        7s track call => gold: not_in_audience
        8s track buy => sent a, a#1
    "#,
    );
}

#[test]
fn what_happened_before_the_deletion_is_ignored() {
    check(
        &[action("a", "buy").always(), inaction("cart", "add", "paid")],
        "
        0s track buy id=m1 => sent a, a#1
        10m delete => a: user_deleted
        11m replay m1 => skipped
    ",
    );
    check(
        &[action("a", "buy").always(), inaction("cart", "add", "paid"), api("points")],
        r#"
        10m delete
        11m track buy @9m => skipped
        11m track buy @10m => skipped
        11m track add @10m => skipped
        11m send points @5m => skipped
        11m identify {"plan":"gold"} @10m => skipped
        11m timers
        11m track buy @601s => sent a, a#1
        12m delete @8m => skipped
    "#,
    );
}

#[test]
fn a_deletion_is_remembered_as_long_as_older_events_can_come() {
    check(
        &[action("a", "buy").always()],
        "
        0s delete
        72h track buy @0s => skipped
        259201s track look
        259202s track buy @0s => a: late_event
    ",
    );
}

#[test]
fn a_profile_follows_its_events() {
    let mut bench = Bench::new(&[], Workspace::default());
    bench.line(r#"0s identify {"a":1,"b":2}"#);
    bench.line(r#"1s identify {"b":null,"c":3}"#);
    bench.line(r#"2s identify {"a":0,"d":4} @-1s"#);
    assert_eq!(bench.known.profile.traits(), &object(r#"{"a":1,"c":3,"d":4}"#));
}

#[test]
fn the_newest_definitions_are_noted() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    bench.line("0s track look");
    assert_eq!(bench.known.record.definitions, 1);
    bench.line("1s set a paused");
    bench.line("2s wake");
    assert_eq!(bench.known.record.definitions, 2);
    bench.in_force = in_force(1, &bench.campaigns, &bench.workspace);
    bench.line("3s wake");
    assert_eq!(bench.known.record.definitions, 2);
}

#[test]
fn a_worker_behind_the_record_forgets_no_exposure() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    bench.line("0s set a running");
    bench.line("0s track buy");
    bench.line("1s delivered a 1");
    bench.in_force = in_force(1, &[], &bench.workspace);
    bench.line("60d wake");
    assert_eq!(bench.known.record.ledger.exposures.len(), 1);
    bench.in_force = in_force(3, &[], &bench.workspace);
    bench.line("60d wake");
    assert_eq!(bench.known.record.ledger.exposures.len(), 0);
}

#[test]
fn zones_fall_back() {
    let zone_of = |traits: &str, workspace: Option<&str>| {
        let mut profile = Profile::default();
        profile.merge(&object(traits), START);
        let workspace = Workspace { timezone: workspace.map(Into::into), ..Workspace::default() };
        super::super::gates::zone(&profile, &workspace).to_owned()
    };
    assert_eq!(zone_of(r#"{"timezone":"Asia/Seoul"}"#, Some("Europe/Berlin")), "Asia/Seoul");
    assert_eq!(zone_of(r#"{"timezone":"Mars/Base"}"#, Some("Europe/Berlin")), "Europe/Berlin");
    assert_eq!(zone_of(r#"{"timezone":9}"#, Some("Europe/Berlin")), "Europe/Berlin");
    assert_eq!(zone_of("{}", None), "UTC");
}
