//! Lines, by their shapes, against what they come to.

use serde_json::json;

use super::*;
use crate::engine::effect::Reason;

const DAY: &str = "2026-11-21T10:00:00.000Z";

fn id(number: u64) -> String {
    // The first digits differ, as those of a hash do.
    format!("msg_{:016x}{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number)
}

/// A line as it is written, by its shape: `sent 1`, `sent 1 2026-11-22`, `held frequency_cap`, `taken_back user_deleted 1`,
/// `delivered 1`, `failed 1 http 503`, `retrying 1`, `converted control u1`, `deferred`.
fn written(shape: &str) -> Vec<u8> {
    let (kind, rest) = shape.split_once(' ').unwrap_or((shape, ""));
    let (first, more) = rest.split_once(' ').unwrap_or((rest, ""));
    let delivery = |text: &str| id(text.parse().expect("a number"));
    let decision = |outcome: &str, reason: Option<&str>, delivery: Option<String>, at: &str| {
        json!({"v": 1, "type": "decision", "at": at, "campaign": "cart", "version": 3, "channel": null, "tags": ["a"], "arm": "treatment",
               "user_id": "u\"1", "event_id": "m1", "outcome": outcome, "reason": reason, "rule": {"limit": 3}, "until": null, "run": null,
               "delivery_id": delivery})
    };
    let attempt = |result: &str, cause: Option<&str>| {
        json!({"v": 1, "type": "attempt", "at": DAY, "campaign": "cart", "user_id": "u1", "delivery_id": delivery(first), "request_id": delivery(first),
               "destination": "d", "attempt": 1, "result": result, "status": 200, "latency_ms": 3, "cause": cause, "error": null})
    };
    let line = match kind {
        "sent" => decision("sent", None, Some(delivery(first)), if more.is_empty() { DAY } else { more }),
        "deferred" => decision("deferred", Some("quiet_hours"), None, DAY),
        "held" => decision("suppressed", Some(first), None, DAY),
        "taken_back" => decision("suppressed", Some(first), Some(delivery(more)), DAY),
        "delivered" => attempt("delivered", None),
        "retrying" => attempt("retrying", Some("http 503")),
        "failed" => attempt("failed", Some(more)),
        "converted" => json!({"v": 1, "type": "conversion", "at": DAY, "campaign": "cart", "user_id": more, "arm": first, "event_id": "m9",
                              "sent_at": DAY, "delivery_id": null}),
        other => panic!("no shape {other}"),
    };
    line.to_string().into_bytes()
}

fn lines(shapes: &[&str]) -> Vec<Line> {
    let read = |(offset, shape): (usize, &&str)| {
        let bytes = written(shape);
        read(0, offset as i64, &bytes).expect("a line").map(|(campaign, line)| {
            assert_eq!(campaign, "cart");
            line
        })
    };
    shapes.iter().enumerate().filter_map(read).collect()
}

fn folded(shapes: &[&str]) -> Tally {
    let mut tally = Tally::default();
    tally.fold(1, &lines(shapes));
    tally
}

fn shown(report: &Report) -> String {
    let Totals { matched, in_audience, control, duplicate, capped, deferred, sent, delivered, failed, suppressed } = report.totals;
    let totals = [("matched", matched), ("in_audience", in_audience), ("control", control), ("duplicate", duplicate), ("capped", capped)];
    let more = [("deferred", deferred), ("sent", sent), ("delivered", delivered), ("failed", failed), ("suppressed", suppressed)];
    let all = totals.into_iter().chain(more).filter(|(_, count)| *count > 0);
    let all: Vec<String> = all.map(|(name, count)| format!("{name}={count}")).collect();
    format!("{} {} {}", all.join(" "), json!(report.reasons), json!(report.failed_by))
}

#[test]
fn lines_are_counted_as_the_funnel_means_them() {
    let check = |shapes: &[&str], expect: &str| assert_eq!(shown(&folded(shapes).report(None)), expect, "{shapes:?}");
    check(&[], " {} {}");
    check(&["sent 1", "delivered 1"], "matched=1 in_audience=1 sent=1 delivered=1 {} {}");
    check(&["sent 1", "retrying 1", "failed 1 http 503"], "matched=1 in_audience=1 sent=1 failed=1 {} {\"http 503\":1}");
    check(
        &["held not_in_audience", "held history_incomplete", "held late_event", "held campaign_paused"],
        "matched=4 suppressed=4 {\"campaign_paused\":1,\"history_incomplete\":1,\"late_event\":1,\"not_in_audience\":1} {}",
    );
    check(
        &["held control_group", "held already_sent", "held resend_wait", "held frequency_cap", "held render_failed"],
        "matched=5 in_audience=5 control=1 duplicate=2 capped=1 suppressed=5 \
         {\"already_sent\":1,\"control_group\":1,\"frequency_cap\":1,\"render_failed\":1,\"resend_wait\":1} {}",
    );
    // Matched when it comes to its end, not before.
    check(&["deferred"], "deferred=1 {} {}");
    check(&["deferred", "sent 1"], "matched=1 in_audience=1 deferred=1 sent=1 {} {}");
    // Sent off, then not sent after all.
    check(&["sent 1", "taken_back user_deleted 1"], "matched=1 in_audience=1 sent=1 suppressed=1 {\"user_deleted\":1} {}");
    // A reason of another version.
    check(&["held weather"], "matched=1 in_audience=1 suppressed=1 {\"other\":1} {}");
}

#[test]
fn a_line_that_was_written_twice_counts_once() {
    let check = |shapes: &[&str], expect: &str| assert_eq!(shown(&folded(shapes).report(None)), expect, "{shapes:?}");
    // A take-over, of what had been delivered and not settled.
    check(&["sent 1", "delivered 1", "sent 1", "delivered 1"], "matched=1 in_audience=1 sent=1 delivered=1 {} {}");
    check(&["sent 1", "failed 1 timeout", "failed 1 timeout"], "matched=1 in_audience=1 sent=1 failed=1 {} {\"timeout\":1}");
    // Sent again by hand: it failed, and was delivered.
    check(&["sent 1", "failed 1 timeout", "delivered 1"], "matched=1 in_audience=1 sent=1 delivered=1 failed=1 {} {\"timeout\":1}");
    let conversions = |shapes: &[&str]| {
        let Arms { treatment, control, .. } = folded(shapes).report(None).conversions;
        (treatment.conversions, control.conversions)
    };
    assert_eq!(
        conversions(&["converted treatment u1", "converted treatment u1", "converted treatment u2", "converted control u3"]),
        (2, 1)
    );
}

#[test]
fn the_memory_of_deliveries_is_as_long_as_it_says() {
    let repeated_after = |others: usize, together: bool| {
        let mut shapes: Vec<String> = vec!["sent 0".into()];
        shapes.extend((1..=others).map(|number| format!("sent {number}")));
        shapes.push("sent 0".into());
        let shapes: Vec<&str> = shapes.iter().map(String::as_str).collect();
        let lines = lines(&shapes);
        let mut tally = Tally::default();
        // By a table, or one by one through the store.
        let size = if together { lines.len() } else { 7 };
        for part in lines.chunks(size) {
            tally.fold(1, part);
            tally = Tally::decode(&tally.encode()).expect("a tally");
        }
        tally.report(None).totals.sent - others as u64
    };
    for together in [true, false] {
        assert_eq!(repeated_after(REMEMBERED - 1, together), 1, "recognised");
        assert_eq!(repeated_after(REMEMBERED, together), 2, "forgotten: this is the tolerance");
    }
}

#[test]
fn reading_again_counts_nothing_twice() {
    let shapes = ["sent 1", "held frequency_cap", "deferred", "failed 1 dns", "held already_sent", "converted control u1"];
    let all = lines(&shapes);
    let expect = folded(&shapes);
    // Whoever comes next begins anywhere before what is counted; another partition has offsets of its own.
    for begin in 0..=all.len() {
        for end in begin..=all.len() {
            let mut tally = Tally::default();
            tally.fold(1, &all[..end]);
            tally = Tally::decode(&tally.encode()).expect("a tally");
            tally.fold(1, &all[begin..]);
            assert_eq!(tally, expect, "again from {begin} after {end}");
        }
    }
    let mut both = expect.clone();
    let elsewhere: Vec<Line> = all.iter().map(|line| Line { partition: 3, key: line.key ^ (1 << 20), ..line.clone() }).collect();
    both.fold(1, &elsewhere);
    assert_eq!(both.report(None).totals.matched, 2 * expect.report(None).totals.matched);
    // A topic that was made anew begins at 0 again.
    let mut anew = expect.clone();
    anew.fold(2, &lines(&["held stale"]));
    assert_eq!(anew.report(None).totals.matched, expect.report(None).totals.matched + 1);
}

#[test]
fn days_are_counted_apart_and_the_total_outlives_them() {
    let mut tally = Tally::default();
    let days = KEPT_DAYS + 10;
    let sent: Vec<Line> = (0..days)
        .map(|day| Line { partition: 0, offset: day as i64, day: 20_000 + day as i32, key: (day as u64) << 8, what: What::Sent })
        .collect();
    tally.fold(1, &sent);
    let report = tally.report(None);
    assert_eq!((report.totals.sent, report.by_day.len()), (days as u64, KEPT_DAYS));
    let first = 20_000 + 10;
    let of = |from: i32, to: i32| tally.report(Some(from..=to));
    assert_eq!((of(first, first + 4).totals.sent, of(0, first - 1).totals.sent, of(first, i32::MAX).by_day.len()), (5, 0, KEPT_DAYS));
    assert_eq!((show_day(first), parse_day("2024-10-14")), ("2024-10-14".to_owned(), Some(first)));
    assert_eq!((parse_day("2024-13-14"), parse_day("2024-10-14T00:00:00Z"), parse_day("")), (None, None, None));
}

#[test]
fn a_tally_stays_small() {
    let mut tally = Tally::default();
    let mut offset = 0;
    for day in 0..120 {
        let mut lines = Vec::new();
        for number in 0..100 {
            let mut line = |what| {
                offset += 1;
                lines.push(Line { partition: (offset % 64) as i32, offset: offset << 24, day, key: (offset as u64) << 3, what });
            };
            line(What::Sent);
            line(What::Failed { cause: format!("http {number}").into() });
            line(What::Held { reason: Reason::ALL[number % 20].as_str(), taken_back: number % 2 == 0 });
        }
        tally.fold(1, &lines);
        let many = [Unwritten { day, reason: "not_in_audience", count: 1 << 40 }];
        tally.add(&many);
        assert!(tally.encode().len() <= MAX_BYTES);
    }
    let report = Tally::decode(&tally.encode()).expect("a tally").report(None);
    assert_eq!((report.totals.sent, report.totals.failed), (12_000, 12_000));
    assert_eq!(report.failed_by.len(), MAX_CAUSES + 1);
    assert_eq!(report.failed_by[OTHER], 120 * (100 - MAX_CAUSES as u64));
    assert!(report.by_day.len() >= KEPT_DAYS * 3 / 4, "{} days", report.by_day.len());
}

#[test]
fn arms_are_compared() {
    let of = |treatment: (u64, u64), control: (u64, u64)| {
        let mut tally = Tally::default();
        let counts = &mut tally.total;
        (counts.sent, counts.converted) = (treatment.0, [treatment.1, control.1]);
        tally.add(&[Unwritten { day: 0, reason: "control_group", count: control.0 }]);
        tally.report(None).conversions
    };
    let arms = of((1000, 100), (100, 8));
    assert_eq!((arms.treatment.rate, arms.control.rate), (0.1, 0.08));
    assert!((arms.lift.expect("a lift") - 0.25).abs() < 1e-9);
    assert_eq!(of((1000, 100), (100, 0)).lift, None);
    assert_eq!(of((0, 0), (100, 8)).lift, None);
    assert_eq!(of((0, 0), (0, 0)), Arms::default());
}

#[test]
fn several_campaigns_add_up() {
    let mut all = Report::default();
    for shapes in [&["sent 1", "held stale"][..], &["sent 2 2026-11-22T00:00:00Z", "failed 2 dns", "converted treatment u1"]] {
        all.merge(&folded(shapes).report(None));
    }
    assert_eq!(shown(&all), "matched=3 in_audience=3 sent=2 failed=1 suppressed=1 {\"stale\":1} {\"dns\":1}");
    assert_eq!(all.by_day.len(), 2);
    assert_eq!(all.conversions.treatment, Converting { users: 2, conversions: 1, rate: 0.5 });
}

#[test]
fn what_is_no_line_says_so() {
    let check = |bytes: &str, expect: &str| {
        let error = read(0, 0, bytes.as_bytes()).expect_err(bytes);
        assert!(error.contains(expect), "{bytes}: {error}");
    };
    check("{", "EOF");
    check("{}", "missing field");
    check(r#"{"v":2,"type":"decision","at":"2026-11-21T00:00:00Z","campaign":"a","user_id":"u"}"#, "newer");
    check(r#"{"v":1,"type":"decision","at":"yesterday","campaign":"a","user_id":"u"}"#, "no time");
    let other = read(0, 0, br#"{"v":1,"type":"weather","at":"2026-11-21T00:00:00Z","campaign":"a","user_id":"u"}"#);
    assert_eq!(other, Ok(None));
}
