//! Cohorts that others name: missing ones, cycles, and how deep they nest.

use std::collections::{BTreeMap, BTreeSet};

use super::super::document::{Document, Kind};
use super::super::part::UNKNOWN;
use super::super::problem::{Problem, meant};
use super::super::{Definition, Faulty, Status};
use super::cycles::cycles;

/// How deep cohorts may name cohorts: who judges a rule goes down as far.
pub const MAX_NESTING: usize = 16;

/// What is wrong with the cohorts among these documents, and with those who name them.
pub(super) fn cohort_problems(documents: &[Document], faulty: &[Faulty]) -> Vec<Problem> {
    let cohorts: Vec<&Document> = documents.iter().filter(|document| document.kind == Kind::Cohort).collect();
    let named = cohorts.iter().enumerate().filter(|(_, document)| &*document.key != UNKNOWN);
    let by_key: BTreeMap<&str, usize> = named.map(|(at, document)| (&*document.key, at)).collect();
    let mut problems = missing(documents, &by_key, faulty);
    let named = |at: usize| cohorts[at].cohorts.iter().filter_map(|(key, _)| by_key.get(&**key).copied());
    let edges: BTreeSet<(usize, usize)> = (0..cohorts.len()).flat_map(|from| named(from).map(move |to| (from, to))).collect();
    let circles = cycles(&edges);
    for cycle in &circles {
        let round: Vec<&str> = cycle.iter().chain(cycle.first()).map(|at| &*cohorts[*at].key).collect();
        let message = match round[..] {
            [one, _] => format!("cohort `{one}` is defined by itself"),
            _ => format!("cohorts are defined by one another: {}", round.join(" -> ")),
        };
        problems
            .push(cohorts[cycle[0]].error("where", message).help("a rule cannot wait for its own answer: remove one of the references"));
    }
    if circles.is_empty() {
        let mut depths = vec![None; cohorts.len()];
        let deep = (0..cohorts.len()).find(|at| depth(*at, &named, &mut depths, 0) > MAX_NESTING);
        problems.extend(deep.map(|at| {
            let message = format!("cohorts name cohorts more than {MAX_NESTING} levels deep");
            cohorts[at].error("where", message).help("write some of the rules out")
        }));
    }
    problems
}

fn missing(documents: &[Document], by_key: &BTreeMap<&str, usize>, faulty: &[Faulty]) -> Vec<Problem> {
    let in_use = documents.iter().filter(|document| match &document.definition {
        Definition::Campaign(campaign) => campaign.status != Some(Status::Ended),
        Definition::Cohort(_) | Definition::Destination(_) | Definition::Workspace(_) => true,
    });
    let references = in_use.flat_map(|document| document.cohorts.iter().map(move |(key, place)| (document, key, *place)));
    let is_known = |key: &str| by_key.contains_key(key) || faulty.iter().any(|faulty| faulty.may_be(Kind::Cohort, key));
    let lost = references.filter(|(_, key, _)| !is_known(key)).map(|(document, key, place)| {
        let help = match by_key.is_empty() {
            true => "write a document with `kind: cohort` and this key".to_owned(),
            false => meant(key, "cohorts", by_key.keys().copied()),
        };
        Problem::error(&document.file, place, format!("there is no cohort `{key}`")).help(help)
    });
    lost.collect()
}

/// Levels below and with this one. Goes no deeper than what is refused anyway.
fn depth<I: Iterator<Item = usize>>(at: usize, named: &impl Fn(usize) -> I, known: &mut Vec<Option<usize>>, above: usize) -> usize {
    if let Some(depth) = known[at] {
        return depth;
    }
    if above > MAX_NESTING {
        return 1;
    }
    let below = named(at).map(|next| depth(next, named, known, above + 1)).max().unwrap_or(0);
    known[at] = Some(below + 1);
    below + 1
}
