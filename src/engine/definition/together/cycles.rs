//! Cycles in who points to whom, whatever the points are.

use std::collections::{BTreeMap, BTreeSet};

/// Every cycle that has no node in common with one before it, as the nodes in order, from the least of each. `edges` are
/// (from, to); a node may point to itself.
pub(super) fn cycles(edges: &BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
    let mut forward: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, to) in edges {
        forward.entry(*from).or_default().insert(*to);
    }
    let mut found = Vec::new();
    loop {
        trim(&mut forward);
        // What is left leads on for ever, so walking meets itself.
        let Some(start) = forward.keys().next().copied() else { return found };
        let cycle = walk(&forward, start);
        cycle.iter().for_each(|node| drop(forward.remove(node)));
        found.push(cycle);
    }
}

/// Removes what leads nowhere, again and again.
fn trim(forward: &mut BTreeMap<usize, BTreeSet<usize>>) {
    let mut backward: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (from, targets) in forward.iter_mut() {
        targets.iter().for_each(|to| backward.entry(*to).or_default().push(*from));
    }
    let all: BTreeSet<usize> = forward.keys().chain(backward.keys()).copied().collect();
    let mut ends: Vec<usize> = all.into_iter().filter(|node| forward.get(node).is_none_or(BTreeSet::is_empty)).collect();
    while let Some(end) = ends.pop() {
        forward.remove(&end);
        for from in backward.remove(&end).unwrap_or_default() {
            if let Some(targets) = forward.get_mut(&from)
                && targets.remove(&end)
                && targets.is_empty()
            {
                ends.push(from);
            }
        }
    }
}

fn walk(forward: &BTreeMap<usize, BTreeSet<usize>>, start: usize) -> Vec<usize> {
    let mut path = Vec::new();
    let mut position = BTreeMap::new();
    let mut node = start;
    while !position.contains_key(&node) {
        position.insert(node, path.len());
        path.push(node);
        match forward.get(&node).and_then(|targets| targets.iter().next()) {
            Some(next) => node = *next,
            None => return path,
        }
    }
    let mut cycle = path.split_off(position.get(&node).copied().unwrap_or(0));
    let least = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
    cycle.rotate_left(least);
    cycle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_found_once_each() {
        let check = |edges: &[(usize, usize)], expect: &[&[usize]]| {
            assert_eq!(cycles(&edges.iter().copied().collect()), expect, "{edges:?}");
        };
        check(&[], &[]);
        check(&[(0, 1), (1, 2), (0, 2)], &[]);
        check(&[(0, 0)], &[&[0]]);
        check(&[(2, 1), (1, 2), (0, 1)], &[&[1, 2]]);
        check(&[(0, 1), (1, 0), (1, 2), (2, 3), (3, 2)], &[&[0, 1], &[2, 3]]);
        check(&[(0, 1), (1, 2), (2, 0), (2, 1)], &[&[0, 1, 2]]);
        let long: Vec<(usize, usize)> = (0..50_000).map(|at| (at, at + 1)).collect();
        check(&long, &[]);
    }
}
