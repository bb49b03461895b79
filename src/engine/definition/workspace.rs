//! The workspace: what holds for all campaigns of a deployment.

use std::time::Duration;

use super::problem::{Problems, nearest};
use super::reader::{self, Reader};
use super::text::Node;
use super::{FrequencyCap, Period, Workspace, trigger};

/// How many frequency caps there may be, and how long their window (contract, section 3): a record keeps every send that the
/// longest window still counts.
pub const MAX_CAPS: usize = 10;
pub const MAX_CAP_WINDOW: Duration = Duration::from_secs(30 * 86_400);

/// Highest limit of a cap: the sends that a cap counts are kept one by one.
pub const MAX_CAP_LIMIT: u32 = 1000;

/// How many events may be named by `track`.
const MAX_TRACKED: usize = 100;

pub(super) fn workspace(node: &Node, problems: &Problems) -> Option<Workspace> {
    let mut reader = Reader::open(node, "a workspace", problems)?;
    reader.get("kind");
    let timezone = reader.get("timezone").and_then(|node| timezone(node, problems));
    let caps = reader.list("frequency_caps").unwrap_or_default();
    if let Some(extra) = caps.get(MAX_CAPS) {
        problems.error(extra.place, format!("there are at most {MAX_CAPS} frequency caps, not {}", caps.len()));
    }
    let frequency_caps: Vec<FrequencyCap> = caps.iter().filter_map(|node| cap(node, problems)).collect();
    let track = reader.list("track").unwrap_or_default();
    if let Some(extra) = track.get(MAX_TRACKED) {
        problems.error(extra.place, format!("`track` has at most {MAX_TRACKED} events"));
    }
    let track = track.iter().filter_map(|node| trigger::event_name(node, "an item of `track`", problems)).collect();
    reader.close(&["quiet_hours"]);
    Some(Workspace { timezone, frequency_caps, quiet_hours: None, track })
}

/// An IANA zone name, in its proper spelling.
fn timezone(node: &Node, problems: &Problems) -> Option<Box<str>> {
    let name = reader::name(node, "`timezone`", problems)?;
    let zone = jiff::tz::TimeZone::get(name).ok();
    if let Some(proper) = zone.as_ref().and_then(|zone| zone.iana_name()) {
        return Some(proper.into());
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let help = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "an IANA name such as Asia/Seoul or UTC".into(),
    };
    problems.error_with_help(node.place, format!("there is no time zone `{name}`"), help);
    None
}

fn cap(node: &Node, problems: &Problems) -> Option<FrequencyCap> {
    let mut reader = Reader::open(node, "a frequency cap", problems)?;
    let limit = reader.require("limit", "how many sends at most").and(reader.integer("limit", 1..=i64::from(MAX_CAP_LIMIT)));
    if reader.entry("calendar").is_none() {
        reader.require("per", "the window, such as 1d");
    }
    let per = reader.duration("per", Duration::from_millis(1)..=MAX_CAP_WINDOW);
    let channel = reader.name("channel").map(Into::into);
    let tag = reader.name("tag").map(Into::into);
    if let Some(entry) = reader.entry("calendar") {
        reader::unsupported(entry.place, "calendar", problems);
    }
    reader.close(&[]);
    Some(FrequencyCap { limit: limit.and_then(|limit| u32::try_from(limit).ok())?, period: Period::Sliding(per?), channel, tag })
}
