//! `test`, `preview` and `simulate` as their users meet them: whole runs, what they print compared.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use campanile::worker::ports::{Append, Line};

use crate::support::kafka;
use crate::support::process::{Ran, campanile, run, run_with};

/// Who signs up is to fill a cart.
const GOAL: &str = r#"kind: campaign
key: compared
trigger: {action: {event: signed_up}}
fatigue: {frequency_cap: false}
goal: {event: cart_added, within: 1d}
webhook: {url: "https://mail.example/compared"}
"#;

/// A directory with the files of a team.
struct Desk(TempDir);

const DEFINITIONS: &str = r#"kind: campaign
key: cart-abandoned
trigger: {inaction: {after: {event: cart_added}, without: {event: purchase}, within: 30m, same: [cart_id]}}
audience: {user: {country: KR}}
webhook:
  url: "https://sms.example/v1/{{ user.id }}"
  headers: {Authorization: "Bearer {{ secret.sms_token }}"}
  body: {to: "{{ user.phone }}", text: "{{ user.name | default: 'there' }}, your cart of {{ event.amount }} waits", city: "{{ user.city }}"}
---
kind: campaign
key: welcome
status: paused
trigger: {action: {event: signed_up}}
webhook: {url: "https://mail.example/welcome", content_type: text, body: "{% if user.banned %}{% abort 'banned' %}{% endif %}Hello {{ user.name }}"}
---
kind: workspace
frequency_caps: [{limit: 1, per: 1d}]
"#;

const EVENTS: &str = r#"{"type":"track","messageId":"m4","userId":"u2","event":"cart_added","timestamp":"2026-11-02T10:00:00Z","properties":{"cart_id":"c2","amount":2}}
{"type":"identify","messageId":"m1","userId":"u1","timestamp":"2026-11-02T09:00:00Z","traits":{"country":"KR","phone":"+82","name":"Kim"}}
{"type":"track","messageId":"m2","userId":"u1","event":"signed_up","timestamp":"2026-11-02T09:30:00Z"}
{"type":"track","messageId":"m3","userId":"u1","event":"cart_added","timestamp":"2026-11-02T10:00:00Z","properties":{"cart_id":"c1","amount":1}}
not json
{"type":"track","messageId":"m5","userId":"u3","event":"viewed","timestamp":"2026-11-02T11:00:00Z"}
{"type":"identify","messageId":"m6","userId":"u4","timestamp":"2026-11-03T12:00:00Z","traits":{"country":"KR"}}
{"type":"track","messageId":"m7","userId":"u4","event":"cart_added","timestamp":"2026-11-03T12:00:00Z","properties":{"cart_id":"c1","amount":5}}
"#;

const SCENARIO: &str = r#"name: a cart that is not bought is reminded of
from: 2026-11-02T09:00:00Z
to: 2026-11-03T09:00:00Z
definitions:
  - kind: campaign
    key: cart
    status: running
    trigger: {inaction: {after: {event: cart_added}, without: {event: purchase}, within: 30m}}
    webhook: {url: "https://sms.example/v1", body: {to: "{{ user.phone }}", amount: "{{ event.amount }}"}}
  - kind: campaign
    key: points
    status: running
    trigger: {api: {}}
    webhook: {url: "https://mail.example/points", body: {user: "{{ user.id }}", points: "{{ event.points }}"}}
events:
  - {type: identify, messageId: m1, userId: u1, timestamp: 2026-11-02T09:00:00Z, traits: {phone: "+82"}}
  - {type: track, messageId: m2, userId: u1, event: cart_added, timestamp: 2026-11-02T10:00:00Z, properties: {amount: 60000}}
  - {type: send, campaign: points, messageId: s1, timestamp: 2026-11-02T11:00:00Z, properties: {points: 1}, recipients: [{user_id: a}, {user_id: b, properties: {points: 2}}]}
answers:
  - {campaign: cart, user_id: u1, status: 503, times: 4}
expect:
  - {at: 2026-11-02T10:30:00Z, user_id: u1, campaign: cart, outcome: sent, body: {to: "+82"}, attempts: 4, result: failed}
  - {user_id: a, campaign: points, outcome: sent, body: {points: 1}}
  - {user_id: b, campaign: points, outcome: sent, body: {points: 2}}
"#;

impl Desk {
    fn new(files: &[(&str, &str)]) -> Desk {
        let desk = Desk(tempfile::tempdir().expect("a directory"));
        files.iter().for_each(|(name, text)| desk.write(name, text));
        desk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below the desk")).expect("a directory");
        std::fs::write(path, text).expect("the disk has room");
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(campanile(self.path(), arguments))
    }

    /// A run whose whole output is known.
    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
        let ran = self.run(arguments);
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(code), stdout, stderr), "{arguments:?}");
    }
}

fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not there to be edited");
    text.replacen(from, to, 1)
}

#[test]
fn a_scenario_that_holds_is_ok() {
    let desk = Desk::new(&[("a.yaml", SCENARIO)]);
    desk.check(&["test", "a.yaml"], 0, "ok      a.yaml: a cart that is not bought is reminded of\n1 ok, 0 failed\n", "");
}

#[test]
fn a_scenario_may_name_its_definitions() {
    let scenario = "name: drafts\nfrom: 2026-11-02T09:00:00Z\nto: 2026-11-03T09:00:00Z\ndefinitions_dir: ../campaigns\n\
                    events: [{type: track, userId: u1, event: signed_up, timestamp: 2026-11-02T10:00:00Z}]\n\
                    expect: [{user_id: u1, campaign: welcome, outcome: suppressed, reason: campaign_paused}]\n";
    let desk = Desk::new(&[("campaigns/all.yaml", DEFINITIONS), ("tests/a.yaml", scenario)]);
    desk.check(&["test", "."], 0, "ok      ./tests/a.yaml: drafts\n1 ok, 0 failed\n", "");
    desk.write("tests/a.yaml", &edited(scenario, "../campaigns", "nowhere"));
    desk.run(&["test", "tests"]).expect(1, &["FAILED  tests/a.yaml", "tests/a.yaml:4:18: error: tests/nowhere cannot be read"]);
}

