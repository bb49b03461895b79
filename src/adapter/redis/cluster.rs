//! The masters of a Redis Cluster: commands go to whoever has their slot, one pipeline a node, all nodes at once.
//!
//! A node that has not, or not yet, what it is asked for does nothing and says so: `MOVED` and `ASK` are followed at once, only for
//! the commands concerned. After a lost connection, and while the Cluster says that it is down, the nodes are asked anew who has what.
//!
//! A slot on its way from one node to another is served as far as all keys of a command are on one side; a command that also
//! concerns one that is not there yet, a new user's say, is put off (`TRYAGAIN`) until the slot has arrived.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use redis::{ConnectionInfo, Pipeline, Value};

use crate::worker::ports::StateError;

use super::address::Node;
use super::link::{Fault, Link};
use super::nodes::{self, Batch};
use super::slots::{Redirect, Slot, SlotMap};

/// How often commands are sent on at most before they are put off. One is usual; a second comes of a move on top of another.
const REDIRECTS: usize = 5;

/// How many nodes are asked at most in one go who has what. The next go asks others.
const ASKED: usize = 3;

pub struct Cluster {
    /// From the settings: how to log in everywhere, and whom to ask when nobody else is known.
    seeds: Vec<ConnectionInfo>,
    slots: SlotMap,
    /// What is known of the slots may be wrong.
    stale: bool,
    links: BTreeMap<Node, Link>,
    /// Who did something in the last run.
    wrote: BTreeSet<Node>,
}

/// A unit of a batch on its way.
struct Errand {
    unit: usize,
    /// Whom to ask this once, though it has not the slot.
    ask: Option<Node>,
}

/// What has come of a batch so far.
struct Progress {
    /// By position of the command.
    replies: Vec<Value>,
    /// What must still go somewhere.
    errands: Vec<Errand>,
    faults: Vec<Fault>,
}

impl Cluster {
    /// Connects on first use. `seeds` is not empty.
    pub fn new(seeds: &[ConnectionInfo]) -> Result<Cluster, StateError> {
        let mut cluster =
            Cluster { seeds: seeds.to_vec(), slots: SlotMap::default(), stale: true, links: BTreeMap::new(), wrote: BTreeSet::new() };
        for seed in seeds {
            cluster.links.insert(Node::of(seed), Link::new(seed.clone(), true)?);
        }
        Ok(cluster)
    }

    /// As [`Nodes::run`](super::nodes::Nodes::run).
    pub async fn run(&mut self, batch: &Batch) -> Result<Vec<Value>, Fault> {
        self.wrote.clear();
        let errands = (0..batch.units().len()).map(|unit| Errand { unit, ask: None }).collect();
        let mut progress = Progress { replies: vec![Value::Nil; batch.commands().len()], errands, faults: Vec::new() };
        for _ in 0..=REDIRECTS {
            if progress.errands.is_empty() {
                return Ok(progress.replies);
            }
            if self.stale {
                self.learn().await?;
            }
            self.round(batch, &mut progress).await;
            self.worst(progress.faults.drain(..))?;
        }
        self.worst([Fault::Passing("the nodes of the Cluster send from one to the other: they do not agree who has a slot".into())])?;
        Ok(progress.replies)
    }

    pub async fn replicated(&mut self, wanted: u16) -> Result<(), Fault> {
        let wrote = &self.wrote;
        let links = self.links.iter_mut().filter(|(node, _)| wrote.contains(*node));
        let outcomes = join_all(links.map(|(_, link)| nodes::replicated(link, wanted))).await;
        self.worst(outcomes.into_iter().filter_map(Result::err))
    }

    /// Fails unless every slot has a master that can be used.
    pub async fn check(&mut self) -> Result<(), Fault> {
        self.learn().await?;
        let masters: Vec<Node> = self.slots.masters().into_iter().cloned().collect();
        masters.iter().try_for_each(|node| self.link_to(node).map(drop))?;
        let links = self.links.iter_mut().filter(|(node, _)| masters.contains(node));
        let ping = nodes::ping();
        let outcomes = join_all(links.map(|(_, link)| link.run(&ping))).await;
        self.worst(outcomes.into_iter().filter_map(Result::err))
    }

    /// Sends each errand where it belongs.
    async fn round(&mut self, batch: &Batch, progress: &mut Progress) {
        let sorted = self.sorted(batch, std::mem::take(&mut progress.errands));
        let by_node = match sorted.and_then(|by_node| by_node.keys().try_for_each(|node| self.link_to(node).map(drop)).map(|()| by_node)) {
            Ok(by_node) => by_node,
            Err(fault) => return progress.faults.push(fault),
        };
        let calls = self.links.iter_mut().filter_map(|(node, link)| {
            let (node, errands) = by_node.get_key_value(node)?;
            Some(async move { (node, errands, link.replies(&pipeline(batch, errands)).await) })
        });
        for (node, errands, answers) in join_all(calls).await {
            match answers {
                Ok(answers) => self.settle(batch, node, errands, answers, progress),
                Err(fault) => progress.faults.push(fault),
            }
        }
    }

