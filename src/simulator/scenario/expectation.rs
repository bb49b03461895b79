//! Expectations against what came: what is missing, what came uninvited, and what came closest instead.

use std::fmt;

use super::reading::READ;
use super::{Ended, OutcomeLine, Scenario};
use crate::engine::definition::problem::Place;
use crate::engine::definition::{Definition, Kind, Status, duration_text, read_canonical};
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// One line of `expect`; what is absent is not compared.
#[derive(Clone, Debug)]
pub struct Expected {
    pub place: Place,
    pub at: Option<Timestamp>,
    pub user_id: Option<String>,
    pub campaign: Option<String>,
    /// `sent`, `suppressed` or `deferred`.
    pub outcome: Option<String>,
    pub reason: Option<String>,
    /// A conversion, not a decision.
    pub conversion: bool,
    /// `treatment` or `control`.
    pub arm: Option<String>,
    /// Compared by the keys listed.
    pub body: Option<Value>,
    /// Attempts made by the end.
    pub attempts: Option<u32>,
    /// The last result: `delivered`, `retrying` or `failed`.
    pub result: Option<String>,
}

/// One way in which a run is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// What is listed did not come. `nearest` did, `why` says what is known when nothing like it came.
    Missing { place: Place, expected: String, nearest: Vec<Candidate>, why: Option<String> },
    /// A `sent` came that is not listed.
    Unexpected { got: String },
}

/// Something that came, and in what it differs from the expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub got: String,
    pub differs: Vec<String>,
}

/// Candidates shown for one expectation.
const MAX_NEAREST: usize = 2;

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Unexpected { got } => write!(f, "not expected: {got}"),
            Difference::Missing { place, expected, nearest, why } => {
                write!(f, "line {}: expected {expected}", place.line)?;
                for candidate in nearest {
                    write!(f, "\n  got {}: {}", candidate.got, candidate.differs.join("; "))?;
                }
                why.as_ref().map_or(Ok(()), |why| write!(f, "\n  {why}"))
            }
        }
    }
}

/// One decision of a run with what came of its delivery, or one conversion.
struct Fact<'a> {
    line: &'a OutcomeLine,
    body: Option<&'a Value>,
    attempts: u32,
    /// `none` before the first.
    result: &'a str,
}

pub fn differences(scenario: &Scenario, ended: &Ended) -> Vec<Difference> {
    let facts: Vec<Fact<'_>> = ended.lines.iter().filter(|line| !line.is_attempt()).map(|line| Fact::of(line, ended)).collect();
    let is_sent = |expected: &Expected| expected.outcome.as_deref() == Some("sent");
    let sent: Vec<&Fact<'_>> = facts.iter().filter(|fact| fact.line.outcome == "sent").collect();
    let listed: Vec<&Expected> = scenario.expect.iter().filter(|expected| is_sent(expected)).collect();
    let taken = assign(&listed, &sent);
    let mut met = taken.iter().map(Option::is_some);
    let mut differences = Vec::new();
    for expected in &scenario.expect {
        let holds =
            if is_sent(expected) { met.next().unwrap_or(false) } else { facts.iter().any(|fact| expected.differs(fact).is_empty()) };
        if !holds {
            // What another expectation has found is not this one's.
            let free = facts.iter().filter(|fact| {
                let place = sent.iter().position(|sent| std::ptr::eq(*sent, *fact));
                !is_sent(expected) || place.is_none_or(|place| !taken.contains(&Some(place)))
            });
            let repeated = facts.iter().any(|fact| expected.differs(fact).is_empty());
            differences.push(missing(scenario, expected, free, repeated, &facts));
        }
    }
    let unlisted = (0..sent.len()).filter(|place| !taken.contains(&Some(*place)));
    differences.extend(unlisted.map(|place| Difference::Unexpected { got: sent[place].show() }));
    differences
}

