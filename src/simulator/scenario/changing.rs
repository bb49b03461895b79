//! What is changed midway: campaigns that are started, paused and ended, and documents that are applied, each decided as the control plane
//! decides it. What that would refuse is a problem of the scenario.

use super::Change;
use super::inline::Inline;
use super::reading::{OPTIONS, READ};
use crate::engine::catalog::{Catalog, apply, check};
use crate::engine::definition::problem::{Place, Problem, Problems, meant};
use crate::engine::definition::reader::Reader;
use crate::engine::definition::text::Node;
use crate::engine::definition::{self, Definition, Document, Kind, Status, read_canonical};
use crate::engine::time::Timestamp;

/// One item of `changes`.
pub struct Written<'a> {
    place: Place,
    at: Timestamp,
    what: What<'a>,
}

enum What<'a> {
    Status { campaign: &'a str, to: Status },
    Apply(&'a [Node]),
}

const STATUSES: [(&str, Status); 3] = [("start", Status::Running), ("pause", Status::Paused), ("end", Status::Ended)];

/// `{at, start | pause | end: key}` or `{at, apply: [documents]}`; `None` when something is wrong, which is reported.
pub fn read<'a>(node: &'a Node, problems: &'a Problems) -> Option<Written<'a>> {
    let mut map = Reader::open(node, "a change", problems)?;
    map.require("at", "when it is made, such as 2026-11-02T12:00:00Z");
    let at = map.instant("at");
    let mut whats: Vec<What<'a>> = Vec::new();
    for (name, to) in STATUSES {
        whats.extend(map.name(name).map(|campaign| What::Status { campaign, to }));
    }
    whats.extend(map.list("apply").map(What::Apply));
    let before = problems.errors();
    map.close();
    if whats.len() != 1 && problems.errors() == before {
        problems.error_with_help(node.place, "a change is one of `start`, `pause`, `end` and `apply`", "such as {at: ..., pause: welcome}");
    }
    Some(Written { place: node.place, at: at?, what: whats.pop()? })
}

/// The definitions after each change, in order of time.
pub fn changes(first: &Catalog, from: Timestamp, mut written: Vec<Written<'_>>, problems: &Problems) -> Vec<Change> {
    written.sort_by_key(|change| change.at);
    let mut changes: Vec<Change> = Vec::with_capacity(written.len());
    for (revision, Written { place, at, what }) in (1..).zip(written) {
        if at < from {
            problems.error(place, "a change lies before `from`");
        }
        // As the store will count: the first definitions are its first revision.
        let current = &Catalog { revision, ..changes.last().map_or(first, |change| &change.catalog).clone() };
        let changed = match what {
            What::Status { campaign, to } => with_status(current, campaign, to, at).map_err(|found| {
                found.into_iter().for_each(|problem| problems.push(Problem { file: problems.file().into(), place, ..problem }));
            }),
            What::Apply(nodes) => applied(current, nodes, at, problems),
        };
        changes.extend(changed.ok().map(|catalog| Change { at, catalog }));
    }
    changes
}

fn with_status(current: &Catalog, key: &str, to: Status, at: Timestamp) -> Result<Catalog, Vec<Problem>> {
    let Some(stored) = current.get(Kind::Campaign, key) else {
        let campaigns = current.documents.iter().filter(|document| document.kind == Kind::Campaign);
        let help = meant(key, "campaigns", campaigns.map(|document| &*document.key));
        return Err(vec![Problem::error("", Place::START, format!("there is no campaign `{key}`")).help(help)]);
    };
    let mut document = read_canonical("", &stored.canonical, &READ)?;
    if let Definition::Campaign(campaign) = &mut document.definition {
        campaign.status = Some(to);
    }
    put(current, vec![document], at)
}

fn applied(current: &Catalog, nodes: &[Node], at: Timestamp, problems: &Problems) -> Result<Catalog, ()> {
    let inline = Inline::of(nodes);
    let report = |found: Vec<Problem>| found.into_iter().for_each(|problem| problems.push(inline.in_place(problems.file(), problem)));
    let reading = definition::read(problems.file(), &inline.text, &READ);
    if !reading.is_sound() {
        report(check(current, reading, &OPTIONS, at));
        return Err(());
    }
    report(reading.problems);
    put(current, reading.documents, at).map_err(report)
}

fn put(current: &Catalog, documents: Vec<Document>, at: Timestamp) -> Result<Catalog, Vec<Problem>> {
    apply(current, documents, &OPTIONS, at).map(|(catalog, _)| catalog)
}

#[cfg(test)]
mod tests {
    use crate::simulator::scenario::Scenario;

    fn check(changes: &str, expect: &str) {
        let campaign = "{kind: campaign, key: hello, status: running, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}";
        let text =
            format!("name: n\nfrom: 2026-11-02T00:00:00Z\nto: 2026-11-03T00:00:00Z\ndefinitions: [{campaign}]\nchanges:\n{changes}\n");
        let read = Scenario::read("s", &text, &|_| Err("stands alone".into()));
        let shown = match &read {
            Ok(scenario) => {
                let status = |change: &super::Change| change.catalog.documents[0].status.map(|status| status.as_str());
                scenario.changes.iter().map(|change| format!("{} {:?}", change.at, status(change))).collect::<Vec<_>>().join("\n")
            }
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        assert_eq!(shown, expect, "{changes}");
    }

    #[test]
    fn changes_are_decided_as_the_control_plane_decides_them() {
        let noon = "2026-11-02T12:00:00Z";
        check(
            &format!("- {{at: 2026-11-02T13:00:00Z, start: hello}}\n- {{at: {noon}, pause: hello}}"),
            "2026-11-02T12:00:00.000Z Some(\"paused\")\n2026-11-02T13:00:00.000Z Some(\"running\")",
        );
        let one_of = "error: a change is one of `start`, `pause`, `end` and `apply`\n  help: such as {at: ..., pause: welcome}";
        check(&format!("- {{at: {noon}}}"), &format!("s:6:3: {one_of}"));
        check(&format!("- {{at: {noon}, start: hello, end: hello}}"), &format!("s:6:3: {one_of}"));
        check("- {pause: hello}", "s:6:3: error: a change needs `at`\n  help: when it is made, such as 2026-11-02T12:00:00Z");
        check(
            &format!("- {{at: {noon}, stop: hello}}"),
            "s:6:30: error: unknown key `stop` in a change\n  help: known keys: at, start, pause, end, apply",
        );
        check(&format!("- {{at: {noon}, pause: helo}}"), "s:6:3: error: there is no campaign `helo`\n  help: did you mean `hello`?");
        check("- {at: 2026-11-01T00:00:00Z, pause: hello}", "s:6:3: error: a change lies before `from`");
        check(
            &format!("- {{at: {noon}, end: hello}}\n- {{at: {noon}, start: hello}}"),
            "s:7:3: error: campaign `hello` has ended and cannot start again\n  help: ended is final; use a new key",
        );
        check(
            &format!(
                "- {{at: {noon}, apply: [{{kind: campaign, key: hello, trigger: {{api: {{}}}}, webhook: {{url: 'https://i.example/'}}}}]}}"
            ),
            "s:6:55: error: campaign `hello` is running and must be paused to be changed\n  help: pause it first, or apply with `--cycle`",
        );
    }
}