#[test]
fn what_differs_is_shown_with_what_came_instead() {
    let check = |from: &str, to: &str, expect: &str| {
        let desk = Desk::new(&[("a.yaml", &edited(SCENARIO, from, to))]);
        let head = "FAILED  a.yaml: a cart that is not bought is reminded of\n";
        desk.check(&["test", "a.yaml"], 1, &format!("{head}{expect}0 ok, 1 failed\n"), "");
    };
    check(
        "at: 2026-11-02T10:30:00Z, user_id: u1",
        "at: 2026-11-02T10:31:00Z, user_id: u1",
        "        line 22: expected sent cart to u1 at 2026-11-02T10:31:00.000Z, body {\"to\":\"+82\"}, attempts 4, result failed\n\
         \x20         got sent cart to u1 at 2026-11-02T10:30:00.000Z: at is 2026-11-02T10:30:00.000Z, not 2026-11-02T10:31:00.000Z\n\
         \x20       not expected: sent cart to u1 at 2026-11-02T10:30:00.000Z\n",
    );
    check(
        "{user_id: a, campaign: points, outcome: sent, body: {points: 1}}",
        "{user_id: nobody, campaign: points, outcome: sent}",
        "        line 23: expected sent points to nobody\n\
         \x20         no event of this scenario is of user `nobody`\n\
         \x20       not expected: sent points to a at 2026-11-02T11:00:00.000Z\n",
    );
    check(
        "body: {points: 2}",
        "body: {points: 3}",
        "        line 24: expected sent points to b, body {\"points\":3}\n\
         \x20         got sent points to b at 2026-11-02T11:00:00.000Z: body.points is 2, not 3\n\
         \x20       not expected: sent points to b at 2026-11-02T11:00:00.000Z\n",
    );
    check(
        "{user_id: a, campaign: points, outcome: sent, body: {points: 1}}",
        "{user_id: b, campaign: points, outcome: sent}",
        "        line 24: expected sent points to b, body {\"points\":2}\n\
         \x20         it came, but not as often as it is listed\n\
         \x20       not expected: sent points to a at 2026-11-02T11:00:00.000Z\n",
    );
    check(
        "type: identify,",
        "type: identfy,",
        "        a.yaml:16:5: warning: this event cannot be read: `type` is `identfy`: expected track, identify, page, screen, delete, send, alias or group\n\
         \x20         help: it goes to the dead-letter topic as `unsupported_type`\n\
         \x20       line 22: expected sent cart to u1 at 2026-11-02T10:30:00.000Z, body {\"to\":\"+82\"}, attempts 4, result failed\n\
         \x20         got sent cart to u1 at 2026-11-02T10:30:00.000Z: body.to is \"\", not \"+82\"\n\
         \x20       not expected: sent cart to u1 at 2026-11-02T10:30:00.000Z\n\
         \x20       an event was dead-lettered: unsupported_type: `type` is `identfy`: expected track, identify, page, screen, delete, send, alias or group\n",
    );
}

/// Among many sends the one that went wrong is that of the time which is expected, however much it differs.
#[test]
fn what_came_at_that_time_comes_first() {
    let scenario = r#"name: hourly
from: 2026-11-02T09:00:00Z
to: 2026-11-03T09:00:00Z
definitions:
  - {kind: campaign, key: c, status: running, trigger: {action: {event: e}}, fatigue: {resend: always}, webhook: {url: "https://h.example/", body: {a: "{{ event.a }}", b: "{{ event.b }}"}}}
events:
  - {type: track, userId: u1, event: e, timestamp: 2026-11-02T10:00:00Z, properties: {a: 1, b: 1}}
  - {type: track, userId: u1, event: e, timestamp: 2026-11-02T11:00:00Z, properties: {a: 1, b: 1}}
  - {type: track, userId: u1, event: e, timestamp: 2026-11-02T12:00:00Z, properties: {a: 2, b: 2}}
expect:
  - {at: 2026-11-02T12:00:00Z, user_id: u1, campaign: c, outcome: sent, body: {a: 1, b: 1}}
"#;
    let desk = Desk::new(&[("a.yaml", scenario)]);
    let told = desk.run(&["test", "a.yaml"]).expect(1, &[]).stdout;
    let got: Vec<&str> = told.lines().map(str::trim).filter(|line| line.starts_with("got ")).collect();
    assert_eq!(got[0], "got sent c to u1 at 2026-11-02T12:00:00.000Z: body.a is 2, not 1; body.b is 2, not 1", "{told}");
}

#[test]
fn a_scenario_that_cannot_be_read_says_where() {
    let check = |from: &str, to: &str, place: &str, message: &str, help: &str| {
        let desk = Desk::new(&[("a.yaml", &edited(SCENARIO, from, to))]);
        let help = if help.is_empty() { String::new() } else { format!("          help: {help}\n") };
        let stdout = format!("FAILED  a.yaml\n        a.yaml:{place}: error: {message}\n{help}0 ok, 1 failed\n");
        desk.check(&["test", "a.yaml"], 1, &stdout, "");
    };
    check("answers:", "anwsers:", "19:1", "unknown key `anwsers` in a scenario", "did you mean `answers`?");
    check("times: 4", "tims: 4", "20:48", "unknown key `tims` in an answer", "did you mean `times`?");
    check("campaign: points, outcome", "campaign: point, outcome", "23:5", "there is no campaign `point`", "did you mean `points`?");
    check("outcome: sent", "outcome: send", "22:70", "`outcome` cannot be `send`", "did you mean `sent`?");
    // Of definitions inside the file, too.
    let unit = "`within` must be a duration with its unit, not a number";
    check("within: 30m", "within: 30", "8:90", unit, "write 30s, 30m, 30h or 30d");
    let variable = "`webhook.url` does not compile: there is no variable `usr`; did you mean `user`?";
    check("mail.example/points", "mail.example/{{ usr.id }}", "14:20", variable, "");
}

#[test]
fn results_are_also_json() {
    let desk = Desk::new(&[("a.yaml", &edited(SCENARIO, "user_id: a,", "user_id: b,"))]);
    let ran = desk.run(&["test", "a.yaml", "--format", "json"]);
    let shown: Value = serde_json::from_str(&ran.stdout).expect("json");
    assert_eq!((ran.code, &shown["failed"], &shown["scenarios"][0]["ok"]), (Some(1), &Value::from(1), &Value::from(false)));
    assert_eq!(shown["scenarios"][0]["differences"][0]["line"], 23, "{shown:#}");
}

