//! What starts a send.

use std::time::Duration;

use super::{Condition, Path};
use crate::engine::calendar::{self, TimeOfDay};

/// What starts a send.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// T1: the event itself.
    Action(Pattern),
    /// T2: several events.
    Actions(Actions),
    /// T3: `after` happened and `without` did not within [t, t + within).
    Inaction(Inaction),
    /// T4: `after` happens and `without` never did, or not in the last span; judged at `after`.
    Absence(Absence),
    /// T5, event: a time that is a property of an event, or the event's own.
    EventDate(EventDate),
    /// T5, user: a time that is a trait.
    UserDate(UserDate),
    /// T7: at times that are the same for all, or each user's own.
    Schedule(Schedule),
    /// T8: an internal server asks.
    Api,
    /// T9: became, or is no longer, a member.
    Cohort { cohort: Box<str>, crossing: Crossing },
}

impl Trigger {
    /// The kind of trigger, as it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Trigger::Action(_) => "action",
            Trigger::Actions(_) => "actions",
            Trigger::Inaction(_) | Trigger::Absence(_) => "inaction",
            Trigger::EventDate(_) | Trigger::UserDate(_) => "date",
            Trigger::Schedule(_) => "schedule",
            Trigger::Api => "api",
            Trigger::Cohort { .. } => "cohort",
        }
    }
}

/// All of these happened, the last less than `within` after the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Actions {
    /// 2 to 8.
    pub events: Vec<Pattern>,
    pub order: Order,
    pub within: Option<Duration>,
    /// Properties that must be equal among all.
    pub same: Vec<Path>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Any,
    /// As they are written; others may lie between.
    Given,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Absence {
    pub after: Pattern,
    pub without: Pattern,
    /// `None` = ever.
    pub in_last: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventDate {
    pub pattern: Pattern,
    /// `None` = the event's own time.
    pub property: Option<Path>,
    pub when: DateOffset,
    /// One clock per user and these properties' values; empty = one per user.
    pub same: Vec<Path>,
    pub again: Again,
}

#[derive(Clone, Debug, PartialEq)]
pub struct UserDate {
    /// The trait.
    pub property: Path,
    pub yearly: bool,
    pub when: DateOffset,
}

/// From a date to an instant: with `at`, the calendar day of date + offset at that time of day; without, elapsed time.
#[derive(Clone, Debug, PartialEq)]
pub struct DateOffset {
    /// May be negative, in milliseconds.
    pub offset_ms: i64,
    pub at: Option<TimeOfDay>,
    pub zone: ZoneChoice,
}

/// Whose local time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneChoice {
    /// Each user's own (trait `timezone`, else the workspace's, else UTC).
    User,
    Workspace,
    /// An IANA name.
    Named(Box<str>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub times: calendar::Schedule,
    pub zone: ZoneChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    Entered,
    Left,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Inaction {
    pub after: Pattern,
    pub without: Pattern,
    pub within: Duration,
    /// Pairs of properties, of `after` and of `without`, that must be equal; empty = one clock per user.
    pub same: Vec<SamePair>,
    pub again: Again,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamePair {
    pub after: Path,
    pub without: Path,
}

/// What a second `after` does while one pends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Ignore,
    Restart,
}

/// Events of one name whose properties meet a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    pub event: Box<str>,
    pub condition: Condition,
}
