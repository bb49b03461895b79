//! A Redis Cluster of a test's own: masters and a replica for each, on free ports of the loopback, gone when dropped. It is made,
//! failed over and resharded by the commands that `redis-cli --cluster` sends, too.

use std::time::Duration;

use super::redis::{Redis, free_port};
use super::wait::{eventually, until};

/// Joining, electing and replicating, on a busy machine.
const AGREE_WITHIN: Duration = Duration::from_secs(60);

/// How long a node may be silent before the others elect its successor. As short as a busy machine allows.
const NODE_TIMEOUT_MS: &str = "3000";

const SLOTS: u16 = 16384;

pub struct RedisCluster {
    nodes: Vec<Redis>,
}

/// A line of `CLUSTER NODES`.
#[derive(Clone, Debug)]
struct Known {
    id: String,
    port: u16,
    flags: String,
    master: String,
    linked: bool,
    ranges: Vec<(u16, u16)>,
}

impl RedisCluster {
    /// Three masters and a replica for each.
    pub fn start() -> RedisCluster {
        RedisCluster::with(3, &[])
    }

    /// So many masters, a replica for each, and more options for all.
    pub fn with(masters: usize, more_options: &[&str]) -> RedisCluster {
        let start = |_| {
            let bus = free_port().to_string();
            let mut options = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-port", &bus];
            options.extend(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]);
            options.extend(more_options);
            (Redis::with(&options), bus)
        };
        let started: Vec<(Redis, String)> = (0..2 * masters).map(start).collect();
        let (first, _) = &started[0];
        for (node, bus) in &started[1..] {
            let _: () = first.command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]);
        }
        let cluster = RedisCluster { nodes: started.into_iter().map(|(node, _)| node).collect() };
        until("all nodes know each other", AGREE_WITHIN, || cluster.nodes.iter().all(|node| known(node).len() == 2 * masters));
        for (at, node) in cluster.nodes[..masters].iter().enumerate() {
            let share = |at: usize| at * usize::from(SLOTS) / masters;
            let _: () = node.command(&["CLUSTER", "ADDSLOTSRANGE", &share(at).to_string(), &(share(at + 1) - 1).to_string()]);
        }
        for (master, replica) in cluster.nodes[..masters].iter().zip(&cluster.nodes[masters..]) {
            let _: () = replica.command(&["CLUSTER", "REPLICATE", &cluster.id(master)]);
        }
        cluster.healthy();
        cluster
    }

    /// As `state.url` names it.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    pub fn node(&self, node: usize) -> &Redis {
        &self.nodes[node]
    }

    /// Waits until every node says that all is well and every replica follows its master.
    pub fn healthy(&self) {
        until("the Cluster is whole", AGREE_WITHIN, || {
            self.nodes.iter().all(|node| {
                let all = known(node);
                let whole = node.command::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
                let served: usize = all.iter().flat_map(|one| &one.ranges).map(|(first, last)| usize::from(last - first) + 1).sum();
                let about: String = node.command(&["INFO", "replication"]);
                let follows = about.contains("role:master") || about.contains("master_link_status:up");
                whole && follows && served == usize::from(SLOTS) && all.iter().all(|one| one.linked && !one.flags.contains("fail"))
            })
        });
    }

    /// The node that has a slot now, by what the others know.
    pub fn master_of(&self, slot: u16) -> usize {
        let has = |one: &Known| one.ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot));
        let all = known(self.nodes.iter().find(|node| node.runs()).expect("a node that runs"));
        let master = all.iter().find(|one| has(one)).unwrap_or_else(|| panic!("nobody has slot {slot}: {all:?}"));
        self.at(master.port)
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        self.nodes[0].command(&["CLUSTER", "KEYSLOT", key])
    }

    /// The replica of whoever has a slot.
    pub fn replica_of(&self, slot: u16) -> usize {
        let master = &self.nodes[self.master_of(slot)];
        let (id, all) = (self.id(master), known(master));
        let replica = all.iter().find(|one| one.master == id).unwrap_or_else(|| panic!("no replica of {id}: {all:?}"));
        self.at(replica.port)
    }

    /// kill -9.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// kill -9 of a master; waits until its replica has taken over, and answers who was killed.
    pub fn fail(&mut self, slot: u16) -> usize {
        let (victim, successor) = (self.master_of(slot), self.replica_of(slot));
        self.kill(victim);
        self.succeeds(slot, successor);
        victim
    }

    /// Waits until all who run say that this node has the slot.
    fn succeeds(&self, slot: u16, successor: usize) {
        let has = |one: &Known| one.ranges.iter().any(|(first, last)| (*first..=*last).contains(&slot)) && !one.flags.contains("fail");
        until("a replica takes over", AGREE_WITHIN, || {
            let mut running = self.nodes.iter().filter(|node| node.runs());
            running.all(|node| known(node).iter().any(|one| has(one) && self.at(one.port) == successor))
        });
    }

    /// Starts a killed replica whose master is gone, and waits until it has taken over.
    pub fn start_as_successor(&mut self, slot: u16, node: usize) {
        self.nodes[node].start_again();
        self.succeeds(slot, node);
    }

    /// Starts a killed node again, empty or as it was; it joins as a replica of whoever took over.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].start_again();
        self.healthy();
    }

    /// Has a replica of the slot's master take over in order (`CLUSTER FAILOVER`), and waits for it.
    pub fn promote(&self, slot: u16) {
        let replica = &self.nodes[self.replica_of(slot)];
        let _: () = replica.command(&["CLUSTER", "FAILOVER"]);
        until("a replica takes over in order", AGREE_WITHIN, || {
            replica.command::<String>(&["INFO", "replication"]).contains("role:master")
        });
        self.healthy();
    }

    /// Moves a slot with all its keys to another master, as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, slot: u16, to: usize) {
        self.begin_to_move(slot, to).end();
    }

    pub fn begin_to_move(&self, slot: u16, to: usize) -> Moving<'_> {
        let moving = Moving { cluster: self, slot: slot.to_string(), from: &self.nodes[self.master_of(slot)], to: &self.nodes[to] };
        let (from_id, to_id) = (self.id(moving.from), self.id(moving.to));
        let _: () = moving.to.command(&["CLUSTER", "SETSLOT", &moving.slot, "IMPORTING", &from_id]);
        let _: () = moving.from.command(&["CLUSTER", "SETSLOT", &moving.slot, "MIGRATING", &to_id]);
        moving
    }

    fn at(&self, port: u16) -> usize {
        self.nodes.iter().position(|node| node.port() == port).unwrap_or_else(|| panic!("no node of ours at {port}"))
    }

    fn id(&self, node: &Redis) -> String {
        eventually("a node knows itself", AGREE_WITHIN, || known(node).into_iter().find(|one| one.flags.contains("myself"))).id
    }
}

