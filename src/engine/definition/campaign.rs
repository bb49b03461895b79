//! Campaigns: who they are, how far they go, and what does not go together. Trigger, audience, fatigue and webhook have files
//! of their own.

use super::condition::CONDITION;
use super::document::ReadOptions;
use super::part::{UNKNOWN, key};
use super::problem::Problems;
use super::reader::{self, MAX_SPAN, Reader};
use super::rule::RULE;
use super::shape::{self, Shape, Type, required};
use super::text::{Data, Entry, Node};
use super::trigger::{OWN_TIME, TRIGGER};
use super::webhook::WEBHOOK;
use super::{Active, Campaign, Control, Goal, Limit, Rule, Status, Trigger, fatigue, rule, trigger, webhook};
use crate::engine::calendar;
use crate::engine::id::CampaignId;
use crate::engine::value::Value;

/// How many tags a campaign may have; each is kept with every counted send.
const MAX_TAGS: usize = 16;

const STATUSES: [(&str, Status); 4] =
    [("ready", Status::Ready), ("running", Status::Running), ("paused", Status::Paused), ("ended", Status::Ended)];

pub(super) static CAMPAIGN: Shape = Shape::new(
    "campaign",
    "a campaign",
    "A message to a person when something happens, or fails to happen.",
    &[
        required("kind", Type::Choice(&["campaign"]), "What this document is."),
        required(
            "key",
            Type::DocumentKey,
            "Its name for ever: lower-case letters, digits and hyphens. Never used again, also after it ended.",
        ),
        shape::key("title", Type::Text, "For people."),
        shape::key("description", Type::Text, "For people."),
        shape::key(
            "status",
            Type::Choice(&["ready", "running", "paused", "ended"]),
            "`ready` (a new one's default), `running`, `paused`, or `ended`, which is final. Absent: unchanged.",
        ),
        shape::key("tags", Type::List(&Type::Name, 0, MAX_TAGS), "Labels; frequency caps may be limited to one."),
        shape::key("channel", Type::Name, "How it reaches the person, free text such as sms; frequency caps may be limited to one."),
        shape::key(
            "priority",
            Type::Integer(i64::MIN, i64::MAX),
            "Higher comes first when several campaigns fire at once for a user, then by key. Scheduled runs each come to a user by themselves, and a send with linked content is judged when that is there. Default 0.",
        ),
        shape::key("active", Type::Map(&ACTIVE), "Sends that fall due outside this time are not sent."),
        required("trigger", Type::Map(&TRIGGER), "What starts a send: exactly one kind."),
        shape::key(
            "audience",
            Type::Named(&RULE),
            "Who may get it, judged when the send falls due. Absent: everyone; a schedule must say so.",
        ),
        shape::key("control", Type::Map(&CONTROL), "A share of the users who get nothing, to compare with."),
        shape::key(
            "limit",
            Type::AnyOf(&[Type::Integer(1, i64::MAX), Type::Map(&LIMIT)]),
            "At most so many distinct users: a number, or {users: N, per: run}, which is what a number means for cron and monthly schedules.",
        ),
        shape::key("fatigue", Type::Map(&fatigue::FATIGUE), "How often one person may get it. Default: once."),
        shape::key("goal", Type::Map(&GOAL), "The event that counts as a conversion."),
        required("webhook", Type::Map(&WEBHOOK), "The request that is sent."),
    ],
);

static ACTIVE: Shape = Shape::new(
    "active",
    "`active`",
    "A span of time.",
    &[
        shape::key("from", Type::Instant, "Nothing is sent before, such as 2026-11-01T00:00:00+09:00."),
        shape::key("until", Type::Instant, "Nothing is sent at or after."),
    ],
);

static CONTROL: Shape = Shape::new(
    "control",
    "`control`",
    "A control group.",
    &[required("percent", Type::Number, "From 0 to 100, with at most two decimals. Who is in it stays in it as it grows.")],
);

static LIMIT: Shape = Shape::new(
    "limit",
    "`limit`",
    "A limit of distinct users.",
    &[
        required("users", Type::Integer(1, i64::MAX), "How many users at most."),
        shape::key("per", Type::Choice(&["run"]), "`run`: in each run of the schedule, not in all."),
    ],
);

