//! How fast past events are replayed: `cargo bench --bench simulate`. 50 campaigns; of the events one in twenty is asked for by a campaign,
//! one in fifty is an identify, one in a thousand is sent. The whole command runs: reading, sorting, replaying, counting.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A debug build only shows that it runs.
const EVENTS: usize = if cfg!(debug_assertions) { 5_000 } else { 2_000_000 };
const USERS: usize = EVENTS / 20;
const CAMPAIGNS: usize = 50;

fn main() {
    let directory = std::env::temp_dir().join(format!("campanile-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("definitions.yaml"), definitions()).expect("the disk has room");
    std::fs::write(directory.join("events.ndjson"), events()).expect("the disk has room");
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
    command.current_dir(&directory).args(["simulate", "--definitions", "definitions.yaml", "--events", "events.ndjson"]);
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    let began = Instant::now();
    let output = command.stderr(Stdio::inherit()).output().expect("the command runs");
    let took = began.elapsed();
    std::fs::remove_dir_all(&directory).expect("it is ours");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}", text.lines().next().unwrap_or_default());
    println!("{EVENTS} events in {took:.2?}: {:.0} a second", EVENTS as f64 / took.as_secs_f64());
}

/// Campaigns of all kinds that ask for ten events; few people are in their audience.
fn definitions() -> String {
    let mut text = String::from("kind: workspace\ntimezone: Asia/Seoul\nfrequency_caps: [{limit: 3, per: 1d}]\n");
    for number in 0..CAMPAIGNS {
        let event = number % 10;
        let trigger = match number % 5 {
            0 => format!("{{inaction: {{after: {{event: asked{event}}}, without: {{event: bought}}, within: 30m}}}}"),
            _ => format!("{{action: {{event: asked{event}, where: {{amount: {{gte: {}}}}}}}}}", 10 * number),
        };
        let _ = write!(
            text,
            "---\nkind: campaign\nkey: c{number}\ntrigger: {trigger}\naudience: {{user: {{plan: gold}}}}\n\
             webhook: {{url: \"https://api{number}.example/send\", body: {{to: \"{{{{ user.id }}}}\", amount: \"{{{{ event.amount }}}}\"}}}}\n"
        );
    }
    text
}

fn events() -> String {
    let mut text = String::with_capacity(EVENTS * 300);
    for number in 0..EVENTS {
        // A multiplicative hash spreads users; the times are in order but for a jitter of some seconds.
        let user = number.wrapping_mul(2_654_435_761) % USERS;
        let second = number / 100 + number.wrapping_mul(40_503) % 7;
        let at = format!(
            "2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            1 + second / 86_400,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            number % 1000
        );
        let _ = match number % 100 {
            0 | 50 => {
                let plan = if user.is_multiple_of(20) { "gold" } else { "free" };
                writeln!(
                    text,
                    r#"{{"type":"identify","messageId":"m{number}","userId":"u{user}","timestamp":"{at}","traits":{{"name":"Kim","country":"KR","plan":"{plan}"}}}}"#
                )
            }
            kind => {
                let event = if kind % 20 == 7 { format!("asked{}", number / 100 % 10) } else { format!("viewed{}", kind % 30) };
                writeln!(
                    text,
                    r#"{{"type":"track","messageId":"m{number}","userId":"u{user}","event":"{event}","timestamp":"{at}","properties":{{"amount":{},"currency":"KRW","category":"k{}","sku":"SKU-{number}","page":"https://shop.example/items/{number}"}},"context":{{"library":{{"name":"analytics.js","version":"2.1"}},"ip":"203.0.113.7"}}}}"#,
                    number % 500,
                    kind
                )
            }
        };
    }
    text
}
