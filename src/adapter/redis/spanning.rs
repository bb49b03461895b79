//! What is counted over all sessions: bounded sets and budgets, as script calls and what their replies say. And the walk over all
//! users. Pure: it builds and reads, the session sends.

use std::collections::BTreeMap;

use redis::Value;

use crate::engine::id::UserId;
use crate::worker::ports::{Admit, Cursor, PSEUDO, Page, Spend, StateError};

use super::keys::{self, Keys};
use super::link::{ADMIT, SPEND};
use super::nodes::Batch;
use super::reply;
use super::slots::Slot;

/// Calls of `admit.lua`, one a set, and the positions of its questions.
pub fn admissions(keys: &Keys, asked: &[Admit]) -> (Batch, Vec<Vec<usize>>) {
    let mut by_set: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, one) in asked.iter().enumerate() {
        by_set.entry(&one.set).or_default().push(position);
    }
    let mut calls = Batch::with_capacity(by_set.len());
    for (set, positions) in &by_set {
        let keep = positions.iter().map(|&at| asked[at].keep).max().unwrap_or_default();
        let key = keys.own(keys::MEMBERS, set);
        let mut call = ADMIT.call(&[&key]);
        call.arg(keep.as_secs().max(1));
        for &at in positions {
            call.arg(asked[at].limit).arg(asked[at].user.as_bytes());
        }
        calls.add(Slot::of(&key), call);
    }
    (calls, by_set.into_values().collect())
}

/// The answers in the order of the questions.
pub fn admitted(positions: &[Vec<usize>], replies: Vec<Value>) -> Result<Vec<bool>, StateError> {
    let mut answers = vec![false; positions.iter().map(Vec::len).sum()];
    for (positions, reply) in positions.iter().zip(replies) {
        for (&at, answer) in positions.iter().zip(reply::list(reply)?) {
            answers[at] = reply::number::<u8>(answer)? == 1;
        }
    }
    Ok(answers)
}

/// Calls of `spend.lua`, one a wish.
pub fn wishes(keys: &Keys, wanted: &[Spend]) -> Batch {
    let mut calls = Batch::with_capacity(wanted.len());
    for Spend { budget, want, per_second, burst } in wanted {
        let key = keys.own(keys::BUDGET, budget);
        let mut call = SPEND.call(&[&key]);
        // `f64::max` also makes a number of what is none.
        call.arg(*want).arg(per_second.max(0.0).min(f64::from(u32::MAX))).arg((*burst).max(1));
        calls.add(Slot::of(&key), call);
    }
    calls
}

/// Where a walk stands: in which group, in which life of the server, at which cursor of its own.
///
/// The order in which `ZSCAN` walks is that of hashes with a seed of the server's process. A cursor of another life (a restart, a
/// failover) means nothing and would pass over users; the group is then walked from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    pub group: usize,
    life: String,
    at: String,
}

impl Stand {
    fn beginning(group: usize) -> Stand {
        Stand { group, life: String::new(), at: "0".into() }
    }

    pub fn read(cursor: Option<&Cursor>) -> Result<Stand, StateError> {
        let Some(Cursor(bytes)) = cursor else { return Ok(Stand::beginning(0)) };
        let words: Vec<&str> = std::str::from_utf8(bytes).unwrap_or_default().split(' ').collect();
        let [group, life, at] = words[..] else { return Err(foreign()) };
        Ok(Stand { group: group.parse().map_err(|_| foreign())?, life: life.into(), at: at.into() })
    }

    fn cursor(&self) -> Cursor {
        Cursor(format!("{} {} {}", self.group, self.life, self.at).into_bytes())
    }

    /// Asks for the next users and whose life it is. Together: both come from one process.
    pub fn commands(&self, keys: &Keys, limit: usize) -> Batch {
        let mut scan = redis::cmd("ZSCAN");
        scan.arg(keys.group(self.group, keys::WAKE)).arg(&self.at).arg("COUNT").arg(limit.max(1));
        let mut life = redis::cmd("INFO");
        life.arg("server");
        let mut commands = Batch::of(keys.slot(self.group), scan);
        commands.also(life);
        commands
    }

    /// The page, or `None` when the group must be walked again from [`Stand::again`].
    pub fn page(&self, groups: usize, replies: Vec<Value>) -> Result<Option<Page>, StateError> {
        let mut replies = replies.into_iter();
        let (page, about) = (replies.next().unwrap_or(Value::Nil), reply::text(replies.next().unwrap_or(Value::Nil))?);
        let life = about.lines().find_map(|line| line.strip_prefix("run_id:")).map_or("", str::trim_end);
        if self.at != "0" && self.life != life {
            return Ok(None);
        }
        let [at, entries] = reply::array(page)?;
        let at = reply::text(at)?;
        let mut users = Vec::new();
        let mut entries = reply::list(entries)?.into_iter();
        while let (Some(user), Some(_wake)) = (entries.next(), entries.next()) {
            let user = reply::text(user)?;
            if !user.starts_with(PSEUDO) {
                users.push(UserId::from(user));
            }
        }
        let next = match at.as_str() {
            "0" if self.group + 1 >= groups => None,
            "0" => Some(Stand::beginning(self.group + 1)),
            _ => Some(Stand { group: self.group, life: life.into(), at }),
        };
        Ok(Some(Page { users, next: next.map(|stand| stand.cursor()) }))
    }

    pub fn again(&self) -> Stand {
        Stand::beginning(self.group)
    }
}

fn foreign() -> StateError {
    StateError::Refused("a walk over all users stands at a place that this store does not know: it was begun on another store".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(life: &str, at: &str, users: &[&str]) -> Vec<Value> {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entries = users.iter().flat_map(|user| [text(user), text("1")]).collect();
        vec![Value::Array(vec![text(at), Value::Array(entries)]), text(&format!("# Server\r\nrun_id:{life}\r\n"))]
    }

    #[test]
    fn a_walk_goes_on_in_its_life_and_begins_a_group_again_in_another() {
        let first = Stand::read(None).unwrap();
        let page = first.page(2, replies("a", "17", &["u1", "\u{1}run/c"])).unwrap().unwrap();
        assert_eq!(page.users, [UserId::from("u1")]);
        let second = Stand::read(page.next.as_ref()).unwrap();
        assert_eq!(second.page(2, replies("b", "9", &["u9"])).unwrap(), None);
        assert_eq!(second.again(), Stand::beginning(0));
        let page = second.page(2, replies("a", "0", &["u2"])).unwrap().unwrap();
        let third = Stand::read(page.next.as_ref()).unwrap();
        assert_eq!(third, Stand::beginning(1));
        // Another life does not matter where the group is only begun.
        assert_eq!(third.page(2, replies("b", "0", &[])).unwrap(), Some(Page { users: Vec::new(), next: None }));
    }

    #[test]
    fn a_foreign_place_is_refused() {
        for text in ["", "u17", "x a 0", "1 2 3 4"] {
            assert!(Stand::read(Some(&Cursor(text.into()))).is_err(), "{text}");
        }
    }
}
