//! What holds for all campaigns of a deployment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_text;
use crate::engine::calendar::{self, TimeOfDay};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workspace {
    /// An IANA zone name; `None` = UTC.
    pub timezone: Option<Box<str>>,
    /// At most 10, all must allow.
    pub frequency_caps: Vec<FrequencyCap>,
    pub quiet_hours: Option<QuietHours>,
    /// Events remembered ahead of need.
    pub track: Vec<Box<str>>,
}

/// F7: from inside, to outside, in the user's zone; may pass midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    pub from: TimeOfDay,
    pub to: TimeOfDay,
    pub on_hit: OnQuiet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnQuiet {
    Drop,
    Defer,
}

/// At most `limit` sends within a period, of all sends or only those of a channel or a tag. Serialises as it was defined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrequencyCap {
    pub limit: u32,
    #[serde(flatten)]
    pub period: Period,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// Sliding, half open: a send exactly so long ago no longer counts.
    #[serde(rename = "per", with = "duration_text")]
    Sliding(Duration),
    /// The user's calendar.
    Calendar(calendar::Period),
}
