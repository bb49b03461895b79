//! What is changed midway: campaigns that are started, paused and ended, and documents that are applied, each decided as the control plane
//! decides it. What that would refuse is a problem of the scenario.

use super::Change;
use super::inline::Inline;
use super::reading::{OPTIONS, READ};
use crate::engine::catalog::{self, Act, Catalog, Refusal, apply, check};
use crate::engine::definition::problem::{Place, Problem, Problems, meant};
use crate::engine::definition::reader::Reader;
use crate::engine::definition::text::Node;
use crate::engine::definition::{self, Document, Kind};
use crate::engine::time::Timestamp;

/// One item of `changes`.
pub struct Written<'a> {
    place: Place,
    at: Timestamp,
    what: What<'a>,
}

enum What<'a> {
    Act { campaign: &'a str, act: Act },
    Apply(&'a [Node]),
}

/// `{at, start | pause | end: key}` or `{at, apply: [documents]}`; `None` when something is wrong, which is reported.
pub fn read<'a>(node: &'a Node, problems: &'a Problems) -> Option<Written<'a>> {
    let mut map = Reader::open(node, "a change", problems)?;
    map.require("at", "when it is made, such as 2026-11-02T12:00:00Z");
    let at = map.instant("at");
    let mut whats: Vec<What<'a>> = Vec::new();
    for act in Act::ALL {
        whats.extend(map.name(act.as_str()).map(|campaign| What::Act { campaign, act }));
    }
    whats.extend(map.list("apply").map(What::Apply));
    let before = problems.errors();
    map.close();
    if whats.len() != 1 && problems.errors() == before {
        problems.error_with_help(node.place, "a change is one of `start`, `pause`, `end` and `apply`", "such as {at: ..., pause: welcome}");
    }
    Some(Written { place: node.place, at: at?, what: whats.pop()? })
}

/// The definitions after each change, in order of time. What lies after `to` is told: it does not happen.
pub fn changes(first: &Catalog, from: Timestamp, to: Option<Timestamp>, mut written: Vec<Written<'_>>, problems: &Problems) -> Vec<Change> {
    written.sort_by_key(|change| change.at);
    let mut changes: Vec<Change> = Vec::with_capacity(written.len());
    for (revision, Written { place, at, what }) in (1..).zip(written) {
        if at < from {
            problems.error(place, "a change lies before `from`");
        }
        if let Some(to) = to.filter(|to| at > *to) {
            problems.warn(place, format!("this change lies at {at}, after `to` ({to}): it does not happen"), "move `to`, or the change");
        }
        // As the store will count: the first definitions are its first revision.
        let current = &Catalog { revision, ..changes.last().map_or(first, |change| &change.catalog).clone() };
        let changed = match what {
            What::Act { campaign, act } => acted(current, campaign, act, at).map_err(|found| {
                found.into_iter().for_each(|problem| problems.push(Problem { file: problems.file().into(), place, ..problem }));
            }),
            What::Apply(nodes) => applied(current, nodes, at, problems),
        };
        changes.extend(changed.ok().map(|catalog| Change { at, catalog }));
    }
    changes
}

fn acted(current: &Catalog, key: &str, act: Act, at: Timestamp) -> Result<Catalog, Vec<Problem>> {
    let refused = match catalog::act(current, key, act, &READ, at) {
        Ok((catalog, _)) => return Ok(catalog),
        Err(Refusal::Invalid(problems)) => return Err(problems),
        Err(refused) => refused,
    };
    let problem = Problem::error("", Place::START, refused.told(&format!("campaign `{key}`"), act.done()));
    Err(vec![if refused == Refusal::Unknown {
        let campaigns = current.documents.iter().filter(|document| document.kind == Kind::Campaign);
        problem.help(meant(key, "campaigns", campaigns.map(|document| &*document.key)))
    } else {
        problem
    }])
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
                let changes = scenario.changes.iter().map(|change| format!("{} {:?}", change.at, status(change)));
                changes.chain(scenario.warnings.iter().map(ToString::to_string)).collect::<Vec<_>>().join("\n")
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
            "s:7:3: error: campaign `hello` has ended and cannot be started: that is final",
        );
        check(
            &format!("- {{at: {noon}, start: hello}}"),
            "s:6:3: error: campaign `hello` is running and cannot be started: possible is pause and end",
        );
        check(
            &format!("- {{at: {noon}, pause: hello}}\n- {{at: {noon}, pause: hello}}"),
            "s:7:3: error: campaign `hello` is paused and cannot be paused: possible is start and end",
        );
        check(
            "- {at: 2026-11-03T00:00:01Z, pause: hello}",
            "2026-11-03T00:00:01.000Z Some(\"paused\")\n\
             s:6:3: warning: this change lies at 2026-11-03T00:00:01.000Z, after `to` (2026-11-03T00:00:00.000Z): it does not happen\n  \
             help: move `to`, or the change",
        );
        check(
            &format!(
                "- {{at: {noon}, apply: [{{kind: campaign, key: hello, trigger: {{api: {{}}}}, webhook: {{url: 'https://i.example/'}}}}]}}"
            ),
            "s:6:55: error: campaign `hello` is running and must be paused to be changed\n  help: pause it first, or apply with `--cycle`",
        );
    }
}