static GOAL: Shape = Shape::new(
    "goal",
    "`goal`",
    "The event that counts as a conversion.",
    &[
        required("event", Type::Name, "The name of the event."),
        shape::key("where", Type::Named(&CONDITION), "What its properties must be."),
        required("within", Type::Duration, "How long after the send it still counts."),
    ],
);

/// A campaign; what of it cannot be read has a stand-in that gives no rise to other problems.
pub(super) fn campaign(node: &Node, options: &ReadOptions, problems: &Problems) -> Option<Campaign> {
    let mut reader = Reader::of(node, &CAMPAIGN, problems)?;
    reader.get("kind");
    let key = key(&mut reader);
    let title = reader.text("title").map(Into::into);
    let description = reader.text("description").map(Into::into);
    let status = reader.choice("status", &STATUSES);
    let tags = tags(&mut reader);
    let channel = reader.name("channel").map(Into::into);
    let priority = reader.integer("priority", i64::MIN..=i64::MAX).unwrap_or(0);
    let active = active(&mut reader);
    let trigger_entry = reader.entry("trigger");
    let trigger = reader
        .require("trigger", "what starts a send: {action: {event: ...}}, {inaction: ...} or {api: {}}")
        .and_then(|node| trigger::trigger(node, problems));
    let audience_node = reader.get("audience");
    let audience = audience_node.map_or(Some(Rule::All(Vec::new())), |node| rule::rule(node, "`audience`", problems));
    let control = control(&mut reader);
    let limit = limit(&mut reader, trigger.as_ref());
    let fatigue = fatigue::fatigue(&mut reader);
    let goal = goal(&mut reader);
    let webhook =
        reader.require("webhook", "where to send it: {url: \"https://...\"}").and_then(|node| webhook::webhook(node, options, problems));
    reader.close();
    if let Some(entry) = trigger_entry {
        together(entry, &fatigue, audience_node.is_some(), problems);
    }
    let key: Box<str> = problems.or_stand_in(key, || UNKNOWN).into();
    Some(Campaign {
        id: CampaignId::of(&key),
        key,
        title,
        description,
        version: 1,
        status,
        since: None,
        tags,
        channel,
        priority,
        active,
        trigger: problems.or_stand_in(trigger, || Trigger::Api),
        audience: problems.or_stand_in(audience, || Rule::All(Vec::new())),
        control,
        limit,
        fatigue: fatigue.fatigue,
        goal,
        webhook: problems.or_stand_in(webhook, webhook::unknown),
    })
}

/// What a trigger asks of the rest of the campaign, also one with other faults: which kind it is of shows from its keys.
fn together(trigger: &Entry, written: &fatigue::Written, says_audience: bool, problems: &Problems) {
    let Data::Map(kinds) = &trigger.value.data else { return };
    let [Entry { key: kind, value: node, .. }] = &kinds[..] else { return };
    let says = |key: &str| node.at(key).is_some_and(|node| !node.is_null());
    let is_schedule = &**kind == "schedule";
    let is_user_date = &**kind == "date" && says("user");
    if ((is_schedule && (says("cron") || says("monthly"))) || is_user_date) && !written.says_resend {
        let help = "write `fatigue: {resend: never}` for once per user ever, `always` for every time, or {after: 7d}";
        problems.error_with_help(trigger.place, "a recurring trigger needs `fatigue.resend`", help);
    }
    if is_schedule && !says_audience {
        let help = "write who gets it: `audience: everyone` if it is for all users";
        problems.error_with_help(trigger.place, "a schedule needs `audience`", help);
    }
    if let Some(per) = written.per
        && (is_schedule || is_user_date || &**kind == "cohort")
    {
        let help = "remove `per`: no event starts it, so there are no event properties";
        problems.error_with_help(per, "`per` needs a trigger with an event", help);
    }
}

/// Whether a schedule has more than one run.
fn repeats(times: &calendar::Schedule) -> bool {
    match times {
        calendar::Schedule::Cron(_) | calendar::Schedule::Monthly { .. } => true,
        calendar::Schedule::At(_) => false,
    }
}

