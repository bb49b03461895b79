//! A campaign as it is in force: who it is, what holds it back, how often one person may get it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cohort, Destination, Path, Pattern, Rule, Trigger, Webhook, Workspace};
use crate::engine::id::CampaignId;
use crate::engine::time::Timestamp;

/// One checked document.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    Campaign(Box<Campaign>),
    Cohort(Box<Cohort>),
    Destination(Box<Destination>),
    Workspace(Box<Workspace>),
}

/// A campaign as it is in force. Times and spans are checked; templates are text that `rendering` compiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Campaign {
    pub id: CampaignId,
    /// `[a-z0-9][a-z0-9-]{0,62}`
    pub key: Box<str>,
    pub title: Option<Box<str>>,
    pub description: Option<Box<str>>,
    /// From 1; an edit bumps it. `check` gives 1, the catalog the true one.
    pub version: u32,
    /// As written; `None` when the document does not say (unchanged, or `ready` for a new one).
    pub status: Option<Status>,
    /// When it was created, edited or first started; the catalog knows.
    pub since: Option<Timestamp>,
    pub tags: Vec<Box<str>>,
    pub channel: Option<Box<str>>,
    /// Higher first, then key.
    pub priority: i64,
    pub active: Active,
    pub trigger: Trigger,
    /// `Rule::All(vec![])` is everyone.
    pub audience: Rule,
    pub control: Control,
    pub limit: Option<Limit>,
    pub fatigue: Fatigue,
    pub goal: Option<Goal>,
    pub webhook: Webhook,
}

impl Campaign {
    /// One that says nothing but what it must.
    pub fn new(key: &str, trigger: Trigger, webhook: Webhook) -> Campaign {
        Campaign {
            id: CampaignId::of(key),
            key: key.into(),
            title: None,
            description: None,
            version: 1,
            status: None,
            since: None,
            tags: Vec::new(),
            channel: None,
            priority: 0,
            active: Active::default(),
            trigger,
            audience: Rule::All(Vec::new()),
            control: Control::default(),
            limit: None,
            fatigue: Fatigue::default(),
            goal: None,
            webhook,
        }
    }
}

/// C11: a send that falls due before `from`, or at or after `until`, is not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// C7: the share of users held out, in hundredths of a percent (0 to 10,000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub per_ten_thousand: u16,
}

/// C8: at most so many distinct users, in all or in each scheduled run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub users: u64,
    pub per_run: bool,
}

/// C6: an event that counts as conversion when it comes within this span after the send.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    pub pattern: Pattern,
    pub within: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ready,
    Running,
    Paused,
    Ended,
}

impl Status {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ready => "ready",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Ended => "ended",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fatigue {
    pub resend: Resend,
    /// Once per user and these event properties; empty = once per user.
    pub per: Vec<Path>,
    /// false = neither stopped by caps nor counted in them.
    pub frequency_cap: bool,
    /// Waits if the cap frees within this span of the decision; `None` = drop.
    pub defer_on_cap: Option<Duration>,
    /// false = the workspace's quiet hours do not stop it.
    pub quiet_hours: bool,
    /// A final failure gives back what caps counted, not the once-only.
    pub refund_on_failure: bool,
}

impl Default for Fatigue {
    fn default() -> Fatigue {
        Fatigue {
            resend: Resend::Never,
            per: Vec::new(),
            frequency_cap: true,
            defer_on_cap: None,
            quiet_hours: true,
            refund_on_failure: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    Never,
    Always,
    After(Duration),
}
