//! The labelled instruments of one thread, by their labels: the library's own look-up hashes every label under a lock that all
//! threads share. That hash runs over the labels without a separator (prometheus 0.14, `hash_label_values`), so `("a1", "2")` and
//! `("a", "12")` are one child to it: a family has at most one label of free text, the others come from closed lists.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use prometheus::core::{MetricVec, MetricVecBuilder};

/// More label sets than this in one thread mean that something unbounded became a label; the table starts anew.
const MAX_CHILDREN: usize = 8192;

/// A family of instruments that differ in their labels.
pub trait Family: Clone {
    type Child;

    /// `labels` are as many as the family has.
    fn child(&self, labels: &[&str]) -> Self::Child;
}

impl<B: MetricVecBuilder> Family for MetricVec<B> {
    type Child = B::M;

    fn child(&self, labels: &[&str]) -> B::M {
        self.with_label_values(labels)
    }
}

/// The children of a family with `N` labels that this thread has used.
pub struct Children<F: Family, const N: usize> {
    family: F,
    known: HashTable<Known<F::Child, N>>,
    hasher: DefaultHashBuilder,
}

struct Known<C, const N: usize> {
    labels: [Box<str>; N],
    child: C,
}

impl<F: Family, const N: usize> Children<F, N> {
    /// `family` must have `N` labels: the rooms of `metrics` see to it.
    pub fn new(family: &F) -> Children<F, N> {
        Children { family: family.clone(), known: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }

    /// The instrument with these labels. Allocates only the first time.
    pub fn with(&mut self, labels: [&str; N]) -> &F::Child {
        if self.known.len() >= MAX_CHILDREN {
            self.known.clear();
        }
        let hash = self.hasher.hash_one(labels);
        let equal = |known: &Known<F::Child, N>| known.labels.iter().zip(labels).all(|(theirs, ours)| **theirs == *ours);
        let rehash = |known: &Known<F::Child, N>| self.hasher.hash_one(known.labels.each_ref().map(|label| &**label));
        let make = || Known { labels: labels.map(Box::from), child: self.family.child(&labels) };
        &self.known.entry(hash, equal, rehash).or_insert_with(make).into_mut().child
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, Opts};

    use super::*;

    #[test]
    fn a_child_is_the_familys_own() {
        let family = IntCounterVec::new(Opts::new("tried_total", "tried"), &["a", "b"]).unwrap();
        let mut here: Children<IntCounterVec, 2> = Children::new(&family);
        let mut there: Children<IntCounterVec, 2> = Children::new(&family);
        here.with(["kakao", "failed"]).inc();
        here.with(["kakao", "delivered"]).inc_by(5);
        there.with(["kakao", "failed"]).inc();
        assert_eq!(family.with_label_values(&["kakao", "failed"]).get(), 2);
        assert_eq!(family.with_label_values(&["kakao", "delivered"]).get(), 5);
    }

    #[test]
    fn the_table_is_bounded_and_counts_go_on() {
        let family = IntCounterVec::new(Opts::new("tried_total", "tried"), &["a"]).unwrap();
        let mut here: Children<IntCounterVec, 1> = Children::new(&family);
        for round in 0..2 {
            for label in 0..=MAX_CHILDREN {
                here.with([&label.to_string()]).inc();
                assert!(here.known.len() <= MAX_CHILDREN, "round {round}");
            }
        }
        assert_eq!(family.with_label_values(&["7"]).get(), 2);
    }
}
