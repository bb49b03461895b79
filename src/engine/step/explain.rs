//! Explaining: every gate as it stands for an occasion, with what was compared, the rule, and when it would open. The verdicts are
//! those of the gates themselves; here they are only put beside the values that they looked at. It changes nothing.

use serde::Serialize;

use super::claim::Occasion;
use super::gates::{self, Case, Gate, Stop};
use super::{Known, Work, bounds};
use crate::engine::audience::{self, Because, Why};
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::condition::{Compared, Truth, operator};
use crate::engine::definition::{Campaign, FrequencyCap, Period, Resend, duration_text};
use crate::engine::delivery::delivery_id;
use crate::engine::effect::{Reason, RuleShown};
use crate::engine::fatigue;
use crate::engine::history::Found;
use crate::engine::id::UserId;
use crate::engine::record::Origin;
use crate::engine::time::Timestamp;
use crate::engine::value::Value;

/// One gate, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateView {
    pub gate: Gate,
    pub verdict: Passage,
    /// Why it is shut.
    pub reason: Option<Reason>,
    /// The cap, or the words of a template.
    pub rule: Option<RuleShown>,
    /// When time alone would open it.
    pub frees: Option<Timestamp>,
    pub compared: Vec<Shown>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Passage {
    Open,
    /// The send would wait for it until `frees`.
    Waits,
    Shut,
    /// Only the store, or a linked service, can say: it is asked when the send would go out.
    Unknown,
}

/// A value that a gate looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub what: Box<str>,
    pub value: Box<str>,
    /// What the value was compared with.
    pub against: Option<Box<str>>,
    /// Whether this part holds, where a rule has several; `None` where nobody can know.
    pub holds: Option<bool>,
}

/// All gates for an occasion, in order, also those behind one that is shut. `due` is when a clock would have fallen due; `None` for what
/// is judged at once. What the store says of a limit is taken from `known.admitted`.
pub fn explain(
    in_force: &InForce,
    user: &UserId,
    known: &Known,
    campaign: &CampaignInForce,
    origin: &Origin,
    due: Option<Timestamp>,
    now: Timestamp,
) -> Vec<GateView> {
    let work = Work::new(in_force, user, known.clone(), now);
    let occasion = Occasion { due, ..Occasion::of_origin(origin) };
    let case = work.case(&campaign.definition, Some(&occasion));
    let mut views: Vec<GateView> = Gate::ORDER.iter().map(|gate| view(*gate, gates::pass(*gate, &case), compared(*gate, &case))).collect();
    if let Some(limit) = views.iter_mut().find(|view| view.gate == Gate::Limit && view.verdict == Passage::Open) {
        let unanswered = case.counter().is_some_and(|counter| case.admission(&counter).is_none());
        limit.verdict = if unanswered { Passage::Unknown } else { Passage::Open };
    }
    views.extend(content(&work, campaign, &occasion));
    views
}

/// What the gates come to together, in a sentence.
pub fn verdict(gates: &[GateView]) -> String {
    let closed: Vec<&GateView> = gates.iter().filter(|view| matches!(view.verdict, Passage::Shut | Passage::Waits)).collect();
    let Some(first) = closed.first() else {
        let unknown = gates.iter().filter(|view| view.verdict == Passage::Unknown);
        let ifs: Vec<&str> = unknown.map(|view| unless_known(view.gate)).collect();
        return format!("it would be sent{}{}", if ifs.is_empty() { "" } else { ", if " }, ifs.join(" and if "));
    };
    let reason = first.reason.map_or("", |reason| reason.as_str());
    let opens: Option<Vec<Timestamp>> = closed.iter().map(|view| view.frees).collect();
    match (first.verdict, opens.and_then(|opens| opens.into_iter().max())) {
        (Passage::Waits, Some(at)) if closed.len() == 1 => format!("it would be deferred ({reason}) until {at}"),
        (_, Some(at)) => format!("it would be held back ({reason}); possible from {at}"),
        (_, None) => format!("it would be held back ({reason}); time alone does not change that"),
    }
}

/// What must hold at a gate that nobody can judge here.
fn unless_known(gate: Gate) -> &'static str {
    match gate {
        Gate::Limit => "the campaign's limit lets this user in (only the store knows)",
        Gate::Content => "what its links answer lets it render (they are asked when it is sent)",
        _ => "what is not known here lets it",
    }
}

