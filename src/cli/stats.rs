//! `campanile stats`: what became of everybody whom the campaigns' triggers concerned.

use clap::ValueEnum;
use serde_json::Value;

use super::client::{Client, Request, ServerArgs, text};
use super::{Failure, funnel};

/// Statistics: the funnel from what was triggered to what was delivered, what held back, and conversions
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples: all campaigns; one of them in November, by day

  campanile stats
  campanile stats cart-abandoned --from 2026-11-01 --to 2026-11-30")]
pub struct StatsArgs {
    /// One campaign [default: all]
    key: Option<String>,
    /// The first UTC day [default: all time]
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last UTC day
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    /// As the API answers
    Json,
}

pub fn run(args: &StatsArgs) -> Result<(), Failure> {
    let path = args.key.as_deref().map_or(vec!["v1", "stats"], |key| vec!["v1", "campaigns", key, "stats"]);
    let request = Request::get(path).query("from", args.from.as_deref()).query("to", args.to.as_deref());
    let answer: Value = Client::new(&args.server)?.ask(request)?;
    match args.format {
        Format::Json => println!("{answer}"),
        Format::Table => print!("{}", table(&answer)),
    }
    Ok(())
}

/// A line for each campaign and the sum, or for each day; then what held back, what failed, what converted.
fn table(answer: &Value) -> String {
    let campaigns = answer["campaigns"].as_object();
    let of_days = || answer["by_day"].as_array().into_iter().flatten().map(|day| (text(&day["day"]), day)).collect();
    let mut rows: Vec<(String, &Value)> =
        campaigns.map_or_else(of_days, |campaigns| campaigns.iter().map(|(key, totals)| (key.clone(), totals)).collect());
    rows.push(("all".to_owned(), &answer["totals"]));
    let mut lines = funnel::table("", &rows);
    lines.extend(funnel::notes(answer, false));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::statistics::Totals;

    #[test]
    fn a_table_has_a_line_for_each_campaign_or_day_and_the_sum() {
        let totals = |sent: u64| json!(Totals { sent, ..Totals::default() });
        let mut day = totals(12345);
        day["day"] = json!("2026-11-21");
        let arm = |users: u64, conversions: u64, rate: f64| json!({"users": users, "conversions": conversions, "rate": rate});
        let one = json!({"campaign": "cart", "totals": totals(12345), "by_day": [day], "reasons": {"stale": 2, "frequency_cap": 3}, "failed_by": {"http 503": 1},
            "conversions": {"treatment": arm(100, 10, 0.1), "control": arm(50, 4, 0.08), "lift": 0.25}});
        let shown = table(&one);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[0],
            "            matched  in_audience  control  duplicate  capped  deferred   sent  delivered  failed  suppressed"
        );
        assert_eq!(
            lines[1],
            "2026-11-21        0            0        0          0       0         0  12345          0       0           0"
        );
        assert!(lines[2].starts_with("all  "), "{shown}");
        assert_eq!(lines[3..5], ["held back: frequency_cap 3, stale 2", "failed by: http 503 1"]);
        assert_eq!(lines[5], "converted: treatment 10 of 100 (10.0 %), control 4 of 50 (8.0 %), lift +25.0 %");
        let all = json!({"campaign": null, "totals": totals(3), "by_day": [], "reasons": {}, "failed_by": {}, "campaigns": {"a": totals(1), "b": totals(2)},
            "conversions": {"treatment": arm(3, 0, 0.0), "control": arm(0, 0, 0.0), "lift": null}});
        let shown = table(&all);
        assert_eq!(shown.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect::<Vec<_>>(), ["", "a", "b", "all"]);
    }
}
