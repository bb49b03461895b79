//! Fatigue: how often one person may get a campaign.

use std::time::Duration;

use super::problem::{Place, Problems};
use super::reader::{self, MAX_SPAN, Reader};
use super::shape::{Shape, Type, key, required};
use super::text::{Data, Node};
use super::workspace::MAX_CAP_WINDOW;
use super::{Fatigue, Resend, duration_text, part};
use crate::engine::value::Value;

/// How many properties `per` may name; each makes the ledger's entry longer.
const MAX_PER: usize = 8;

pub(super) static FATIGUE: Shape = Shape::new(
    "fatigue",
    "`fatigue`",
    "How often one person may get it.",
    &[
        key(
            "resend",
            Type::AnyOf(&[Type::Choice(&["never", "always"]), Type::Map(&RESEND)]),
            "Whether a user who got it may get it again: `never` (default), `always`, or {after: 7d}. Must be written for cron, monthly and user dates.",
        ),
        key(
            "per",
            Type::List(&Type::Name, 0, MAX_PER),
            "Once per user and the values of these event properties, not per user. Of each user 512 values are known; where none of them may be sent again yet, a further one is held back as `state_full`.",
        ),
        key("frequency_cap", Type::Boolean, "false: neither stopped by the workspace's frequency caps nor counted in them. Default true."),
        key(
            "on_cap",
            Type::AnyOf(&[Type::Choice(&["drop"]), Type::Map(&DEFER)]),
            "At a frequency cap: `drop` (default), or {defer: 2h}, which waits if the cap frees within that time.",
        ),
        key("quiet_hours", Type::Boolean, "false: sent within quiet hours too, such as one-time passwords. Default true."),
        key("refund_on_failure", Type::Boolean, "true: a final failure gives back what caps counted, not the once-only. Default false."),
    ],
);

static RESEND: Shape = Shape::new(
    "resend",
    "`resend`",
    "Again, after a while.",
    &[required("after", Type::Duration, "How long after the last send the same user may get it again.")],
);

static DEFER: Shape = Shape::new(
    "defer",
    "`on_cap`",
    "Waits for the cap.",
    &[required("defer", Type::Duration, "How long after the decision the send may wait for the cap to free.")],
);

/// Fatigue, and what only shows with the rest of the campaign.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub fatigue: Fatigue,
    pub says_resend: bool,
    pub per: Option<Place>,
}

pub(super) fn fatigue(campaign: &mut Reader<'_>) -> Written {
    let Some(mut reader) = campaign.shaped("fatigue", &FATIGUE) else { return Written::default() };
    let problems = reader.problems;
    let resend_node = reader.get("resend");
    let resend = resend_node.and_then(|node| resend(node, problems)).unwrap_or(Resend::Never);
    let per = reader.entry("per").map(|entry| entry.place);
    let paths = reader.list("per").and_then(|items| part::paths(items, "per", MAX_PER, problems)).unwrap_or_default();
    let frequency_cap = reader.boolean("frequency_cap").unwrap_or(true);
    let defer_on_cap = reader.get("on_cap").and_then(|node| on_cap(node, problems));
    if let Some(entry) = reader.entry("on_cap").filter(|_| !frequency_cap) {
        problems.warn(entry.place, "`on_cap` has no effect here", "`frequency_cap: false`: no cap stops it");
    }
    let quiet_hours = reader.boolean("quiet_hours").unwrap_or(true);
    let refund_on_failure = reader.boolean("refund_on_failure").unwrap_or(false);
    reader.close();
    let fatigue = Fatigue { resend, per: paths, frequency_cap, defer_on_cap, quiet_hours, refund_on_failure };
    Written { per: per.filter(|_| !fatigue.per.is_empty()), fatigue, says_resend: resend_node.is_some() }
}

fn resend(node: &Node, problems: &Problems) -> Option<Resend> {
    if let Data::Map(_) = node.data {
        let mut reader = Reader::of(node, &RESEND, problems)?;
        reader.require("after", "how long after the last send, such as {after: 7d}");
        let after = reader.duration("after", Duration::from_millis(1)..=MAX_SPAN);
        reader.close();
        return after.map(Resend::After);
    }
    if let Some(text) = duration(node) {
        problems.error_with_help(node.place, format!("`resend` cannot be `{text}`"), format!("write {{after: {text}}}"));
        return None;
    }
    reader::choice(node, "`resend`", &[("never", Resend::Never), ("always", Resend::Always)], problems)
}

/// How long to wait for a cap; `None` = not at all.
fn on_cap(node: &Node, problems: &Problems) -> Option<Duration> {
    if let Data::Map(_) = node.data {
        let mut reader = Reader::of(node, &DEFER, problems)?;
        reader.require("defer", "how long it may wait, such as {defer: 2h}");
        // Longer than the longest window of a cap is never needed.
        let defer = reader.duration("defer", Duration::from_secs(1)..=MAX_CAP_WINDOW);
        reader.close();
        return defer;
    }
    if matches!(&node.data, Data::Scalar(Value::Text(text)) if &**text == "defer") {
        problems.error_with_help(node.place, "`on_cap` cannot be `defer`", "say how long: {defer: 2h}");
        return None;
    }
    if let Some(text) = duration(node) {
        problems.error_with_help(node.place, format!("`on_cap` cannot be `{text}`"), format!("write {{defer: {text}}}"));
        return None;
    }
    reader::choice(node, "`on_cap`", &[("drop", ())], problems);
    None
}

fn duration(node: &Node) -> Option<&str> {
    match &node.data {
        Data::Scalar(Value::Text(text)) => Some(&**text).filter(|text| duration_text::parse(text).is_some()),
        _ => None,
    }
}
