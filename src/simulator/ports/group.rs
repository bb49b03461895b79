//! Who reads which partition: the coordinator of a consumer group, cooperative as Kafka's. A partition changes hands only after its owner
//! has heard of it in a poll, has left, or was expelled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::worker::ports::Partition;

/// One group of one log: its members by the order in which they joined, who owns what, and what was committed.
#[derive(Debug, Default)]
pub struct Group {
    members: BTreeMap<u64, BTreeSet<Arc<str>>>,
    owners: BTreeMap<Partition, u64>,
    pub committed: BTreeMap<Partition, (i64, String)>,
}

impl Group {
    pub fn join(&mut self, member: u64, topics: BTreeSet<Arc<str>>) {
        self.members.insert(member, topics);
    }

    /// Takes a member out, whether it left or is taken for dead.
    pub fn remove(&mut self, member: u64) {
        self.members.remove(&member);
        self.owners.retain(|_, owner| *owner != member);
    }

    pub fn holds(&self, member: u64) -> bool {
        self.members.contains_key(&member)
    }

    pub fn owns(&self, member: u64, partition: &Partition) -> bool {
        self.owners.get(partition) == Some(&member)
    }

    /// Brings a member up to date: what it gave away and what it got, of these partitions of the log.
    pub fn settle(&mut self, member: u64, partitions: &[Partition]) -> (Vec<Partition>, Vec<Partition>) {
        let (mut revoked, mut assigned) = (Vec::new(), Vec::new());
        for partition in partitions {
            let (owner, wanted) = (self.owners.get(partition).copied(), self.wanted(partition));
            if owner == Some(member) && wanted != Some(member) {
                self.owners.remove(partition);
                revoked.push(partition.clone());
            } else if owner.is_none() && wanted == Some(member) {
                self.owners.insert(partition.clone(), member);
                assigned.push(partition.clone());
            }
        }
        (revoked, assigned)
    }

    /// The member that should have a partition: in turn among those that read its topic.
    fn wanted(&self, partition: &Partition) -> Option<u64> {
        let readers: Vec<u64> =
            self.members.iter().filter(|(_, topics)| topics.contains(&partition.topic)).map(|(member, _)| *member).collect();
        let turn = usize::try_from(partition.number).ok()?.checked_rem(readers.len())?;
        readers.get(turn).copied()
    }
}