const USER: &str = r#"{"type":"identify","userId":"u1","traits":{"phone":"+82","country":"KR"}}"#;
const CART: &str =
    r#"{"type":"track","messageId":"m1","userId":"u1","event":"cart_added","timestamp":"2026-11-02T10:00:00Z","properties":{"amount":7}}"#;

#[test]
fn what_comes_after_the_end_of_a_scenario_does_not_happen() {
    let scenario = r#"name: nothing comes of what comes later
from: 2026-11-02T00:00:00Z
to: 2026-11-03T00:00:00Z
definitions:
  - {kind: campaign, key: hello, status: running, trigger: {action: {event: hi}}, webhook: {url: "https://h.example/"}}
events:
  - {type: track, userId: u1, event: hi, timestamp: 2026-11-03T00:00:00.001Z}
expect: []
"#;
    let desk = Desk::new(&[("a.yaml", scenario)]);
    let shown = "ok      a.yaml: nothing comes of what comes later\n        \
                 a.yaml:7:5: warning: this event comes at 2026-11-03T00:00:00.001Z, after `to` (2026-11-03T00:00:00.000Z): it does not happen\n          \
                 help: move `to`, or the event\n\
                 1 ok, 0 failed\n";
    desk.check(&["test", "a.yaml"], 0, shown, "");
    // At the end it does.
    desk.write("a.yaml", &edited(scenario, "00:00:00.001Z", "00:00:00Z"));
    desk.run(&["test", "a.yaml"]).expect(1, &["not expected: sent hello to u1 at 2026-11-03T00:00:00.000Z"]);
}

#[test]
fn a_conversion_that_did_not_follow_says_what_came_before() {
    let scenario = |event: &str, goal: &str| {
        format!(
            r#"name: who is told buys
from: 2026-11-02T00:00:00Z
to: 2026-11-09T00:00:00Z
definitions:
  - {{kind: campaign, key: hello, status: running, trigger: {{action: {{event: hi}}}}, {goal}audience: {{user: {{id: u1}}}}, webhook: {{url: "https://h.example/"}}}}
events:
  - {{type: track, userId: {event}, event: hi, timestamp: 2026-11-02T10:00:00Z}}
  - {{type: track, userId: u1, event: purchase, timestamp: 2026-11-03T10:00:01Z}}
expect:
  - {{outcome: sent, campaign: hello, user_id: u1}}
  - {{campaign: hello, conversion: true}}
"#
        )
    };
    let goal = "goal: {event: purchase, within: 1d}, ";
    let desk = Desk::new(&[]);
    let check = |event: &str, goal: &str, expect: &str| {
        desk.write("a.yaml", &scenario(event, goal));
        desk.run(&["test", "a.yaml"]).expect(1, &[expect]);
    };
    let sent = "sent hello to u1 at 2026-11-02T10:00:00.000Z, but no `purchase` that is its goal within 1d after that";
    check("u1", goal, sent);
    check("u1", "", "campaign `hello` has no `goal`: nothing is a conversion of it");
    check("u2", goal, "nothing was sent that could convert: suppressed hello to u2 at 2026-11-02T10:00:00.000Z, not_in_audience");
}

