//! Drawing some of many at random, in one pass and a bounded memory: of all who are offered those with the smallest keyed hashes are
//! drawn. The order in which they come, and what their names have in common, does not matter; another seed draws others.

use std::collections::BinaryHeap;

use crate::engine::id::{UserId, stable_hash};

use super::ports::Sampled;

pub struct Draw {
    limit: usize,
    seed: u64,
    offered: u64,
    /// Those with the smallest hashes so far, the largest of them on top.
    drawn: BinaryHeap<(u64, UserId)>,
}

impl Draw {
    /// Draws `limit` users, or all if there are fewer.
    pub fn new(limit: usize, seed: u64) -> Draw {
        Draw { limit, seed, offered: 0, drawn: BinaryHeap::new() }
    }

    /// Each user once.
    pub fn offer(&mut self, user: &str) {
        self.offered += 1;
        let hash = shuffled(self.seed, user);
        if self.drawn.len() < self.limit {
            self.drawn.push((hash, user.into()));
        } else if let Some(mut last) = self.drawn.peek_mut()
            && hash < last.0
        {
            *last = (hash, user.into());
        }
    }

    /// Those who were drawn, in random order.
    pub fn end(self) -> Sampled {
        let users = self.drawn.into_sorted_vec().into_iter().map(|(_, user)| user).collect();
        Sampled { users, of: self.offered }
    }
}

/// Where a user stands in an order that a seed chooses.
fn shuffled(seed: u64, user: &str) -> u64 {
    stable_hash(&[&seed.to_le_bytes(), user.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_as_likely_as_any_other() {
        const USERS: usize = 1_000;
        const LIMIT: usize = 100;
        const SEEDS: u64 = 200;
        let names: Vec<String> = (0..USERS).map(|number| format!("{number:05}")).collect();
        let mut times = vec![0_u32; USERS];
        for seed in 0..SEEDS {
            let mut draw = Draw::new(LIMIT, seed);
            names.iter().for_each(|name| draw.offer(name));
            let Sampled { users, of } = draw.end();
            assert_eq!((users.len(), of), (LIMIT, USERS as u64));
            users.iter().for_each(|user| times[user.parse::<usize>().unwrap()] += 1);
        }
        // 20 draws each are expected, with a deviation of 4.2; 25 deviations over all of a half of them.
        assert!(times.iter().all(|times| (1..=45).contains(times)), "{times:?}");
        let first_half: u32 = times[..USERS / 2].iter().sum();
        assert!((9_600..=10_400).contains(&first_half), "{first_half} of 20000 from the first half");
    }

    #[test]
    fn of_few_all_are_drawn() {
        let mut draw = Draw::new(3, 0);
        ["a", "b"].iter().for_each(|name| draw.offer(name));
        let mut users = draw.end().users;
        users.sort_unstable();
        assert_eq!(users, [UserId::from("a"), UserId::from("b")]);
        assert_eq!(Draw::new(0, 0).end(), Sampled { users: Vec::new(), of: 0 });
    }
}
