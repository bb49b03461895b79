//! Which equalities a condition cannot do without, and which of them tells campaigns apart best.
//!
//! A cover of a condition is a set of equalities of which at least one holds in every event that the condition does not
//! refuse. An entry filed under all equalities of one cover is found by every event that can match it.

use hashbrown::HashMap;

use super::key::{Key, KeyRef};
use crate::engine::definition::{Condition, Operand, Test};

/// A property, by its path, that is or has this value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Equality<'a> {
    pub path: &'a str,
    pub key: Key,
}

pub type Cover<'a> = Vec<Equality<'a>>;

/// Longer ones are not worth their memory: the entry is verified on every event of its name instead.
const MAX_COVER: usize = 1024;

/// All covers that can be read off a condition; none where it can hold without any equality on a literal.
pub fn covers(condition: &Condition) -> Vec<Cover<'_>> {
    match condition {
        Condition::All(parts) => parts.iter().flat_map(covers).collect(),
        // One of the parts must hold: one cover of each, together.
        Condition::Any(parts) => {
            let shortest = |part| covers(part).into_iter().min_by_key(Vec::len);
            let parts: Option<Vec<Cover>> = parts.iter().map(shortest).collect();
            parts.map(|parts| parts.concat()).filter(|cover| cover.len() <= MAX_COVER).into_iter().collect()
        }
        Condition::Not(_) => Vec::new(),
        Condition::Test { path, test } => match test {
            Test::Eq(operand) => cover(path, std::slice::from_ref(operand)).into_iter().collect(),
            Test::In(operands) => cover(path, operands).into_iter().collect(),
            _ => Vec::new(),
        },
    }
}

fn cover<'a>(path: &'a str, operands: &[Operand]) -> Option<Cover<'a>> {
    if operands.len() > MAX_COVER {
        return None;
    }
    let key = |operand: &Operand| match operand {
        Operand::Value(value) => KeyRef::of(value).map(KeyRef::to_key),
        Operand::Event(_) | Operand::User(_) => None,
    };
    operands.iter().map(|operand| key(operand).map(|key| Equality { path, key })).collect()
}

/// How many entries of one event name have each equality, and each path, in any of their covers.
#[derive(Default)]
pub struct Census<'a> {
    equalities: HashMap<Equality<'a>, usize>,
    paths: HashMap<&'a str, usize>,
}

impl<'a> Census<'a> {
    pub fn count(&mut self, covers: &[Cover<'a>]) {
        for equality in covers.iter().flatten() {
            *self.equalities.entry(equality.clone()).or_default() += 1;
            *self.paths.entry(equality.path).or_default() += 1;
        }
    }

    /// The cover shared with the fewest entries: those are verified together whenever one of them is hit. Among equals the one
    /// on the most used path, for every path in use costs each event a look-up.
    pub fn most_selective(&self, covers: Vec<Cover<'a>>) -> Option<Cover<'a>> {
        covers.into_iter().min_by_key(|cover| {
            let sharing: usize = cover.iter().map(|equality| self.equalities.get(equality).copied().unwrap_or(0)).sum();
            let in_use = cover.iter().map(|equality| self.paths.get(equality.path).copied().unwrap_or(0)).min().unwrap_or(usize::MAX);
            (sharing, usize::MAX - in_use)
        })
    }
}