/// To each expectation a send of its own, so that as many as can be have one (augmenting paths, after Kuhn): an expectation that says
/// little must not take what one that says more needs.
fn assign(listed: &[&Expected], sent: &[&Fact<'_>]) -> Vec<Option<usize>> {
    let fits: Vec<Vec<usize>> =
        listed.iter().map(|expected| (0..sent.len()).filter(|place| expected.differs(sent[*place]).is_empty()).collect()).collect();
    let mut owners: Vec<Option<usize>> = vec![None; sent.len()];
    for expected in 0..listed.len() {
        find(expected, &fits, &mut owners, &mut vec![false; sent.len()]);
    }
    (0..listed.len()).map(|expected| owners.iter().position(|owner| *owner == Some(expected))).collect()
}

fn find(expected: usize, fits: &[Vec<usize>], owners: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for &place in &fits[expected] {
        if std::mem::replace(&mut tried[place], true) {
            continue;
        }
        if owners[place].is_none_or(|owner| find(owner, fits, owners, tried)) {
            owners[place] = Some(expected);
            return true;
        }
    }
    false
}

/// `repeated`: it came, but no more often than other expectations ask for it. `all`: what came, whoever expects it.
fn missing<'a>(
    scenario: &Scenario,
    expected: &Expected,
    facts: impl Iterator<Item = &'a Fact<'a>>,
    repeated: bool,
    all: &[Fact<'_>],
) -> Difference {
    // What came when it was to come is rather meant than what is like it at another time.
    let elsewhen = |fact: &Fact<'_>| expected.at.is_some_and(|at| at.to_string() != fact.line.at);
    let mut near: Vec<((bool, usize), Candidate)> = facts
        .filter(|fact| fact.line.is_conversion() == expected.conversion)
        .filter(|fact| expected.campaign.as_ref().is_none_or(|campaign| *campaign == fact.line.campaign))
        .filter(|fact| expected.user_id.as_ref().is_none_or(|user| *user == fact.line.user_id))
        .map(|fact| (elsewhen(fact), Candidate { got: fact.show(), differs: expected.differs(fact) }))
        .map(|(elsewhen, candidate)| ((elsewhen, candidate.differs.len()), candidate))
        .collect();
    near.sort_by_key(|(rank, _)| *rank);
    let nearest: Vec<Candidate> = near.into_iter().take(MAX_NEAREST).map(|(_, candidate)| candidate).collect();
    let why = match (repeated, nearest.is_empty()) {
        (true, _) => Some("it came, but not as often as it is listed".to_owned()),
        (false, true) => Some(unconverted(scenario, expected, all).unwrap_or_else(|| nothing(scenario, expected))),
        (false, false) => None,
    };
    Difference::Missing { place: expected.place, expected: expected.show(), nearest, why }
}

/// What can be said when a campaign did something for a user, and a conversion that is expected did not follow.
fn unconverted(scenario: &Scenario, expected: &Expected, facts: &[Fact<'_>]) -> Option<String> {
    let (campaign, user) = (expected.campaign.as_deref()?, expected.user_id.as_deref());
    let is_own = |fact: &&Fact<'_>| fact.line.campaign == campaign && user.is_none_or(|user| fact.line.user_id == user);
    let decided: Vec<&Fact<'_>> = facts.iter().filter(is_own).filter(|fact| fact.line.is_decision()).collect();
    let last = decided.last().filter(|_| expected.conversion)?;
    // A goal may have been added midway: the last definitions have all.
    let catalog = scenario.changes.last().map_or(&scenario.catalog, |change| &change.catalog);
    let document = read_canonical("", &catalog.get(Kind::Campaign, campaign)?.canonical, &READ).ok()?;
    let Definition::Campaign(defined) = document.definition else { return None };
    let Some(goal) = &defined.goal else { return Some(format!("campaign `{campaign}` has no `goal`: nothing is a conversion of it")) };
    // Who is held out converts like who was sent to.
    let reached = decided.iter().rev().find(|fact| fact.line.outcome == "sent" || fact.line.reason.as_deref() == Some("control_group"));
    Some(match reached {
        Some(fact) => {
            let (event, within) = (&goal.pattern.event, duration_text::format(goal.within));
            format!("{}, but no `{event}` that is its goal within {within} after that", fact.show())
        }
        None => format!("nothing was sent that could convert: {}", last.show()),
    })
}

/// What can be said when a campaign did nothing at all for a user.
fn nothing(scenario: &Scenario, expected: &Expected) -> String {
    let user = expected.user_id.as_deref();
    if let Some(user) = user.filter(|user| !scenario.events.iter().any(|event| event.user.as_deref() == Some(user))) {
        return format!("no event of this scenario is of user `{user}`");
    }
    let campaign = expected.campaign.as_deref();
    let status = campaign.and_then(|key| scenario.catalog.get(Kind::Campaign, key)).and_then(|document| document.status);
    let status = status.filter(|_| scenario.changes.is_empty());
    match (campaign, status) {
        (Some(campaign), Some(status @ (Status::Ready | Status::Ended))) => {
            format!("campaign `{campaign}` is {}: it decides nothing; write `status: running`", status.as_str())
        }
        (Some(campaign), _) => match user {
            Some(user) => format!("campaign `{campaign}` decided nothing for user `{user}`: its trigger did not fire"),
            None => format!("campaign `{campaign}` decided nothing: its trigger did not fire"),
        },
        (None, _) => "nothing was decided".to_owned(),
    }
}

impl<'a> Fact<'a> {
    fn of(line: &'a OutcomeLine, ended: &'a Ended) -> Fact<'a> {
        let own = |attempt: &&OutcomeLine| attempt.is_attempt() && attempt.delivery_id == line.delivery_id && line.delivery_id.is_some();
        let last = ended.lines.iter().filter(own).max_by_key(|attempt| attempt.attempt);
        let made = ended.lines.iter().filter(own).filter(|attempt| !attempt.is_without_request());
        // A delivery that shares its request has the request's id in its attempts.
        let request_id = last.and_then(|attempt| attempt.request_id.as_ref()).or(line.delivery_id.as_ref());
        let request = ended.requests.iter().find(|request| Some(&request.webhook_id) == request_id);
        Fact {
            line,
            body: request.and_then(|request| request.body.as_ref()),
            attempts: made.map(|made| made.attempt).max().unwrap_or(0),
            result: last.map_or("none", |last| &last.result),
        }
    }

    fn show(&self) -> String {
        let OutcomeLine { at, campaign, user_id, outcome, reason, rule, until, .. } = self.line;
        if self.line.is_conversion() {
            return format!("conversion of {user_id} for {campaign} at {at}, {}", self.line.arm);
        }
        let mut text = format!("{outcome} {campaign} to {user_id} at {at}");
        if let Some(reason) = reason {
            text.push_str(&format!(", {reason}"));
        }
        if let Some(rule) = rule {
            text.push_str(&format!(" ({})", rule.as_str().map_or_else(|| rule.to_string(), str::to_owned)));
        }
        if let Some(until) = until {
            text.push_str(&format!(" until {until}"));
        }
        text
    }
}

impl Expected {
    /// In what a fact is not as expected; empty when it is.
    fn differs(&self, fact: &Fact<'_>) -> Vec<String> {
        let line = fact.line;
        let mut differs = Vec::new();
        let mut text = |name: &str, wanted: Option<&str>, is: &str| {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != is) {
                differs.push(format!("{name} is {}, not {wanted}", if is.is_empty() { "absent" } else { is }));
            }
        };
        text("type", Some(if self.conversion { "conversion" } else { "decision" }), &line.r#type);
        text("campaign", self.campaign.as_deref(), &line.campaign);
        text("user_id", self.user_id.as_deref(), &line.user_id);
        text("arm", self.arm.as_deref(), &line.arm);
        // Attempts speak of what was sent, without saying so.
        let outcome = self.outcome.as_deref().or((!self.conversion).then_some("sent"));
        text("outcome", outcome, &line.outcome);
        text("reason", self.reason.as_deref(), line.reason.as_deref().unwrap_or_default());
        text("at", self.at.map(|at| at.to_string()).as_deref(), &line.at);
        if line.outcome == "sent" {
            text("attempts", self.attempts.map(|attempts| attempts.to_string()).as_deref(), &fact.attempts.to_string());
            text("result", self.result.as_deref(), fact.result);
        }
        match (&self.body, fact.body) {
            (Some(wanted), Some(is)) => compare("body", wanted, is, &mut differs),
            (Some(_), None) if line.outcome == "sent" => differs.push("there is no body".to_owned()),
            _ => {}
        }
        differs
    }

    fn show(&self) -> String {
        let kind = if self.conversion { "conversion" } else { self.outcome.as_deref().unwrap_or("deliveries") };
        let mut text = kind.to_owned();
        let mut add = |before: &str, value: Option<String>| {
            if let Some(value) = value {
                text.push_str(before);
                text.push_str(&value);
            }
        };
        add(" ", self.campaign.clone());
        add(" to ", self.user_id.clone());
        add(" at ", self.at.map(|at| at.to_string()));
        add(", ", self.reason.clone());
        add(", arm ", self.arm.clone());
        add(", body ", self.body.as_ref().map(ToString::to_string));
        add(", attempts ", self.attempts.map(|attempts| attempts.to_string()));
        add(", result ", self.result.clone());
        text
    }
}

/// What of `wanted` is not so in `is`: objects by the keys listed, everything else whole.
fn compare(path: &str, wanted: &Value, is: &Value, differs: &mut Vec<String>) {
    match (wanted, is) {
        (Value::Object(wanted), Value::Object(is)) => {
            for (key, wanted) in wanted.iter() {
                let path = format!("{path}.{key}");
                match is.get(key) {
                    Some(is) => compare(&path, wanted, is, differs),
                    None => differs.push(format!("{path} is absent, not {wanted}")),
                }
            }
        }
        (wanted, is) if wanted != is => differs.push(format!("{path} is {is}, not {wanted}")),
        _ => {}
    }
}