    /// The errands of each node.
    fn sorted(&self, batch: &Batch, errands: Vec<Errand>) -> Result<BTreeMap<Node, Vec<Errand>>, Fault> {
        let mut by_node: BTreeMap<Node, Vec<Errand>> = BTreeMap::new();
        for errand in errands {
            let (slot, _) = &batch.units()[errand.unit];
            let node = errand.ask.as_ref().or_else(|| self.slots.master(*slot)).ok_or_else(|| unserved(*slot))?.clone();
            by_node.entry(node).or_default().push(errand);
        }
        Ok(by_node)
    }

    /// Reads what a node answered to its errands.
    fn settle(&mut self, batch: &Batch, node: &Node, errands: &[Errand], answers: Vec<Value>, progress: &mut Progress) {
        let mut answers = answers.into_iter();
        for errand in errands {
            let (slot, commands) = &batch.units()[errand.unit];
            let mut redirect = None;
            for at in commands.clone() {
                if errand.ask.is_some() {
                    answers.next();
                }
                let answer = answers.next().unwrap_or(Value::Nil);
                redirect = redirect.or_else(|| Redirect::read(&answer, node));
                progress.replies[at] = answer;
            }
            match redirect {
                Some(Redirect::Moved(to)) => {
                    self.slots.put(*slot, to);
                    progress.errands.push(Errand { unit: errand.unit, ask: None });
                }
                Some(Redirect::Ask(to)) => progress.errands.push(Errand { unit: errand.unit, ask: Some(to) }),
                None => {
                    self.wrote.insert(node.clone());
                    progress.faults.extend(self.accept(node, &mut progress.replies[commands.clone()]).err());
                }
            }
        }
    }

    /// Keeps the replies that say something, fails for those that do not.
    fn accept(&mut self, node: &Node, replies: &mut [Value]) -> Result<(), Fault> {
        let link = self.link_to(node)?;
        for reply in replies {
            *reply = link.done(std::mem::take(reply))?;
        }
        link.rest.succeeded();
        Ok(())
    }

    /// The fault that decides what comes next, if there is any. Whichever it is, what is known of the slots is doubtful then.
    fn worst(&mut self, faults: impl IntoIterator<Item = Fault>) -> Result<(), Fault> {
        let rank = |fault: &Fault| match fault {
            Fault::Passing(_) => 0,
            Fault::Demoted(_) => 1,
            Fault::Lost(_) => 2,
            Fault::Refused(_) => 3,
        };
        match faults.into_iter().max_by_key(rank) {
            Some(fault) => {
                self.stale = true;
                Err(fault)
            }
            None => Ok(()),
        }
    }

    /// Asks who has what, first those who answered last.
    async fn learn(&mut self) -> Result<(), Fault> {
        let mut known: Vec<(u32, bool, Node)> =
            self.links.iter().map(|(node, link)| (link.rest.failures, !link.is_connected(), node.clone())).collect();
        known.sort_unstable();
        let mut command = Pipeline::with_capacity(1);
        command.cmd("CLUSTER").arg("SLOTS");
        let mut fault = Fault::Passing("no node of the Cluster is known".into());
        for (.., node) in known.into_iter().take(ASKED) {
            match self.link_to(&node)?.run(&command).await {
                Ok(mut answer) => match SlotMap::read(answer.pop().unwrap_or(Value::Nil), &node) {
                    Some(slots) => return self.know(slots),
                    None => fault = Fault::Passing(format!("{}:{} knows of no slots: the Cluster is not made yet", node.host, node.port)),
                },
                Err(Fault::Refused(why)) => return Err(Fault::Refused(why)),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }

    /// Keeps the connections that are still of use.
    fn know(&mut self, slots: SlotMap) -> Result<(), Fault> {
        let nodes: BTreeSet<Node> = slots.nodes().into_iter().cloned().chain(self.seeds.iter().map(Node::of)).collect();
        self.links.retain(|node, _| nodes.contains(node));
        nodes.iter().try_for_each(|node| self.link_to(node).map(drop))?;
        (self.slots, self.stale) = (slots, false);
        Ok(())
    }

    fn link_to(&mut self, node: &Node) -> Result<&mut Link, Fault> {
        if !self.links.contains_key(node) {
            let info = self.seeds.first().ok_or_else(|| Fault::Refused("`state.url` names no node".into()))?;
            let link = Link::new(node.as_of(info), true).map_err(|error| Fault::Refused(error.to_string()))?;
            self.links.insert(node.clone(), link);
        }
        self.links.get_mut(node).ok_or_else(|| Fault::Passing("no such node".into()))
    }
}

/// The commands of the errands of one node.
fn pipeline(batch: &Batch, errands: &[Errand]) -> Pipeline {
    let commands: Vec<&redis::Cmd> = batch.commands().cmd_iter().collect();
    let mut pipeline = Pipeline::with_capacity(2 * errands.len());
    for errand in errands {
        for at in batch.units()[errand.unit].1.clone() {
            if errand.ask.is_some() {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(commands[at].clone());
        }
    }
    pipeline
}

fn unserved(slot: Slot) -> Fault {
    Fault::Passing(format!("no node of the Cluster has slot {}: see CLUSTER SLOTS", slot.0))
}
