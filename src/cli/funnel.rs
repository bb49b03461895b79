//! Funnels as text, for `stats` and `simulate` alike: a row of counts each, and below what held back, what failed and what converted.

use serde_json::Value;

use super::client::text;
use crate::engine::statistics::Totals;

/// A line of names, and one for each row: its name and its counts, as the API writes them.
pub fn table(heading: &str, rows: &[(String, &Value)]) -> Vec<String> {
    let columns = Totals::COUNTS.map(|(name, _)| name);
    let first = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(heading.len());
    let width = |column: &str| rows.iter().map(|(_, totals)| text(&totals[column]).len()).max().unwrap_or(0).max(column.len());
    let mut lines = vec![format!("{heading:first$}{}", columns.map(|column| format!("  {column:>0$}", width(column))).concat())];
    for (name, totals) in rows {
        let cells = columns.map(|column| format!("  {:>1$}", text(&totals[column]), width(column)));
        lines.push(format!("{name:first$}{}", cells.concat()));
    }
    lines
}

/// What held back, what failed by which cause, and what converted: a line each, where there is anything. `has_goal`: whether it is said
/// that nobody converted.
pub fn notes(of: &Value, has_goal: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (title, counts) in [("held back", &of["reasons"]), ("failed by", &of["failed_by"])] {
        let counts: Vec<String> = counts.as_object().into_iter().flatten().map(|(name, count)| format!("{name} {count}")).collect();
        if !counts.is_empty() {
            lines.push(format!("{title}: {}", counts.join(", ")));
        }
    }
    lines.extend(conversions(&of["conversions"], has_goal));
    lines
}

/// Nothing without a conversion, unless there is a goal: most campaigns have none.
fn conversions(of: &Value, has_goal: bool) -> Option<String> {
    let arm = |name: &str| {
        let arm = &of[name];
        format!("{name} {} of {} ({:.1} %)", arm["conversions"], arm["users"], arm["rate"].as_f64().unwrap_or(0.0) * 100.0)
    };
    let any = ["treatment", "control"].iter().any(|name| of[name]["conversions"].as_u64() > Some(0));
    let lift = of["lift"].as_f64().map(|lift| format!(", lift {:+.1} %", lift * 100.0)).unwrap_or_default();
    if !any && has_goal {
        return Some("converted 0".to_owned());
    }
    any.then(|| format!("converted: {}, {}{lift}", arm("treatment"), arm("control")))
}