fn view(gate: Gate, passed: Result<(), Stop>, compared: Vec<Shown>) -> GateView {
    match passed {
        Ok(()) => GateView { gate, verdict: Passage::Open, reason: None, rule: None, frees: None, compared },
        Err(Stop { reason, rule, frees, waits }) => {
            let verdict = if waits && frees.is_some() { Passage::Waits } else { Passage::Shut };
            GateView { gate, verdict, reason: Some(reason), rule, frees, compared }
        }
    }
}

/// Gates 12 and 13.
fn content(work: &Work, campaign: &CampaignInForce, occasion: &Occasion) -> Vec<GateView> {
    let definition = &campaign.definition;
    let id = delivery_id(&work.in_force.policy.id_key, definition.id, work.user, &occasion.instance());
    if campaign.template.has_links() {
        return vec![GateView { verdict: Passage::Unknown, ..view(Gate::Content, Ok(()), Vec::new()) }];
    }
    match work.render(campaign, occasion, id, &[]) {
        Err(stop) => vec![view(Gate::Content, Err(stop), Vec::new())],
        Ok(rendered) => {
            let record = &work.known.record;
            let room = bounds::has_room_for_claim(record, definition.id, &rendered.request);
            let pending = shown("deliveries under way", bounds::under_way(record)).against(bounds::MAX_PENDING);
            let waiting = shown("waiting for a retry or a batch", bounds::waiting(record)).against(bounds::MAX_WAITING);
            vec![
                view(Gate::Content, Ok(()), vec![shown("variables without a value", rendered.missing)]),
                view(Gate::Room, if room { Ok(()) } else { Err(Reason::StateFull.into()) }, vec![pending, waiting]),
            ]
        }
    }
}

/// What a gate looked at.
fn compared(gate: Gate, case: &Case) -> Vec<Shown> {
    let campaign = case.campaign;
    let policy = &case.in_force.policy;
    match gate {
        Gate::Status => vec![shown("status", campaign.status.map_or("ready", |status| status.as_str()))],
        Gate::Late => {
            let happened = case.occasion.filter(|occasion| occasion.due.is_none()).map(|occasion| occasion.timestamp);
            let earliest = case.now.before(policy.max_age);
            happened.map(|at| shown("it happened at", at).against(earliest)).into_iter().collect()
        }
        Gate::Audience => {
            let mut parts = Vec::new();
            flatten(&audience::why(&campaign.audience, &gates::scope(case)), &mut parts);
            parts
        }
        Gate::Resend => resend(case, campaign),
        Gate::ActiveWindow => {
            let bound = |what, at: Option<Timestamp>| at.map(|at| shown(what, case.due().max(case.now)).against(at));
            let from = campaign.active.from.map(|from| shown("due, from", case.due()).against(from));
            from.into_iter().chain(bound("due, before", campaign.active.until)).collect()
        }
        Gate::Stale => vec![shown("due", case.due()).against(case.now.before(policy.max_overdue))],
        Gate::Control => match campaign.control.per_ten_thousand {
            0 => Vec::new(),
            held_out => vec![shown("the user's place of 10000, held out below", fatigue::share(campaign, case.user)).against(held_out)],
        },
        Gate::QuietHours => case.in_force.workspace.quiet_hours.map_or_else(Vec::new, |quiet| {
            let clock = case.zone().local(case.now).strftime("%H:%M").to_string();
            let heeded = shown("heeds quiet hours", campaign.fatigue.quiet_hours);
            vec![heeded, shown("the user's clock", clock).against(format!("{} to {}", quiet.from, quiet.to))]
        }),
        Gate::FrequencyCaps => {
            let caps = &case.in_force.workspace.frequency_caps;
            let counted = fatigue::counted(case.ledger, campaign, caps, case.now, || case.zone());
            let show = |counted: fatigue::Counted| Shown {
                holds: Some(!counted.is_full()),
                ..shown(format!("sends {}", scope_of(counted.cap)), counted.sends).against(counted.cap.limit)
            };
            counted.map(show).collect()
        }
        Gate::Limit => case.counter().zip(campaign.limit).map_or_else(Vec::new, |(counter, limit)| {
            let holds = case.admission(&counter);
            vec![Shown { holds, ..shown("users of", counter).against(limit.users) }]
        }),
        Gate::Content | Gate::Room => Vec::new(),
    }
}