/// A slot on its way.
pub struct Moving<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    from: &'a Redis,
    to: &'a Redis,
}

impl Moving<'_> {
    /// Takes these keys there.
    pub fn carry(&self, keys: &[&str]) {
        let port = self.to.port().to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys);
        let _: () = self.from.command(&words);
    }

    /// Takes the rest there.
    pub fn end(self) {
        loop {
            let keys: Vec<String> = self.from.command(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "100"]);
            if keys.is_empty() {
                break;
            }
            self.carry(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let id = self.cluster.id(self.to);
        // Who gets it is told first: if all broke off here, nobody would claim what it has not.
        let masters = self.cluster.nodes.iter().filter(|node| node.port() != self.to.port());
        let masters = masters.filter(|node| node.command::<String>(&["INFO", "replication"]).contains("role:master"));
        for node in std::iter::once(self.to).chain(masters) {
            let _: () = node.command(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &id]);
        }
    }
}

/// What a node knows of all: `id ip:port@bus flags master ping pong epoch link range...`.
fn known(node: &Redis) -> Vec<Known> {
    let text: String = node.command(&["CLUSTER", "NODES"]);
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, address, flags, master, _, _, _, link, ranges @ ..] = &words[..] else { panic!("`{line}`") };
        let port = address.split([':', '@']).nth(1).and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("`{line}`"));
        let range = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Known {
            id: (*id).to_owned(),
            port,
            flags: (*flags).to_owned(),
            master: (*master).to_owned(),
            linked: *link == "connected",
            // `[slot->-id]` is one on its way.
            ranges: ranges.iter().filter(|word| !word.starts_with('[')).filter_map(|word| range(word)).collect(),
        }
    };
    text.lines().map(line).collect()
}
