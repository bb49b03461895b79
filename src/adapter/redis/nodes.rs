//! Where commands go: to one Redis, to whichever a sentinel says, or to the nodes of a Cluster that have their slots. A session has
//! its own connections to all of them, so that it can wait for the replicas of what it wrote.

use std::ops::Range;

use redis::{Cmd, Pipeline, Value};

use crate::worker::ports::StateError;

use super::address::Servers;
use super::cluster::Cluster;
use super::link::{Fault, Link};
use super::sentinel::Sentinel;
use super::slots::Slot;

/// How long replicas have to acknowledge before a write counts as not done. Well below the time a reply may take.
const WAIT_MS: u32 = 1000;

/// Commands, each with the slot that it concerns.
pub struct Batch {
    commands: Pipeline,
    units: Vec<(Slot, Range<usize>)>,
}

impl Batch {
    pub fn with_capacity(count: usize) -> Batch {
        Batch { commands: Pipeline::with_capacity(count), units: Vec::with_capacity(count) }
    }

    pub fn of(slot: Slot, command: Cmd) -> Batch {
        let mut batch = Batch::with_capacity(1);
        batch.add(slot, command);
        batch
    }

    pub fn add(&mut self, slot: Slot, command: Cmd) {
        let at = self.commands.len();
        self.commands.add_command(command);
        self.units.push((slot, at..at + 1));
    }

    /// One more command that the same node answers as the one before, at the same moment.
    pub fn also(&mut self, command: Cmd) {
        self.commands.add_command(command);
        if let Some((_, unit)) = self.units.last_mut() {
            unit.end += 1;
        }
    }

    pub fn commands(&self) -> &Pipeline {
        &self.commands
    }

    /// Slots, and the positions of the commands that stay together.
    pub fn units(&self) -> &[(Slot, Range<usize>)] {
        &self.units
    }
}

/// The connections of one session.
pub enum Nodes {
    One(Box<Link>),
    Cluster(Cluster),
    Sentinel(Box<Sentinel>),
}

impl Nodes {
    /// Connects on first use.
    pub fn new(servers: &Servers) -> Result<Nodes, StateError> {
        Ok(match servers {
            Servers::One(one) => Nodes::One(Box::new(Link::new(one.clone(), false)?)),
            Servers::Cluster(seeds) => Nodes::Cluster(Cluster::new(seeds)?),
            Servers::Sentinel { sentinels, name, primary } => {
                Nodes::Sentinel(Box::new(Sentinel::new(sentinels.clone(), name.clone(), primary.clone())))
            }
        })
    }

    /// Sends the commands, one pipeline a node, and gives their replies in order; an error of any is the error of all, whatever
    /// became of the others.
    pub async fn run(&mut self, batch: &Batch) -> Result<Vec<Value>, Fault> {
        match self {
            Nodes::One(link) => link.run(batch.commands()).await,
            Nodes::Cluster(cluster) => cluster.run(batch).await,
            Nodes::Sentinel(sentinel) => sentinel.run(batch.commands()).await,
        }
    }

    /// As [`run`](Nodes::run), for one command.
    pub async fn run_one(&mut self, slot: Slot, command: Cmd) -> Result<Value, Fault> {
        Ok(self.run(&Batch::of(slot, command)).await?.pop().unwrap_or(Value::Nil))
    }

    /// Waits until so many replicas of each node have what the last [`run`](Nodes::run) wrote there. A write whose connection broke
    /// before this must be written again: on another connection there would be nothing to wait for.
    pub async fn replicated(&mut self, wanted: u16) -> Result<(), Fault> {
        match (wanted, self) {
            (0, _) => Ok(()),
            (_, Nodes::One(link)) => replicated(link, wanted).await,
            (_, Nodes::Cluster(cluster)) => cluster.replicated(wanted).await,
            (_, Nodes::Sentinel(sentinel)) => sentinel.replicated(wanted).await,
        }
    }

    /// Connects to everyone who would be written to, and fails unless all of them can be used.
    pub async fn check(&mut self) -> Result<(), Fault> {
        match self {
            Nodes::One(link) => link.run_one(redis::cmd("PING")).await.map(drop),
            Nodes::Cluster(cluster) => cluster.check().await,
            Nodes::Sentinel(sentinel) => sentinel.run(&ping()).await.map(drop),
        }
    }
}

pub fn ping() -> Pipeline {
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("PING");
    commands
}

/// Waits for the replicas of one node.
pub async fn replicated(link: &mut Link, wanted: u16) -> Result<(), Fault> {
    if !link.is_connected() {
        return Err(Fault::Lost(format!("{}: the connection broke before the replicas had acknowledged", link.address())));
    }
    let mut wait = Pipeline::with_capacity(1);
    wait.cmd("WAIT").arg(wanted).arg(WAIT_MS);
    let reply = link.replies(&wait).await?.pop().unwrap_or(Value::Nil);
    match reply {
        Value::Int(acknowledged) if acknowledged >= i64::from(wanted) => Ok(()),
        Value::Int(acknowledged) => Err(link.failed(Fault::Passing(format!(
            "{acknowledged} of {wanted} replicas acknowledged within {WAIT_MS} ms: see INFO replication, or lower `state.replicas`"
        )))),
        // The one error that is WAIT's own: it is a replica by now, and what it was told is lost.
        Value::ServerError(error) if error.kind() == Some(redis::ServerErrorKind::ResponseError) => {
            Err(link.failed(Fault::Lost(error.to_string())))
        }
        other => {
            link.done(other)?;
            Err(Fault::Refused(format!("{} answers WAIT with something else than a number", link.address())))
        }
    }
}
