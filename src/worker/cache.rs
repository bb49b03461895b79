//! What a lane remembers of its users between turns: token, record, profile. Saves the load; never the comparison.

use hashbrown::HashMap;

use crate::engine::id::UserId;
use crate::engine::step::Known;
use crate::engine::time::Timestamp;

use super::ports::Token;

/// A user as last written or read by this lane. `token` is `None` where the store had nothing.
#[derive(Default)]
pub struct Remembered {
    pub token: Option<Token>,
    /// The wake that is known to be stored: whoever wrote it last was this lane.
    pub wake: Option<Timestamp>,
    pub known: Known,
}

/// Two generations: whoever was not used while the younger one filled up is forgotten. Constant time, no order kept.
pub struct Cache {
    young: HashMap<UserId, Remembered>,
    old: HashMap<UserId, Remembered>,
    generation_size: usize,
}

impl Cache {
    /// Remembers between `capacity / 2` and `capacity` users.
    pub fn new(capacity: usize) -> Cache {
        Cache { young: HashMap::new(), old: HashMap::new(), generation_size: (capacity / 2).max(1) }
    }

    /// Takes a user out: whoever turns it puts it back.
    pub fn take(&mut self, user: &UserId) -> Option<Remembered> {
        self.young.remove(user).or_else(|| self.old.remove(user))
    }

    pub fn put(&mut self, user: UserId, remembered: Remembered) {
        if self.young.len() >= self.generation_size {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(user, remembered);
    }

    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_not_used_and_keeps_what_was() {
        let mut cache = Cache::new(4);
        let user = |n: u32| UserId::from(n.to_string());
        for n in 0..4 {
            cache.put(user(n), Remembered { token: Some(Token([n as u8; 16])), ..Remembered::default() });
            let kept = cache.take(&user(0)).expect("used in every round");
            cache.put(user(0), kept);
        }
        for n in 4..8 {
            cache.put(user(n), Remembered::default());
        }
        assert!(cache.take(&user(1)).is_none());
        assert!(cache.take(&user(7)).is_some());
        assert!(cache.take(&user(7)).is_none());
    }
}