/// What a campaign would send may depend on its destination, and on several events.
#[test]
fn a_preview_shows_credentials_hidden_and_every_event_of_a_set() {
    let definitions = r#"kind: destination
key: sms
match: sms.example
auth: {bearer: {secret: sms_token}}
---
kind: campaign
key: both
trigger: {actions: {events: [{event: opened, where: {n: 1}}, {event: looked}]}}
webhook: {url: "https://sms.example/v1", body: {n: "{{ events.opened.n }}", at: "{{ events.looked.at | upcase }}", of: "{{ trigger.event }}"}}
---
kind: campaign
key: own
trigger: {date: {event: looked, offset: 1d}}
webhook: {url: "https://sms.example/v1", headers: {authorization: "Key {{ secret.own }}"}, body: {}}
---
kind: campaign
key: asked
trigger: {api: {}}
webhook: {url: "https://sms.example/v1", body: {}}
"#;
    let event = |name: &str, properties: &str| format!(r#"{{"type":"track","userId":"u1","event":"{name}","properties":{properties}}}"#);
    let desk = Desk::new(&[("d.yaml", definitions), ("user.json", USER)]);
    for (file, name, properties) in [("o1", "opened", r#"{"n":1}"#), ("o2", "opened", r#"{"n":2}"#), ("l", "looked", r#"{"at":"ten"}"#)] {
        desk.write(file, &event(name, properties));
    }
    desk.write("send", r#"{"type":"send","campaign":"both","userId":"u1"}"#);
    let check = |key: &str, events: &[&str], headers: &str, body: &str, warnings: &str| {
        let given: Vec<&str> = events.iter().flat_map(|event| ["--event", event]).collect();
        let arguments = [&["preview", key, "--definitions", "d.yaml", "--user", "user.json"], &given[..]].concat();
        let curl = format!(
            "curl --request POST \\\n  --url 'https://sms.example/v1' \\\n  --header 'content-type: application/json' \\\n  --header '{headers}' \\\n  --data-raw '{body}'\n"
        );
        desk.check(&arguments, 0, &curl, warnings);
        let shown: Value =
            serde_json::from_str(&desk.run(&[&arguments[..], &["--format", "json"]].concat()).expect(0, &[]).stdout).expect("JSON");
        let (name, value) = headers.split_once(": ").expect("a header");
        assert_eq!(shown["request"]["headers"][name], value, "{shown}");
    };
    let bearer = "authorization: Bearer ***";
    check("both", &["o1", "l"], bearer, r#"{"n":1,"at":"TEN","of":"looked"}"#, "");
    check("both", &["l", "o1"], bearer, r#"{"n":1,"at":"TEN","of":"opened"}"#, "");
    let none = |name: &str| format!("warning: `{name}` has no value: it is empty in the request\n");
    check("both", &["o1"], bearer, r#"{"n":1,"at":"","of":"opened"}"#, &none("events.looked.at"));
    let not = |name: &str, key: &str| format!("warning: this event `{name}` would not trigger campaign `{key}`\n");
    check("both", &["o2", "l"], bearer, r#"{"n":2,"at":"TEN","of":"looked"}"#, &not("opened", "both"));
    let send = "warning: a send does not trigger campaign `both`: its trigger is another\n".to_owned();
    let empty = r#"{"n":"","at":"","of":""}"#;
    check("both", &["send"], bearer, empty, &(send + &none("events.opened.n") + &none("events.looked.at")));
    check("own", &["l"], "authorization: Key ***", "{}", "");
    let several = "warning: campaign `own` does not wait for several events: only the last that is given counts\n";
    check("own", &["l", "l"], "authorization: Key ***", "{}", several);
    check("own", &["o1"], "authorization: Key ***", "{}", &not("opened", "own"));
    let asked = "warning: this event `looked` would not trigger campaign `asked`: that waits for a `send`\n";
    check("asked", &["l"], bearer, "{}", asked);
}

fn preview_desk() -> Desk {
    Desk::new(&[("campaigns/all.yaml", DEFINITIONS), ("user.json", USER), ("cart.json", CART)])
}

#[test]
fn a_preview_shows_the_request_and_what_it_misses() {
    let desk = preview_desk();
    let arguments = ["preview", "cart-abandoned", "--definitions", "campaigns", "--user", "user.json", "--event", "cart.json"];
    let warning = "warning: `user.city` has no value: it is empty in the request\n";
    let curl = r#"curl --request POST \
  --url 'https://sms.example/v1/u1' \
  --header 'content-type: application/json' \
  --header 'Authorization: Bearer ***' \
  --data-raw '{"to":"+82","text":"there, your cart of 7 waits","city":""}'
"#;
    desk.check(&arguments, 0, curl, warning);
    let table = "destination                 sms.example\n\
                 method                      POST\n\
                 url                         https://sms.example/v1/u1\n\
                 header       content-type   application/json\n\
                 header       Authorization  Bearer ***\n\
                 body         to             \"+82\"\n\
                 body         text           \"there, your cart of 7 waits\"\n\
                 body         city           \"\"\n";
    desk.check(&[&arguments[..], &["--format", "table"]].concat(), 0, table, warning);
    let json: Value = serde_json::from_str(&desk.run(&[&arguments[..], &["--format", "json"]].concat()).stdout).expect("json");
    assert_eq!(json["request"]["body"]["to"], "+82", "{json:#}");
    assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1), "{json:#}");
}

#[test]
fn an_event_that_does_not_say_when_is_previewed_as_of_now() {
    let definition = "kind: campaign\nkey: plain\ntrigger: {action: {event: cart_added}}\nwebhook: {url: \"https://h.example/\"}\n";
    let event = r#"{"type":"track","userId":"u1","event":"cart_added"}"#;
    let desk = Desk::new(&[("d.yaml", definition), ("user.json", USER), ("event.json", event)]);
    let arguments = ["preview", "plain", "--definitions", "d.yaml", "--user", "user.json", "--event", "event.json", "--format", "json"];
    let now = || campanile::engine::time::Timestamp(std::time::UNIX_EPOCH.elapsed().expect("a clock").as_millis() as i64);
    let before = now();
    let shown: Value = serde_json::from_str(&desk.run(&arguments).expect(0, &[]).stdout).expect("JSON");
    let at = shown["request"]["body"]["timestamp"].as_str().and_then(campanile::engine::time::Timestamp::parse);
    assert!(at.is_some_and(|at| before <= at && at <= now()), "{shown}");
}

#[test]
fn a_preview_that_cannot_be_says_why() {
    let desk = preview_desk();
    desk.write("banned.json", r#"{"type":"identify","userId":"u1","traits":{"banned":true}}"#);
    let check = |key: &str, definitions: &[&str], user: &str, code: i32, stderr: &str| {
        let arguments = [&["preview", key, "--user", user, "--event", "cart.json"], definitions].concat();
        desk.check(&arguments, code, "", stderr);
    };
    let campaigns = ["--definitions", "campaigns"];
    check("welcom", &campaigns, "user.json", 1, "campanile: there is no campaign `welcom`: did you mean `welcome`?\n");
    check(
        "welcome",
        &campaigns,
        "banned.json",
        1,
        "warning: this event `cart_added` would not trigger campaign `welcome`\n\
         warning: `user.name` has no value: it is empty in the request\n\
         campanile: campaign `welcome` would send nothing: aborted_by_template: banned\n",
    );
    check("welcome", &campaigns, "cart.json", 1, "campanile: cart.json: the user must be an identify: {\"type\":\"identify\",...}\n");
    check(
        "welcome",
        &["--server", "http://127.0.0.1:9"],
        "user.json",
        3,
        "campanile: no worker answers at http://127.0.0.1:9/: Connection refused (os error 111); `--server` names another\n",
    );
    check(
        "welcome",
        &["--definitions", "campaigns", "--link", "a=b"],
        "user.json",
        1,
        "campanile: campaign `welcome` has no link `a`: leave --link out\n",
    );
}

const LINKED: &str = r#"kind: campaign
key: weather
trigger: {action: {event: cart_added}}
webhook:
  url: https://sms.example/v1
  body: {temperature: "{{ link.weather.temperature }}", note: "{{ link.note }}"}
  link:
    weather: {url: "https://w.example/{{ user.country }}"}
    note: {url: "https://n.example/", on_error: empty}
"#;

#[test]
fn a_preview_takes_what_services_answer_from_files() {
    let desk = preview_desk();
    desk.write("linked/all.yaml", LINKED);
    desk.write("weather.json", r#"{"temperature":3}"#);
    desk.write("note.txt", "bring an umbrella\n");
    let arguments = ["preview", "weather", "--definitions", "linked", "--user", "user.json", "--event", "cart.json"];
    let curl = |body: &str| {
        format!(
            "curl --request POST \\\n  --url 'https://sms.example/v1' \\\n  --header 'content-type: application/json' \\\n  --data-raw '{body}'\n"
        )
    };
    let given = ["--link", "weather=weather.json", "--link", "note=note.txt"];
    desk.check(&[&arguments[..], &given].concat(), 0, &curl(r#"{"temperature":3,"note":"bring an umbrella"}"#), "");
    let warning = "warning: `link.note` is empty: what the service answers comes from a file, --link note=FILE\n";
    desk.check(&[&arguments[..], &given[..2]].concat(), 0, &curl(r#"{"temperature":3,"note":""}"#), warning);
    let refused = |link: &str, stderr: &str| desk.check(&[&arguments[..], &["--link", link]].concat(), 1, "", stderr);
    refused("wether=weather.json", "campanile: campaign `weather` has no link `wether`: did you mean `weather`?\n");
    refused("weather", "campanile: --link weather: write NAME=FILE\n");
}

#[test]
fn a_simulation_answers_links_from_a_file() {
    let desk = Desk::new(&[("linked/all.yaml", LINKED), ("events.ndjson", CART)]);
    desk.write("links.yaml", "- {url: \"https://w.example/\", body: {temperature: 3}}\n");
    let arguments = ["simulate", "--definitions", "linked", "--events", "events.ndjson", "--sends", "sends.ndjson", "--format", "json"];
    let sent = |arguments: &[&str]| {
        let ran = desk.run(arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let lines = std::fs::read_to_string(desk.0.path().join("sends.ndjson")).expect("sends");
        let line = lines.lines().next().expect("a decision").to_owned();
        serde_json::from_str::<Value>(&line).expect("json")
    };
    let line = sent(&[&arguments[..], &["--links", "links.yaml"]].concat());
    assert_eq!((&line["outcome"], &line["request"]["body"]["temperature"]), (&"sent".into(), &3.into()), "{line:#}");
    let line = sent(&arguments);
    assert_eq!((&line["reason"], &line["rule"]), (&"link_failed".into(), &"link weather: http 404".into()), "{line:#}");
}

fn simulate_desk() -> Desk {
    Desk::new(&[("campaigns/all.yaml", DEFINITIONS), ("events.ndjson", EVENTS)])
}

const SIMULATE: [&str; 5] = ["simulate", "--definitions", "campaigns", "--events", "events.ndjson"];

#[test]
fn a_simulation_counts_what_would_have_been() {
    let desk = simulate_desk();
    let ran = desk.run(&SIMULATE);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stderr, "events.ndjson:5: not_json: not a json object: it begins with `not json`\n");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "2026-11-02T09:00:00.000Z to 2026-11-03T12:30:00.000Z: 8 events, 6 of interest, 1 unreadable");
    let counts = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let rows: Vec<String> = lines[2..].iter().map(|line| counts(line)).collect();
    assert_eq!(
        rows,
        [
            "campaign matched in_audience control duplicate capped deferred sent delivered failed suppressed",
            "cart-abandoned 3 2 0 0 1 0 1 1 0 2",
            "welcome 1 1 0 0 0 0 1 1 0 0",
            "",
            "cart-abandoned",
            "held back: frequency_cap 1, not_in_audience 1",
        ],
        "{}",
        ran.stdout
    );
}

#[test]
fn sends_have_their_requests_and_attempts() {
    let desk = simulate_desk();
    desk.write("answers.ndjson", "{\"campaign\":\"welcome\",\"status\":503,\"times\":1}\n{\"user_id\":\"u4\",\"status\":400}\n");
    desk.write("secrets.yaml", "sms_token: t0ken\n");
    let more = ["--sends", "sends.ndjson", "--answers", "answers.ndjson", "--secrets", "secrets.yaml", "--format", "json"];
    let ran = desk.run(&[&SIMULATE[..], &more].concat());
    let counts: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!((&counts["campaigns"]["welcome"]["delivered"], &counts["campaigns"]["cart-abandoned"]["failed"]), (&1.into(), &1.into()));
    let text = std::fs::read_to_string(desk.path().join("sends.ndjson")).expect("written");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    let shown: Vec<String> = lines
        .iter()
        .map(|line| {
            let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            [field("campaign"), field("user_id"), field("outcome"), field("reason"), field("result"), line["request"]["body"].to_string()]
                .join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "welcome u1 sent   \"Hello Kim\"",
            "welcome u1   retrying null",
            "welcome u1   delivered null",
            "cart-abandoned u1 suppressed frequency_cap  null",
            "cart-abandoned u2 suppressed not_in_audience  null",
            "cart-abandoned u4 sent   {\"city\":\"\",\"text\":\"there, your cart of 5 waits\",\"to\":\"\"}",
            "cart-abandoned u4   failed null",
        ]
    );
    let request = &lines[5]["request"];
    assert_eq!((&request["method"], &request["url"]), (&"POST".into(), &"https://sms.example/v1/u4".into()));
    assert_eq!(request["headers"], serde_json::json!({"Authorization": "Bearer t0ken", "content-type": "application/json"}));
}

#[test]
fn a_window_cuts_the_events_and_earlier_ones_only_teach() {
    let desk = simulate_desk();
    let run = |more: &[&str]| {
        let ran = desk.run(&[&SIMULATE[..], &["--format", "json"], more].concat());
        let counts: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let sent = |key: &str| counts["campaigns"][key]["sent"].as_u64();
        (sent("welcome"), sent("cart-abandoned"), counts["to"].as_str().unwrap_or_default().to_owned())
    };
    // The sign-up lies before: nothing caps the cart, and who u1 is stays known.
    assert_eq!(
        run(&["--from", "2026-11-02T09:45:00Z", "--to", "2026-11-02T10:30:00Z"]),
        (Some(0), Some(1), "2026-11-02T10:30:00.000Z".into())
    );
    // A clock that is due later is not waited for.
    assert_eq!(run(&["--to", "2026-11-02T10:29:59Z"]), (Some(1), Some(0), "2026-11-02T10:29:59.000Z".into()));
}

/// Nothing that would end makes room in the record: its event is decided in its time, or not at all.
#[test]
fn an_event_of_a_busy_user_is_decided_when_it_happens() {
    let campaign = |key: &str, event: &str| {
        format!(
            "{{kind: campaign, key: {key}, status: running, trigger: {{action: {{event: {event}}}}}, fatigue: {{resend: always}}, \
             webhook: {{url: 'https://{key}.example/', body: {{a: b}}}}}}"
        )
    };
    let at = |ms: u32, event: &str| {
        format!(r#"{{"type":"track","messageId":"m{ms}","userId":"u","event":"{event}","timestamp":"2026-11-02T10:00:00.{ms:03}Z"}}"#)
    };
    let events: Vec<String> = (0..24).map(|ms| at(ms, "go")).chain([at(500, "buy")]).collect();
    let desk = Desk::new(&[
        ("campaigns/all.yaml", &[campaign("a", "go"), campaign("b", "buy")].join("\n---\n")),
        ("events.ndjson", &events.join("\n")),
        ("answers.yaml", "- {campaign: a, status: 503}\n"),
    ]);
    let window = ["--from", "2026-11-02T09:00:00Z", "--to", "2026-11-02T10:00:00.501Z"];
    let ran = desk.run(&[&SIMULATE[..], &window, &["--answers", "answers.yaml", "--format", "json"]].concat());
    let counts: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!((&counts["campaigns"]["a"]["sent"], &counts["campaigns"]["b"]["delivered"]), (&24.into(), &1.into()), "{counts:#}");
}

#[test]
fn events_also_come_from_standard_input_and_bad_input_is_told() {
    let desk = simulate_desk();
    let arguments = ["simulate", "--definitions", "campaigns", "--events", "-"];
    run_with(campanile(desk.path(), &arguments), EVENTS.as_bytes()).expect(0, &["8 events, 6 of interest, 1 unreadable"]);
    run_with(campanile(desk.path(), &arguments), b"").expect(1, &["there is no event that can be read"]);
    desk.run(&["simulate", "--definitions", "campaigns", "--events", "nowhere"]).expect(1, &["nowhere cannot be read"]);
    desk.run(&["simulate", "--definitions", "campaigns", "--topic", "events"]).expect(1, &["kafka.brokers is `embedded`", "give --events"]);
    desk.run(&[&SIMULATE[..], &["--from", "yesterday"]].concat()).expect(2, &["expected an instant with its offset"]);
    desk.write("answers.yaml", "- {staus: 500}\n");
    desk.run(&[&SIMULATE[..], &["--answers", "answers.yaml"]].concat())
        .expect(1, &["answers.yaml:1:4: error: unknown key `staus`", "did you mean `status`?"]);
    desk.write("campaigns/all.yaml", "kind: campaign\nkey: a\n");
    desk.run(&SIMULATE).expect(1, &["the definitions cannot be used", "campaigns/all.yaml:1:1: error: a campaign needs `trigger`"]);
}

/// The contract's own identify has none.
#[test]
fn an_event_without_a_timestamp_happened_with_the_line_before() {
    let identify = r#"{"type":"identify","userId":"u1","traits":{"country":"KR","phone":"+82"}}"#;
    let signed_up = r#"{"type":"track","messageId":"m1","userId":"u1","event":"signed_up","timestamp":"2026-11-02T10:00:00Z"}"#;
    let added = r#"{"type":"track","messageId":"m2","userId":"u1","event":"cart_added","properties":{"cart_id":"c1"}}"#;
    let desk = Desk::new(&[("campaigns/all.yaml", &edited(DEFINITIONS, "limit: 1", "limit: 9"))]);
    let simulate = |lines: &[&str], more: &[&str]| {
        desk.write("e.ndjson", &lines.join("\n"));
        desk.run(&[&["simulate", "--definitions", "campaigns", "--events", "e.ndjson", "--format", "json"], more].concat())
    };
    let sent = |ran: Ran| {
        let counts: Value = serde_json::from_str(&ran.expect(0, &[]).stdout).expect("JSON");
        let sent = |key: &str| counts["campaigns"][key]["sent"].as_u64();
        assert_eq!(counts["events"]["unreadable"], 0, "{counts}");
        (sent("welcome"), sent("cart-abandoned"), counts["to"].as_str().unwrap_or_default().to_owned())
    };
    let expect = (Some(1), Some(1), "2026-11-02T10:30:00.000Z".to_owned());
    assert_eq!(sent(simulate(&[signed_up, identify, added], &[])), expect);
    assert_eq!(sent(simulate(&[identify, signed_up, added], &["--from", "2026-11-02T09:00:00Z"])), expect);
    let why = "e.ndjson:1: no `timestamp`, and no line before has one: nothing says when it happened; give --from";
    simulate(&[identify, signed_up], &[]).expect(1, &[why]);
    let explain = |more: &[&str]| {
        let arguments = ["explain", "--definitions", "campaigns", "--events", "e.ndjson", "--user", "u1", "--campaign", "welcome"];
        desk.run(&[&arguments[..], more].concat())
    };
    explain(&[]).expect(1, &[why]);
    explain(&["--from", "2026-11-02T09:00:00Z"]).expect(0, &[]);
}

#[test]
fn a_topic_is_simulated_like_a_file_and_goals_show_conversions() {
    let desk = simulate_desk();
    desk.write("campaigns/goal.yaml", GOAL);
    let (topic, append) = (kafka::topic(3), kafka::append_on(kafka::shared()));
    let lines = EVENTS.lines().map(|line| Line { topic: topic.as_str().into(), key: None, value: line.into() });
    kafka::wait(append.append(&lines.collect::<Vec<_>>())).expect("events written");
    desk.write("campanile.yaml", &format!("kafka: {{brokers: \"{}\"}}\n", kafka::shared()));
    let of_file = desk.run(&[&SIMULATE[..], &["--format", "json"]].concat()).expect(0, &[]);
    let of_topic = desk.run(&["simulate", "--definitions", "campaigns", "--topic", &topic, "--format", "json"]).expect(0, &[]);
    assert_eq!(of_topic.stdout, of_file.stdout);
    let json: Value = serde_json::from_str(&of_topic.stdout).expect("JSON");
    let compared = &json["campaigns"]["compared"]["conversions"];
    assert_eq!((&compared["treatment"]["conversions"], &compared["control"]["conversions"]), (&Value::from(1), &Value::from(0)), "{json}");
    assert_eq!(json["campaigns"]["welcome"]["conversions"], Value::Null);
    desk.run(&SIMULATE).expect(0, &["  converted: treatment 1 of "]);
    desk.write("campaigns/goal.yaml", &GOAL.replace("goal: {event: ", "goal: {event: not_"));
    let nobody = desk.run(&SIMULATE).expect(0, &["\n  converted 0"]);
    assert_eq!(nobody.stdout.matches("converted").count(), 1, "only where there is a goal: {}", nobody.stdout);
}

#[test]
fn an_explanation_shows_what_happened_and_every_gate() {
    let desk = simulate_desk();
    let explain = |more: &[&str]| {
        let mut arguments = vec!["explain", "--definitions", "campaigns", "--events", "events.ndjson"];
        arguments.extend(more);
        desk.run(&arguments)
    };
    // What came of it, the rule that stopped it, and when it would be possible.
    explain(&["--user", "u1", "--campaign", "cart-abandoned"]).expect(
        0,
        &[
            "2026-11-02T10:00:00.000Z  cart_added (m3) is `after`",
            "2026-11-02T10:30:00.000Z  suppressed because of m3, frequency_cap, limit 1 per 1d",
            "user.country: \"KR\" | eq \"KR\"  yes",
            "frequency caps  shut     frequency_cap, limit 1 per 1d, opens at 2026-11-03T09:30:00.000Z",
            "sends in the last 1d: 1 | 1  no",
            "it would be held back (frequency_cap); possible from 2026-11-03T09:30:00.000Z",
        ],
    );
    // As of a time: later events do not count, and a clock still runs.
    let waiting = ["--user", "u2", "--campaign", "cart-abandoned", "--at", "2026-11-02T10:10:00Z"];
    explain(&waiting).expect(
        0,
        &[
            "nothing is decided yet",
            "2026-11-02T10:30:00.000Z  inaction falls due because of cart_added (m4)",
            "user.country: missing | eq \"KR\"  no",
            "it would be held back (not_in_audience); time alone does not change that",
        ],
    );
    explain(&["--user", "nobody", "--campaign", "welcome"]).expect(0, &["no event that it waits for", "the trigger did not fire"]);
}

/// What a trigger asks besides the conditions of each event: `same`, `within` and order, dates, and its next run.
#[test]
fn an_explanation_says_why_a_trigger_did_not_fire() {
    let definitions = r#"{kind: campaign, key: both, trigger: {actions: {events: [{event: shipped}, {event: paid}], same: [id], within: 1h, order: given}}, webhook: {url: "https://x.example/1"}}
---
{kind: campaign, key: unpaid, trigger: {inaction: {after: {event: shipped}, without: {event: paid}, within: 30m, same: [id]}}, webhook: {url: "https://x.example/2"}}
---
{kind: campaign, key: due, trigger: {date: {event: invoiced, property: when}}, webhook: {url: "https://x.example/3"}}
---
{kind: campaign, key: birthday, trigger: {date: {user: birthday}}, fatigue: {resend: always}, webhook: {url: "https://x.example/4"}}
---
{kind: campaign, key: weekly, trigger: {schedule: {cron: "0 9 * * 1"}}, audience: {user: {plan: {exists: true}}}, fatigue: {resend: always}, webhook: {url: "https://x.example/5"}}
---
{kind: campaign, key: absent, trigger: {inaction: {after: {event: shipped}, without: {event: opened}, in_last: 7d}}, fatigue: {resend: always}, webhook: {url: "https://x.example/6"}}
"#;
    let events = r#"{"type":"identify","messageId":"i1","userId":"u1","timestamp":"2026-11-02T09:00:00Z","traits":{"birthday":"soon"}}
{"type":"track","messageId":"m1","userId":"u1","event":"shipped","timestamp":"2026-11-02T10:00:00Z","properties":{"id":1}}
{"type":"track","messageId":"m2","userId":"u1","event":"paid","timestamp":"2026-11-02T10:20:00Z","properties":{"id":"1"}}
{"type":"track","messageId":"m3","userId":"u1","event":"paid","timestamp":"2026-11-02T11:30:00Z","properties":{"id":1}}
{"type":"track","messageId":"m4","userId":"u1","event":"invoiced","timestamp":"2026-11-02T12:00:00Z","properties":{"when":"2027/01/01"}}
"#;
    let desk = Desk::new(&[("d.yaml", definitions), ("e.ndjson", events)]);
    let explain = |campaign: &str, expect: &[&str]| {
        let arguments = ["explain", "--definitions", "d.yaml", "--events", "e.ndjson", "--user", "u1", "--campaign", campaign];
        desk.run(&arguments).expect(0, expect);
    };
    let other = "event.id: \"1\" | same as 1 of shipped (m1)  no";
    explain("both", &[other, "time from shipped (m1): 20m | within 1h  yes", "time from shipped (m1): 90m | within 1h  no"]);
    explain("both", &["event.id: 1 | same as 1 of shipped (m1)  yes", "happened: 2026-11-02T10:20:00.000Z | after shipped (m1)"]);
    explain("unpaid", &["paid (m2) is `without`", other, "time from shipped (m1): 90m | within 30m  no"]);
    explain("due", &["event.when: \"2027/01/01\" | a date (2027-01-31, 2027-01-31T09:00:00Z, or Unix time as a number)  no"]);
    explain(
        "birthday",
        &["its trigger is a date of the user", "trigger         shut", "user.birthday: \"soon\" | a date", "(its trigger does not fire)"],
    );
    explain(
        "weekly",
        &["it waits for no event: its trigger is a schedule", "what is still to come\n  2026-11-09T09:00:00.000Z  the next run"],
    );
    explain(
        "absent",
        &[
            "trigger         shut     history_incomplete, opens at 2026-11-09T09:00:00.000Z",
            "did opened, `without`",
            "possible from 2026-11-09",
        ],
    );
}

#[test]
fn an_event_that_does_not_meet_its_conditions_is_compared() {
    let campaign = r#"{kind: campaign, key: big, trigger: {action: {event: buy, where: {amount: {gte: 100}, item: {ne: gift}}}},
        webhook: {url: "https://h.example/", body: {amount: "{{ event.amount }}"}}}"#;
    let event =
        r#"{"type":"track","messageId":"m1","userId":"u1","event":"buy","timestamp":"2026-11-02T10:00:00Z","properties":{"amount":99}}"#;
    let desk = Desk::new(&[("d.yaml", campaign), ("e.ndjson", event)]);
    let arguments = ["explain", "--definitions", "d.yaml", "--events", "e.ndjson", "--user", "u1", "--campaign", "big", "--format", "json"];
    let ran = desk.run(&arguments).expect(0, &[]);
    let explained: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let part = &explained["seen"][0]["parts"][0];
    assert_eq!((&part["part"], &part["meets"]), (&Value::from("action"), &Value::from(false)), "{explained}");
    let tests: Vec<_> = part["compared"].as_array().expect("tests").iter().map(|test| (&test["what"], &test["holds"])).collect();
    assert_eq!(tests, [(&"event.amount".into(), &false.into()), (&"event.item".into(), &true.into())], "{explained}");
    assert_eq!((explained["lines"].as_array().map(Vec::len), explained["gates"].as_array().map(Vec::len)), (Some(0), Some(12)));
    // The same names as a worker's answer has.
    assert_eq!(
        (&explained["user_id"], &explained["verdict"], &explained["known"]),
        (&"u1".into(), &"it would be sent".into(), &false.into())
    );
    for name in ["campaign", "at", "waiting", "pending", "exposures"] {
        assert!(!explained[name].is_null(), "{name} in {explained}");
    }
}

/// Sends of an API, and what became of other sends, are what a trigger saw.
#[test]
fn an_explanation_sees_requests_and_follows_chains() {
    let definitions = r#"{kind: campaign, key: push, trigger: {action: {event: shipped}}, webhook: {url: "https://x.example/1"}}
---
{kind: campaign, key: sms, trigger: {action: {event: $failed, where: {campaign: push}}}, webhook: {url: "https://x.example/2", body: {o: "{{ event.trigger.order }}"}}}
---
{kind: campaign, key: mail, trigger: {inaction: {after: {event: $sent, where: {trigger.order: A}}, without: {event: read}, within: 1h}}, webhook: {url: "https://x.example/3", body: {o: "{{ event.trigger.order }}"}}}
---
{kind: campaign, key: points, trigger: {api: {}}, webhook: {url: "https://x.example/4", body: {n: "{{ event.n }}"}}}
"#;
    let events = r#"{"type":"track","messageId":"m1","userId":"u1","event":"shipped","timestamp":"2026-11-02T10:00:00Z","properties":{"order":"A"}}
{"type":"send","campaign":"points","messageId":"s1","userId":"u1","timestamp":"2026-11-02T11:00:00Z","properties":{"n":1}}
"#;
    let desk = Desk::new(&[("d.yaml", definitions), ("e.ndjson", events), ("a.yaml", "[{campaign: push, status: 400}]\n")]);
    let explain = |campaign: &str, more: &[&str], expect: &[&str]| {
        let arguments = ["explain", "--definitions", "d.yaml", "--events", "e.ndjson", "--user", "u1", "--campaign", campaign];
        desk.run(&[&arguments[..], more].concat()).expect(0, expect)
    };
    let answers = ["--answers", "a.yaml"];
    explain("sms", &[], &["no event that it waits for", "nothing was decided"]);
    let failed =
        ["/$failed) is the action", "event.campaign: \"push\" | eq \"push\"  yes", "sent because of msg_", "variables without a value: 0"];
    explain("sms", &answers, &failed);
    // Of each send: that of `sms`, too, has the original event, and that of `points` another.
    let steps = [
        "event.trigger.order: \"A\" | eq \"A\"  yes",
        "event.trigger.order: missing | eq \"A\"  no",
        "inaction falls due because of $sent",
    ];
    explain("mail", &[&answers[..], &["--at", "2026-11-02T10:30:00Z"]].concat(), &[steps[0], steps[2]]);
    let all = explain("mail", &answers, &[steps[0], steps[1], "sent because of msg_"]);
    assert_eq!(all.stdout.matches("/$sent) is `after`").count(), 3, "its own send too: {}", all.stdout);
    explain("points", &[], &["send (s1) is the request that it waits for", "sent because of s1", "variables without a value: 0"]);
}

/// Whether a linked service answers is not made up.
#[test]
fn an_explanation_does_not_know_what_nobody_says_of_links() {
    let desk = Desk::new(&[("d.yaml", LINKED), ("e.ndjson", CART)]);
    desk.write("l.yaml", "- {url: \"https://w.example/\", body: {temperature: 3}}\n");
    let explain = |more: &[&str]| {
        let arguments = ["explain", "--definitions", "d.yaml", "--events", "e.ndjson", "--user", "u1", "--campaign", "weather"];
        desk.run(&[&arguments[..], more].concat())
    };
    let unknown = "unknown because of m1, what its links answer is not known: --links FILE says it";
    let verdict = "it would be sent, if what its links answer lets it render (they are asked when it is sent)";
    let ran = explain(&[]).expect(0, &[unknown, verdict]);
    assert!(!ran.stdout.contains("link_failed"), "{}", ran.stdout);
    explain(&["--links", "l.yaml"]).expect(0, &["sent because of m1"]);
    desk.write("l.yaml", "- {url: \"https://w.example/\", status: 500}\n");
    explain(&["--links", "l.yaml"]).expect(0, &["suppressed because of m1, link_failed"]);
    let why = "--answers, --links and --secrets are of a replay: give --definitions and --events too";
    desk.run(&["explain", "--user", "u1", "--campaign", "weather", "--links", "l.yaml"]).expect(1, &[why]);
}

#[test]
fn an_explanation_that_cannot_be_says_why() {
    let desk = simulate_desk();
    let half = "campanile: give both --definitions and --events, or neither to ask the worker at --server\n";
    desk.check(&["explain", "--user", "u1", "--campaign", "welcome", "--definitions", "campaigns"], 1, "", half);
    let nobody = ["--server", "http://127.0.0.1:9"];
    desk.run(&[&["explain", "--user", "u1", "--campaign", "welcome"][..], &nobody].concat())
        .expect(3, &["no worker answers at http://127.0.0.1:9/"]);
    desk.run(&["explain", "--user", "u1", "--campaign", "welcom", "--definitions", "campaigns", "--events", "events.ndjson"])
        .expect(1, &["there is no campaign `welcom`: did you mean `welcome`?"]);
}

#[test]
fn what_machines_read_is_json() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let check = |arguments: &[&str], lines: usize, part: &str| {
        let ran = run(campanile(directory.path(), &[arguments, &["--format", "json"]].concat())).expect(0, &[part]);
        let read: Vec<Value> =
            ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON: {line}"))).collect();
        assert!(read.len() >= lines, "{arguments:?}: {}", ran.stdout);
    };
    check(&["init"], 2, r#"{"state":"embedded","what":"kafka"}"#);
    check(&["demo"], 7, r#""outcome":"suppressed""#);
}
