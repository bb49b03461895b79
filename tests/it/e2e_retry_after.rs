//! What a worker makes of `Retry-After`: every form of it, with 429 and with 503, each from an endpoint that answers nothing else. How
//! long it waits is read from what is stored of the user; that a form is none shows in the next attempt.

use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::engine::time::Timestamp;
use campanile::worker::ports::Clock;
use serde_json::json;

use crate::support::hostile::Hostile;
use crate::support::hostile::Step::{self, ReadHead, Write};
use crate::support::wait::{eventually, runtime, until};
use crate::support::worker::{Deployment, Worker};

const STATUSES: [&str; 2] = ["429 Too Many Requests", "503 Service Unavailable"];

/// How far the dates that are sent lie ahead: longer than a lease, so that the wait is stored.
const AHEAD: Duration = Duration::from_secs(200);

/// The longest wait that a receiver can ask for.
const LONGEST: Duration = Duration::from_secs(3600);

const WITHIN: Duration = Duration::from_secs(90);

/// What the worker does.
#[derive(Clone, Copy)]
enum Then {
    /// Waits so long, and up to a quarter longer.
    Waits(Duration),
    /// Waits until the date, and up to a quarter longer.
    WaitsForDate,
    /// Tries again by its own backoff, as if there were no such header.
    BacksOff,
}

/// The forms, and what becomes of each. RFC 9110, sections 10.2.3 and 5.6.7.
fn forms(date: jiff::Zoned) -> Vec<(&'static str, Vec<String>, Then)> {
    let past = date.checked_sub(jiff::Span::new().hours(5)).expect("a date");
    let imf = |date: &jiff::Zoned| date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let seconds = Duration::from_secs;
    let one = |text: &str| vec![text.to_owned()];
    vec![
        ("seconds", one("90"), Then::Waits(seconds(90))),
        ("more than an hour", one("7200"), Then::Waits(LONGEST)),
        ("more digits than a number has", one("99999999999999999999999999"), Then::Waits(LONGEST)),
        ("an IMF-fixdate", vec![imf(&date)], Then::WaitsForDate),
        ("a date of RFC 850", vec![date.strftime("%A, %d-%b-%y %H:%M:%S GMT").to_string()], Then::WaitsForDate),
        ("a date of asctime", vec![date.strftime("%a %b %e %H:%M:%S %Y").to_string()], Then::WaitsForDate),
        ("two headers: the first counts", vec!["120".to_owned(), "5".to_owned()], Then::Waits(seconds(120))),
        ("zero", one("0"), Then::BacksOff),
        ("a negative number", one("-5"), Then::BacksOff),
        ("a fraction", one("90.5"), Then::BacksOff),
        ("a date that is past", vec![imf(&past)], Then::BacksOff),
        ("garbage", one("soon"), Then::BacksOff),
        ("nothing", one(""), Then::BacksOff),
        ("too long to be anything", one(&"9".repeat(65)), Then::BacksOff),
    ]
}

/// Answers every request alike.
fn script(status: &str, headers: &[String]) -> &'static [Step] {
    let headers: String = headers.iter().map(|value| format!("Retry-After: {value}\r\n")).collect();
    let answer = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: 0\r\n\r\n");
    Box::leak(Box::new([ReadHead, Write(Box::leak(answer.into_boxed_str()))]))
}

#[test]
fn every_form_of_retry_after_is_waited_for_or_passed_over() {
    let began = SystemClock::new().now();
    let date = jiff::Timestamp::from_millisecond(began.after(AHEAD).0).expect("a time").to_zoned(jiff::tz::TimeZone::UTC);
    // Headers know whole seconds.
    let at = Timestamp(date.timestamp().as_second() * 1000);
    let forms = forms(date);
    let cases = STATUSES.iter().flat_map(|status| forms.iter().map(move |(form, headers, then)| (status, form, headers, *then)));
    let cases: Vec<_> = cases.enumerate().collect();
    let endpoints: Vec<Hostile> =
        cases.iter().map(|(_, (status, _, headers, _))| runtime().block_on(Hostile::start(None, script(status, headers)))).collect();
    let campaigns = endpoints.iter().enumerate().map(|(number, endpoint)| {
        let (event, webhook) = (format!("go-{number}"), json!({"url": format!("http://{}/", endpoint.address())}));
        json!({"kind": "campaign", "key": format!("c{number}"), "status": "running", "trigger": {"action": {"event": event}}, "webhook": webhook})
            .to_string()
    });
    let deployment = Deployment::new("embedded", "embedded");
    deployment.define(&campaigns.collect::<Vec<_>>().join("\n---\n"));
    let worker = deployment.start();
    let told = |number: usize| json!({"type": "track", "event": format!("go-{number}"), "userId": format!("u{number}")});
    let batch: Vec<_> = (0..cases.len()).map(told).collect();
    assert_eq!(worker.post("/v1/batch", &json!({ "batch": batch }).to_string()).status, 202);

    let attempts = |number: usize| worker.metric("campanile_attempts_total", &format!("\"{}\"", endpoints[number].address()));
    for (number, (status, form, _, then)) in &cases {
        let what = format!("{status}, {form}");
        let (least, most) = match then {
            Then::BacksOff => {
                until(&format!("{what}: another attempt"), WITHIN, || attempts(*number) >= 2.0);
                continue;
            }
            Then::Waits(hint) => (began.after(*hint), (*hint + *hint / 4).min(LONGEST)),
            Then::WaitsForDate => (at, AHEAD + AHEAD / 4),
        };
        let waits = eventually(&format!("{what}: a wait"), WITHIN, || parked(&worker, *number));
        let seen = SystemClock::new().now();
        assert!(waits >= least && waits <= seen.after(most), "{what}: until {waits}, not between {least} and {}", seen.after(most));
        assert_eq!(attempts(*number), 1.0, "{what}");
    }
    // It waits for hours: no need to wait for it.
    worker.kill();
}

/// Until when the user's delivery waits, once it does.
fn parked(worker: &Worker, user: usize) -> Option<Timestamp> {
    let user = worker.get(&format!("/v1/users/u{user}"));
    let pending = &user.json()["pending"][0];
    (pending["phase"] == "parked").then(|| Timestamp::parse(pending["until"].as_str()?)).flatten()
}
