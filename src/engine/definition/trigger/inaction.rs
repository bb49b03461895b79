//! Something that did not happen: after an event (`within`), or before it (`in_last`, or ever).

use super::super::condition::every;
use super::super::part;
use super::super::problem::Problems;
use super::super::reader::{MAX_SPAN, Reader};
use super::super::shape::{Shape, Type, key, required};
use super::super::text::{Data, Node};
use super::super::{Absence, Again, Inaction, Pattern, SamePair, Trigger};
use super::pattern::{PATTERN, pattern};
use super::{MAX_SAME, OWN_TIME};

pub(super) static INACTION: Shape = Shape::new(
    "inaction",
    "`inaction`",
    "`after` happens, and `without` does not follow, or did not happen before.",
    &[
        required("after", Type::Map(&PATTERN), "The event that starts it."),
        required("without", Type::Map(&PATTERN), "The event that must not happen."),
        key("within", Type::Duration, "How long to wait for `without` after `after`. Excludes `in_last`."),
        key(
            "in_last",
            Type::Duration,
            "Judged at `after`: `without` did not happen in this time before it. Neither this nor `within`: it never happened.",
        ),
        key(
            "same",
            Type::List(&Type::AnyOf(&[Type::Name, Type::Map(&SAME_PAIR)]), 0, MAX_SAME),
            "One clock per user and these properties, which must be equal in both events; {after: a, without: b} where names differ. Needs `within`.",
        ),
        key(
            "again",
            Type::Choice(&["ignore", "restart"]),
            "What a second `after` does while one waits: `ignore` (default) or `restart`. Needs `within`.",
        ),
    ],
);

static SAME_PAIR: Shape = Shape::new(
    "same",
    "an item of `same`",
    "A property whose name differs.",
    &[required("after", Type::Name, "Its name in `after`."), required("without", Type::Name, "Its name in `without`.")],
);

pub(super) fn inaction(node: &Node, problems: &Problems) -> Option<Trigger> {
    let mut reader = Reader::of(node, &INACTION, problems)?;
    let after =
        reader.require("after", "the event that starts the clock: {event: ...}").and_then(|node| pattern(node, "`after`", problems));
    let without =
        reader.require("without", "the event that must not follow: {event: ...}").and_then(|node| pattern(node, "`without`", problems));
    let (waits, looks_back) = (reader.get("within").is_some(), reader.entry("in_last"));
    if let Some(entry) = looks_back.filter(|_| waits) {
        problems.error_with_help(entry.place, "`within` excludes `in_last`", "keep the one that is meant");
    }
    let within = reader.duration("within", OWN_TIME..=MAX_SPAN);
    let in_last = reader.duration("in_last", OWN_TIME..=MAX_SPAN);
    let same = reader.list("same").map_or(Some(Vec::new()), |items| same(items, problems));
    let written_again = reader.entry("again").filter(|entry| !entry.value.is_null());
    let again = reader.choice("again", &[("ignore", Again::Ignore), ("restart", Again::Restart)]).unwrap_or(Again::Ignore);
    let written_same = reader.entry("same").filter(|entry| !entry.value.is_null());
    let before = problems.errors();
    reader.close();
    // An unknown key may be what `within` was meant to be: what follows from its absence would only mislead.
    let within_may_be_misspelt = problems.errors() > before;
    if !waits && within_may_be_misspelt {
        return None;
    }
    if !waits {
        for entry in [written_same, written_again].into_iter().flatten() {
            let help = "how long to wait, such as `within: 30m`; without it nothing waits";
            problems.error_with_help(entry.place, format!("`{}` needs `within`", entry.key), help);
        }
        let absence = Absence { after: after?, without: without?, in_last };
        if looks_back.is_none() {
            warn_about_ever(&absence.without, node, problems);
        }
        return Some(Trigger::Absence(absence));
    }
    let inaction = Inaction { after: after?, without: without?, within: within?, same: same?, again };
    if let Some(entry) = written_again.filter(|_| inaction.after == inaction.without) {
        let help = "`after` and `without` are the same event: each one cancels, then starts the clock anew";
        problems.warn(entry.place, "`again` has no effect here", help);
    }
    Some(Trigger::Inaction(inaction))
}

fn warn_about_ever(without: &Pattern, node: &Node, problems: &Problems) {
    let message = format!("`inaction` without `within` and `in_last` asks whether `{}` ever happened", without.event);
    let help =
        "to wait for it write `within: 30m`; the past is known only since the campaign began to ask, so give `in_last` where it is enough";
    problems.warn(node.place, message, help);
}

fn same(items: &[Node], problems: &Problems) -> Option<Vec<SamePair>> {
    if let Some(extra) = items.get(MAX_SAME) {
        problems.error(extra.place, format!("`same` has at most {MAX_SAME} items"));
        return None;
    }
    let pairs: Vec<SamePair> = every(items.iter().map(|item| same_pair(item, problems)))?;
    for (position, pair) in pairs.iter().enumerate() {
        if pairs[..position].contains(pair) {
            problems.warn(items[position].place, "this item of `same` is there already", "remove it");
        }
    }
    Some(pairs)
}

/// A property of both events, or `{after: path, without: path}` where the names differ.
fn same_pair(node: &Node, problems: &Problems) -> Option<SamePair> {
    if let Data::Map(_) = node.data {
        let mut reader = Reader::of(node, &SAME_PAIR, problems)?;
        let help = "write {after: name, without: name}, or one name for both";
        let (after, without) = (reader.require("after", help), reader.require("without", help));
        reader.close();
        let after = after.and_then(|node| part::path(node, "`after`", problems));
        let without = without.and_then(|node| part::path(node, "`without`", problems));
        return Some(SamePair { after: after?, without: without? });
    }
    let name = part::path(node, "an item of `same`", problems)?;
    Some(SamePair { after: name.clone(), without: name })
}
