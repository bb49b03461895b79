//! Which node of a Cluster has which slot: by what a node says of all (`CLUSTER SLOTS`), and by what nodes say of one when they
//! are asked for a slot that they have not (`MOVED`, `ASK`). Nothing here talks to Redis.

use std::collections::{BTreeMap, BTreeSet};

use redis::{RedisError, ServerErrorKind, Value};

use super::address::Node;
use super::reply;

/// How many there are: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
pub const SLOTS: u16 = 16384;

/// What a Cluster puts on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot of a key: that of its hash tag, the part in braces, of which every key of ours has one.
    pub fn of(key: &str) -> Slot {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
        Slot(crc16::State::<crc16::XMODEM>::calculate(hashed.as_bytes()) % SLOTS)
    }
}

/// The slots and their nodes as last heard.
#[derive(Debug, Default)]
pub struct SlotMap {
    /// First and last slot of each range and its master, in order.
    ranges: Vec<(u16, u16, Node)>,
    /// Single slots that have moved since.
    moved: BTreeMap<Slot, Node>,
    replicas: BTreeSet<Node>,
}

impl SlotMap {
    /// Reads the answer to `CLUSTER SLOTS`; `asked` is who gave it. `None` when it names no slot: a node that is in no Cluster.
    ///
    /// A node without a name has that of who was asked; one named `?` is not known even there.
    pub fn read(answer: Value, asked: &Node) -> Option<SlotMap> {
        let mut map = SlotMap::default();
        for range in reply::list(answer).ok()? {
            let mut entries = reply::list(range).ok()?.into_iter();
            let (first, last) = (reply::number(entries.next()?).ok()?, reply::number(entries.next()?).ok()?);
            let mut nodes = entries.filter_map(|entry| node(entry, asked));
            if let Some(Some(master)) = nodes.next() {
                map.ranges.push((first, last, master));
            }
            map.replicas.extend(nodes.flatten());
        }
        map.ranges.sort_unstable();
        (!map.ranges.is_empty()).then_some(map)
    }

    pub fn master(&self, slot: Slot) -> Option<&Node> {
        let in_range = || {
            let after = self.ranges.partition_point(|(first, ..)| *first <= slot.0);
            let (_, last, node) = &self.ranges[after.checked_sub(1)?];
            (slot.0 <= *last).then_some(node)
        };
        self.moved.get(&slot).or_else(in_range)
    }

    /// Notes where a slot is now.
    pub fn put(&mut self, slot: Slot, node: Node) {
        self.moved.insert(slot, node);
    }

    pub fn masters(&self) -> BTreeSet<&Node> {
        self.ranges.iter().map(|(.., node)| node).chain(self.moved.values()).collect()
    }

    /// Masters and replicas.
    pub fn nodes(&self) -> BTreeSet<&Node> {
        self.masters().into_iter().chain(&self.replicas).collect()
    }
}

/// Where a command has to go instead.
#[derive(Debug, PartialEq)]
pub enum Redirect {
    /// From now on.
    Moved(Node),
    /// This once: the slot is on its way there.
    Ask(Node),
}

impl Redirect {
    /// Of a reply that says that the command was not done here; `asked` is who gave it.
    pub fn read(reply: &Value, asked: &Node) -> Option<Redirect> {
        let Value::ServerError(error) = reply else { return None };
        let to: fn(Node) -> Redirect = match error.kind()? {
            ServerErrorKind::Moved => Redirect::Moved,
            ServerErrorKind::Ask => Redirect::Ask,
            _ => return None,
        };
        let error = RedisError::from(error.clone());
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        let host = if host.is_empty() { &asked.host } else { host };
        Some(to(Node { host: host.to_owned(), port: port.parse().ok()? }))
    }
}

/// A node of a range: `[name or nil, port, ...]`. The outer `None` is no node at all, the inner one a node without an address.
fn node(entry: Value, asked: &Node) -> Option<Option<Node>> {
    let mut fields = reply::list(entry).ok()?.into_iter();
    let host = reply::bytes(fields.next()?).ok()?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let port = reply::number(fields.next()?).ok()?;
    Some(match host.as_str() {
        "?" => None,
        "" => Some(Node { host: asked.host.clone(), port }),
        _ => Some(Node { host, port }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    fn entry(host: Option<&str>, port: i64) -> Value {
        let host = host.map_or(Value::Nil, |host| Value::BulkString(host.as_bytes().to_vec()));
        Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec()), Value::Array(Vec::new())])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([Value::Int(first), Value::Int(last)].into_iter().chain(nodes).collect())
    }

    #[test]
    fn a_key_hashes_as_in_redis() {
        // As `CLUSTER KEYSLOT` answers.
        for (key, expect) in [("foo", 12182), ("{campanile:0}:u:x", 15115), ("{campanile:0}:wake", 15115), ("a{}b", 13694)] {
            assert_eq!(Slot::of(key), Slot(expect), "{key}");
        }
    }

    #[test]
    fn slots_are_found_by_range_and_by_what_was_said_since() {
        let answer = Value::Array(vec![
            range(8192, 16383, vec![entry(None, 2), entry(Some("r"), 3)]),
            range(0, 5, vec![entry(Some("a"), 1)]),
            range(6, 7, vec![entry(Some("?"), 1)]),
            range(8, 9, vec![entry(Some(""), 4)]),
        ]);
        let mut map = SlotMap::read(answer, &at("asked", 9)).unwrap();
        let check = |map: &SlotMap, slot, expect| assert_eq!(map.master(Slot(slot)).cloned(), expect, "{slot}");
        check(&map, 0, Some(at("a", 1)));
        check(&map, 5, Some(at("a", 1)));
        check(&map, 6, None);
        check(&map, 9, Some(at("asked", 4)));
        check(&map, 10, None);
        check(&map, 16383, Some(at("asked", 2)));
        map.put(Slot(5), at("b", 5));
        check(&map, 5, Some(at("b", 5)));
        assert_eq!(map.masters().len(), 4);
        assert_eq!(map.nodes().len(), 5);
    }

    #[test]
    fn redirections_are_told_from_other_errors() {
        let check = |reply: &str, expect: Option<Redirect>| {
            let value = redis::parse_redis_value(reply.as_bytes()).unwrap();
            assert_eq!(Redirect::read(&value, &at("asked", 9)), expect, "{reply}");
        };
        check("-MOVED 5 a:1\r\n", Some(Redirect::Moved(at("a", 1))));
        check("-MOVED 5 :1\r\n", Some(Redirect::Moved(at("asked", 1))));
        check("-ASK 5 ::1:7000\r\n", Some(Redirect::Ask(at("::1", 7000))));
        check("-MOVED 5\r\n", None);
        check("-TRYAGAIN later\r\n", None);
        check("+OK\r\n", None);
    }

    #[test]
    fn what_is_no_map_is_none() {
        for answer in [Value::Nil, Value::Array(Vec::new()), Value::Array(vec![Value::Int(1)])] {
            assert!(SlotMap::read(answer.clone(), &at("a", 1)).is_none(), "{answer:?}");
        }
    }
}