fn resend(case: &Case, campaign: &Campaign) -> Vec<Shown> {
    let rule = match campaign.fatigue.resend {
        Resend::Never => "never".to_owned(),
        Resend::Always => "always".to_owned(),
        Resend::After(span) => format!("after {}", duration_text::format(span)),
    };
    let key = case.occasion.map(|occasion| campaign.fatigue.per.iter().map(move |path| (path, occasion.properties.lookup(path))));
    let values = key.into_iter().flatten().map(|(path, value)| shown(format!("event.{path}"), value.unwrap_or(&Value::Null)));
    let last = fatigue::last(case.ledger, campaign, case.key, case.arm());
    let sent = shown("last sent", last.map_or_else(|| "never".to_owned(), |at| at.to_string())).against(format!("resend {rule}"));
    values.chain([sent]).collect()
}

/// The parts of a rule, each before its own parts.
fn flatten(why: &Why, out: &mut Vec<Shown>) {
    let holds = truth(why.truth);
    let part = |what: String, value: String, against: Option<Box<str>>| Shown { what: what.into(), value: value.into(), against, holds };
    match &why.because {
        Because::All(parts) | Because::Any(parts) => parts.iter().for_each(|part| flatten(part, out)),
        Because::Not(inner) => {
            out.push(part("not".to_owned(), String::new(), None));
            flatten(inner, out);
        }
        Because::User(compared) => flatten_condition("user", compared, out),
        Because::Did { did, measured } => {
            let found = measured.map_or_else(|| "not known".to_owned(), |measured| found(measured.found));
            let since = measured.map(|measured| format!("known since {}", measured.since).into());
            out.push(part(format!("did {}", did.pattern.event), found, since));
        }
        Because::Cohort { key, rule } => {
            out.push(part(format!("cohort {key}"), String::new(), None));
            flatten(rule, out);
        }
        Because::Listed { key, users } => out.push(part(format!("cohort {key}"), format!("a list of {users}"), None)),
        Because::NoCohort { key } => out.push(part(format!("cohort {key}"), "not defined".to_owned(), None)),
    }
}

/// The tests of a condition. `subject`: before the dot of what is tested.
pub(super) fn flatten_condition(subject: &str, compared: &Compared, out: &mut Vec<Shown>) {
    match compared {
        Compared::All(_, parts) | Compared::Any(_, parts) => parts.iter().for_each(|part| flatten_condition(subject, part, out)),
        Compared::Not(holds, inner) => {
            out.push(Shown { holds: truth(*holds), ..shown("not", "") });
            flatten_condition(subject, inner, out);
        }
        Compared::Test { truth: holds, path, test, found, operands } => {
            let each = |values: Vec<String>| if values.is_empty() { "missing".to_owned() } else { values.join(", ") };
            let operands = operands.iter().map(|operand| operand.as_ref().map_or_else(|| "missing".to_owned(), Value::to_string));
            let against = format!("{} {}", operator(test), operands.collect::<Vec<_>>().join(", "));
            let value = each(found.iter().map(Value::to_string).collect());
            out.push(Shown { holds: truth(*holds), ..shown(format!("{subject}.{path}"), value).against(against.trim_end()) });
        }
    }
}

fn found(found: Found) -> String {
    match found {
        Found::Number(number) => number.map(|number| number.to_string()),
        Found::Time(time) => time.map(|time| time.to_string()),
    }
    .unwrap_or_else(|| "nothing".to_owned())
}

/// Which sends a cap counts.
fn scope_of(cap: &FrequencyCap) -> String {
    let period = match cap.period {
        Period::Sliding(span) => format!("in the last {}", duration_text::format(span)),
        Period::Calendar(unit) => format!("in this {}", format!("{unit:?}").to_lowercase()),
    };
    let labels = [("channel", &cap.channel), ("tag", &cap.tag)];
    let labels = labels.iter().filter_map(|(kind, name)| Some(format!(" with {kind} {}", name.as_ref()?)));
    labels.fold(period, |text, label| text + &label)
}

fn truth(truth: Truth) -> Option<bool> {
    match truth {
        Truth::True => Some(true),
        Truth::False => Some(false),
        Truth::Unknown => None,
    }
}

fn shown(what: impl Into<Box<str>>, value: impl ToString) -> Shown {
    Shown { what: what.into(), value: value.to_string().into(), against: None, holds: None }
}

impl Shown {
    fn against(self, other: impl ToString) -> Shown {
        Shown { against: Some(other.to_string().into()), ..self }
    }
}