fn tags(reader: &mut Reader<'_>) -> Vec<Box<str>> {
    let written = reader.names("tags").unwrap_or_default();
    if let Some((_, place)) = written.get(MAX_TAGS) {
        reader.problems.error(*place, format!("a campaign has at most {MAX_TAGS} tags"));
    }
    for (position, (tag, place)) in written.iter().enumerate() {
        if written[..position].iter().any(|(earlier, _)| earlier == tag) {
            reader.problems.error(*place, format!("the tag `{tag}` comes twice"));
        }
    }
    written.into_iter().map(|(tag, _)| tag.into()).collect()
}

fn active(campaign: &mut Reader<'_>) -> Active {
    let Some(mut reader) = campaign.shaped("active", &ACTIVE) else { return Active::default() };
    let active = Active { from: reader.instant("from"), until: reader.instant("until") };
    let until = reader.entry("until").map(|entry| entry.value.place);
    if let (Some(from), Some(end), Some(place)) = (active.from, active.until, until)
        && from >= end
    {
        reader.problems.error_with_help(
            place,
            "`until` is not after `from`: nothing would ever be sent",
            "exchange the two, or correct the year",
        );
    }
    reader.close();
    active
}

fn control(campaign: &mut Reader<'_>) -> Control {
    if let Some(node @ Node { data: Data::Scalar(percent @ (Value::Int(_) | Value::Float(_))), .. }) = campaign.get("control") {
        let help = format!("write `control: {{percent: {percent}}}`");
        return reader::wrong(node, "`control`", "a map", Some(help), campaign.problems).unwrap_or_default();
    }
    let Some(mut reader) = campaign.shaped("control", &CONTROL) else { return Control::default() };
    let node = reader.require("percent", "the share of users who get nothing, such as {percent: 10}");
    reader.close();
    let percent = node.and_then(|node| reader::number(node, "`percent`", campaign.problems).map(|percent| (percent, node.place)));
    let Some((percent, place)) = percent else { return Control::default() };
    let hundredths = (percent * 100.0).round();
    if !(0.0..=100.0).contains(&percent) || (percent * 100.0 - hundredths).abs() > 1e-6 {
        campaign.problems.error(place, format!("`percent` must be from 0 to 100 with at most two decimals, not {percent}"));
        return Control::default();
    }
    Control { per_ten_thousand: hundredths as u16 }
}

fn limit(campaign: &mut Reader<'_>, trigger: Option<&Trigger>) -> Option<Limit> {
    let node = campaign.get("limit")?;
    let problems = campaign.problems;
    let schedule = match trigger {
        Some(Trigger::Schedule(schedule)) => Some(&schedule.times),
        _ => None,
    };
    let recurring = schedule.is_some_and(repeats);
    let users = |number: i64| u64::try_from(number).ok();
    let Data::Map(_) = node.data else {
        let number = reader::integer(node, "`limit`", 1..=i64::MAX, problems)?;
        return Some(Limit { users: users(number)?, per_run: recurring });
    };
    let mut reader = Reader::of(node, &LIMIT, problems)?;
    reader.require("users", "how many distinct users at most: {users: 1000}");
    let number = reader.integer("users", 1..=i64::MAX);
    let per = reader.entry("per").map(|entry| entry.place);
    let per_run = reader.choice("per", &[("run", true)]);
    reader.close();
    if let Some(place) = per.filter(|_| per_run.is_some() && schedule.is_none() && trigger.is_some()) {
        problems.error_with_help(place, "only a schedule has runs", "remove `per`: the limit then holds for the whole campaign");
    }
    Some(Limit { users: users(number?)?, per_run: per_run.unwrap_or(recurring) })
}

fn goal(campaign: &mut Reader<'_>) -> Option<Goal> {
    let mut reader = campaign.shaped("goal", &GOAL)?;
    let pattern = trigger::pattern_fields(&mut reader);
    reader.require("within", "how long after the send it counts, such as 7d");
    let within = reader.duration("within", OWN_TIME..=MAX_SPAN);
    reader.close();
    Some(Goal { pattern: pattern?, within: within? })
}
