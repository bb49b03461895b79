//! Campaigns that start one another: a cycle without delay would send for ever, was it not for the bound on a chain's length.
//! A delay breaks it: `inaction` with `within`, or a date that lies ahead.

use std::collections::BTreeSet;

use super::super::document::Document;
use super::super::part::UNKNOWN;
use super::super::problem::Problem;
use super::super::{Campaign, Condition, EventDate, Operand, Pattern, Test, Trigger};
use super::cycles::cycles;
use crate::engine::value::Value;

/// A day that is skipped is a delay whatever the time of day.
const A_DAY_MS: i64 = 86_400_000;

/// Every cycle among these campaigns.
pub(super) fn chain_problems(campaigns: &[(&Document, &Campaign)]) -> Vec<Problem> {
    // Only who is started by a campaign can be part of a cycle.
    let chained: Vec<(&Document, &Campaign, Vec<&Pattern>)> = campaigns
        .iter()
        .map(|(document, campaign)| (*document, *campaign, at_once(&campaign.trigger)))
        .filter(|(.., patterns)| !patterns.is_empty())
        .collect();
    let mut edges = BTreeSet::new();
    for (to, (_, campaign, patterns)) in chained.iter().enumerate() {
        if patterns.iter().any(|pattern| starts(pattern, campaign)) {
            // It starts itself: what else starts it does not matter any more.
            edges.insert((to, to));
            continue;
        }
        for (from, (_, other, _)) in chained.iter().enumerate() {
            if patterns.iter().any(|pattern| starts(pattern, other)) {
                edges.insert((from, to));
            }
        }
    }
    cycles(&edges).iter().map(|cycle| problem(&cycle.iter().map(|at| (chained[*at].0, chained[*at].1)).collect::<Vec<_>>())).collect()
}

fn problem(cycle: &[(&Document, &Campaign)]) -> Problem {
    let name = |campaign: &Campaign| if &*campaign.key == UNKNOWN { "(no key)".to_owned() } else { campaign.key.to_string() };
    let (document, first) = cycle[0];
    if cycle.len() == 1 {
        let help = "say which campaigns it is about: `where: {campaign: key}`; without it the event concerns every campaign, this one too";
        return document.error("trigger", format!("campaign `{}` starts itself without delay", name(first))).help(help);
    }
    let round: Vec<String> = cycle.iter().chain(cycle.first()).map(|(_, campaign)| name(campaign)).collect();
    let help = "put a delay between two of them: `inaction` with `within`, or `date` with `offset`";
    document.error("trigger", format!("campaigns start one another without delay: {}", round.join(" -> "))).help(help)
}

/// Whether an event of this campaign may fit a pattern; of one whose key is not known, only what is sure.
fn starts(pattern: &Pattern, campaign: &Campaign) -> bool {
    match concerns(&pattern.condition, campaign) {
        Truth::Yes => true,
        Truth::No => false,
        Truth::Maybe => &*campaign.key != UNKNOWN,
    }
}

/// The campaigns' own events that make a trigger fire at once.
fn at_once(trigger: &Trigger) -> Vec<&Pattern> {
    let patterns: Vec<&Pattern> = match trigger {
        Trigger::Action(pattern) => vec![pattern],
        Trigger::Actions(actions) => actions.events.iter().collect(),
        Trigger::Absence(absence) => vec![&absence.after],
        Trigger::EventDate(date) if !lies_ahead(date) => vec![&date.pattern],
        Trigger::EventDate(_) | Trigger::Inaction(_) | Trigger::UserDate(_) => Vec::new(),
        Trigger::Schedule(_) | Trigger::Api | Trigger::Cohort { .. } => Vec::new(),
    };
    patterns.into_iter().filter(|pattern| pattern.event.starts_with('$')).collect()
}

/// Whether a date is later than the event that carries it. A property's may be any: the bound on a chain's length holds there.
fn lies_ahead(date: &EventDate) -> bool {
    let offset = date.when.offset_ms;
    date.property.is_some() || if date.when.at.is_some() { offset >= A_DAY_MS } else { offset > 0 }
}

#[derive(Clone, Copy, PartialEq)]
enum Truth {
    Yes,
    No,
    /// It depends on more than the campaign.
    Maybe,
}

impl Truth {
    fn of(truth: bool) -> Truth {
        if truth { Truth::Yes } else { Truth::No }
    }

    fn opposite(self) -> Truth {
        match self {
            Truth::Yes => Truth::No,
            Truth::No => Truth::Yes,
            Truth::Maybe => Truth::Maybe,
        }
    }
}

/// Whether a condition on `$sent`, `$delivered` or `$failed` can hold of an event of this campaign.
fn concerns(condition: &Condition, campaign: &Campaign) -> Truth {
    let each = |parts: &[Condition], ends: Truth, otherwise: Truth| {
        let judged: Vec<Truth> = parts.iter().map(|part| concerns(part, campaign)).collect();
        match judged {
            _ if judged.contains(&ends) => ends,
            _ if judged.contains(&Truth::Maybe) => Truth::Maybe,
            _ => otherwise,
        }
    };
    match condition {
        Condition::All(parts) => each(parts, Truth::No, Truth::Yes),
        Condition::Any(parts) => each(parts, Truth::Yes, Truth::No),
        Condition::Not(inner) => concerns(inner, campaign).opposite(),
        Condition::Test { path, test } => match &**path {
            "campaign" if &*campaign.key == UNKNOWN => Truth::Maybe,
            "campaign" => compare(test, Some(&campaign.key)),
            "channel" => compare(test, campaign.channel.as_deref()),
            _ => Truth::Maybe,
        },
    }
}

fn compare(test: &Test, actual: Option<&str>) -> Truth {
    let equal = |operand: &Operand| match operand {
        Operand::Value(Value::Text(text)) => Truth::of(Some(&**text) == actual),
        Operand::Value(_) => Truth::No,
        Operand::Event(_) | Operand::User(_) => Truth::Maybe,
    };
    let among = |operands: &[Operand]| {
        let judged: Vec<Truth> = operands.iter().map(equal).collect();
        [Truth::Yes, Truth::Maybe].into_iter().find(|truth| judged.contains(truth)).unwrap_or(Truth::No)
    };
    match test {
        Test::Eq(operand) => equal(operand),
        Test::Ne(operand) => equal(operand).opposite(),
        Test::In(operands) => among(operands),
        Test::NotIn(operands) => among(operands).opposite(),
        Test::StartsWith(Operand::Value(Value::Text(start))) => Truth::of(actual.is_some_and(|actual| actual.starts_with(&**start))),
        Test::EndsWith(Operand::Value(Value::Text(end))) => Truth::of(actual.is_some_and(|actual| actual.ends_with(&**end))),
        Test::Matches(regex) => Truth::of(actual.is_some_and(|actual| regex.0.is_match(actual))),
        Test::Exists(wanted) => Truth::of(actual.is_some() == *wanted),
        _ => Truth::Maybe,
    }
}
