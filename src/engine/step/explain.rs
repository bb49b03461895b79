//! Explaining: every gate as it stands for an occasion, with what was compared, the rule, and when it would open. The verdicts are
//! those of the gates themselves; here they are only put beside the values that they looked at. It changes nothing.

use serde::Serialize;

use super::claim::Occasion;
use super::compared::shown;
use super::gates::{self, Case, Gate, Stop};
use super::{Known, Shown, Work, bounds, compared};
use crate::engine::audience;
use crate::engine::calendar::read_date;
use crate::engine::catalog::{CampaignInForce, InForce};
use crate::engine::definition::{Absence, Campaign, FrequencyCap, Period, Resend, Trigger, UserDate, duration_text};
use crate::engine::delivery::delivery_id;
use crate::engine::effect::{Reason, RuleShown};
use crate::engine::fatigue;
use crate::engine::history;
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
    let mut views: Vec<GateView> = Gate::ORDER.iter().map(|gate| view(*gate, gates::pass(*gate, &case), looked_at(*gate, &case))).collect();
    views.splice(1..1, trigger(&work, &campaign.definition, &occasion));
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
    let reason = first.reason.map_or("its trigger does not fire", |reason| reason.as_str());
    let opens: Option<Vec<Timestamp>> = closed.iter().map(|view| view.frees).collect();
    match (first.verdict, opens.and_then(|opens| opens.into_iter().max())) {
        (Passage::Waits, Some(at)) if closed.len() == 1 => format!("it would be deferred ({reason}) until {at}"),
        (_, Some(at)) => format!("it would be held back ({reason}); possible from {at}"),
        (_, None) => format!("it would be held back ({reason}); time alone does not change that"),
    }
}

/// What is to be said with a verdict where the trigger brings properties and none were given.
pub const WITHOUT_EVENT: &str =
    "audience, `per` and content are judged without the properties of an event; what came of single events is in the outcomes topic";

/// Whether a trigger brings properties: those of an event, or of a request to send.
pub fn needs_event(trigger: &Trigger) -> bool {
    match trigger {
        Trigger::Action(_) | Trigger::Actions(_) | Trigger::Inaction(_) | Trigger::Absence(_) | Trigger::EventDate(_) | Trigger::Api => {
            true
        }
        Trigger::UserDate(_) | Trigger::Schedule(_) | Trigger::Cohort { .. } => false,
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

/// Gate 2, where more than the conditions of an event decides: for the triggers that look at the past or at the profile.
fn trigger(work: &Work, campaign: &Campaign, occasion: &Occasion) -> Option<GateView> {
    match &campaign.trigger {
        Trigger::Absence(absence) => Some(absent(work, absence, occasion)),
        Trigger::UserDate(date) => Some(date_of_user(work, date)),
        Trigger::Action(_)
        | Trigger::Actions(_)
        | Trigger::Inaction(_)
        | Trigger::EventDate(_)
        | Trigger::Schedule(_)
        | Trigger::Api
        | Trigger::Cohort { .. } => None,
    }
}

/// T4: whether `without` did not happen, as far as that is known.
fn absent(work: &Work, absence: &Absence, occasion: &Occasion) -> GateView {
    let at = occasion.timestamp;
    let itself = *absence.without.event == *occasion.event && work.holds(&absence.without, at, occasion.properties);
    let past = history::before(&work.history(at), absence, itself);
    let (what, begins) = match absence.in_last {
        Some(span) => (format!("not in_last {}", duration_text::format(span)), Some(at.before(span))),
        None => ("never".to_owned(), None),
    };
    let frees = |from: Timestamp| absence.in_last.filter(|_| from < Timestamp::MAX).map(|span| from.after(span));
    let holds = compared::truth(past.never);
    let last = past.last.map_or_else(|| "not that is known".to_owned(), |last| last.to_string());
    let mut parts = vec![shown(format!("did {}, `without`", compared::pattern(&absence.without)), last).against(what).judged(holds)];
    if holds != Some(false) {
        let needed = begins.map_or_else(|| "from the beginning".to_owned(), |begins| begins.to_string());
        parts.push(shown("known since", compared::since(past.since)).against(needed).judged(Some(holds.is_some())));
    }
    let passed = match holds {
        Some(true) => return view(Gate::Trigger, Ok(()), parts),
        Some(false) => GateView { frees: past.last.and_then(frees), ..view(Gate::Trigger, Ok(()), parts) },
        None => view(Gate::Trigger, Err(Stop::until(Reason::HistoryIncomplete, frees(past.since))), parts),
    };
    GateView { verdict: Passage::Shut, ..passed }
}

/// T5, user: whether the trait is a date.
fn date_of_user(work: &Work, date: &UserDate) -> GateView {
    let found = work.known.profile.traits().lookup(&date.property);
    let readable = found.and_then(read_date).is_some();
    let part = compared::date(format!("user.{}", date.property), found);
    GateView { verdict: if readable { Passage::Open } else { Passage::Shut }, ..view(Gate::Trigger, Ok(()), vec![part]) }
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
fn looked_at(gate: Gate, case: &Case) -> Vec<Shown> {
    let campaign = case.campaign;
    let policy = &case.in_force.policy;
    match gate {
        Gate::Status => vec![shown("status", campaign.status.map_or("ready", |status| status.as_str()))],
        Gate::Late => {
            let happened = case.occasion.filter(|occasion| occasion.due.is_none()).map(|occasion| occasion.timestamp);
            let earliest = case.now.before(policy.max_age);
            happened.map(|at| shown("it happened at", at).against(earliest)).into_iter().collect()
        }
        Gate::Audience => compared::of_rule(&audience::why(&campaign.audience, &gates::scope(case))),
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
            let show = |counted: fatigue::Counted| {
                let sends = shown(format!("sends {}", scope_of(counted.cap)), counted.sends).against(counted.cap.limit);
                sends.judged(Some(!counted.is_full()))
            };
            counted.map(show).collect()
        }
        Gate::Limit => case.counter().zip(campaign.limit).map_or_else(Vec::new, |(counter, limit)| {
            let holds = case.admission(&counter);
            vec![shown("users of", counter).against(limit.users).judged(holds)]
        }),
        Gate::Trigger | Gate::Content | Gate::Room => Vec::new(),
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
