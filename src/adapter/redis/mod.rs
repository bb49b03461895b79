//! State in Redis: records by user, changed by compare-and-set, with a ledger by which every session notices that the store lost
//! writes. One script call commits some fifty users.
//!
//! A session has connections of its own, one to each master, and one thing under way at a time. It reconnects on the next call
//! after a failure, and follows a primary that moves. It never interprets a record, never says that something is stored before as
//! many replicas as configured have it, and never uses an operation's number for two contents.
//!
//! On a Cluster the groups of users lie on several masters. A commit is one script call a group, one pipeline a master: what is
//! atomic is a group. The time of a call is that of a master that it concerns, so the masters' clocks should agree to a second.
//!
//! Measured (`benches/redis.rs`, Redis 7.0, batches of 50, records of 400 bytes), Redis CPU in us per user: commit 3.5-4.5 with the
//! wake as stored, 5.2-6.5 with a new one, 8-10 when record, profile and wake are new; load 2-2.7. The append-only file adds 1-2.
//!
//! `keys` names everything that is stored; the `.lua` files are what happens inside Redis; `nodes` decides where commands go.

mod address;
mod check;
mod cluster;
mod commit;
mod keys;
mod link;
mod nodes;
mod reply;
mod sentinel;
mod session;
mod slots;
mod spanning;

use std::fmt;
use std::sync::Arc;

use crate::worker::ports::{Future, State, StateError, Store};

use address::Servers;
use keys::{FORMAT, Keys, MAX_GROUPS};
use link::{Fault, OPEN};
use nodes::Nodes;
use session::Session;

/// Most bytes of a prefix: it is part of every key.
const MAX_PREFIX_BYTES: usize = 64;

/// The section `state` of the settings.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user:password@]host[:port][/db]`, `redis-cluster://[user:password@]host[:port],...` naming any nodes, or
    /// `redis-sentinel://[user:password@]host[:port],.../name[?sentinel_username=&sentinel_password=&db=]`. With `rediss` instead of
    /// `redis` TLS, by the machine's root certificates, or those of the file that the variable `SSL_CERT_FILE` names.
    pub url: String,
    /// Part of every key: two installations can share a Redis.
    pub prefix: String,
    /// Hash slots used, at least 1; fixed when the store is founded.
    pub groups: u16,
    /// Acknowledgements of replicas waited for before a write counts as done.
    pub replicas: u16,
}

/// One store. Shared by all threads; each opens its own sessions.
pub struct RedisStore {
    shared: Arc<Shared>,
}

/// What all sessions of one store have in common.
pub(crate) struct Shared {
    servers: Servers,
    keys: Keys,
    /// The id that the store had when it was opened.
    id: String,
    replicas: u16,
}

/// Connects, checks that this Redis can be trusted with the state, and founds the store if there is none.
///
/// Errors: `Refused` when a setting, this Redis or what is stored in it cannot be used, with the way out; `Unavailable` when it
/// does not answer.
pub async fn open(settings: RedisSettings) -> Result<RedisStore, StateError> {
    let servers = address::servers(&settings.url)?;
    check_names(&settings)?;
    let keys = Keys::new(&settings.prefix, settings.groups);
    let mut nodes = Nodes::new(&servers)?;
    nodes.check().await.map_err(|fault| match (&servers, fault) {
        // Nobody looks for the primary elsewhere.
        (Servers::One(_), Fault::Demoted(why)) => StateError::Refused(why),
        (_, fault) => fault.into(),
    })?;

    let mut call = OPEN.call(&[keys.store(keys::STORE)]);
    call.arg(new_id()?).arg(FORMAT).arg(settings.groups);
    let [id, format, groups] = reply::array(nodes.run_one(keys.store_slot(), call).await?)?;
    let legible = |value| reply::text(value).unwrap_or_default();
    check::founded(&legible(format), &legible(groups), settings.groups, &settings.prefix)?;
    let shared = Shared { servers, keys, id: reply::text(id)?, replicas: settings.replicas };
    Ok(RedisStore { shared: Arc::new(shared) })
}

impl Store for RedisStore {
    fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>> {
        Box::pin(async {
            let nodes = Nodes::new(&self.shared.servers)?;
            Ok(Box::new(Session::join(self.shared.clone(), nodes).await?) as Box<dyn State>)
        })
    }
}

/// Without the password that the URL may hold.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedisSettings { url: _, prefix, groups, replicas } = self;
        f.debug_struct("RedisSettings").field("prefix", prefix).field("groups", groups).field("replicas", replicas).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("id", &self.shared.id).field("servers", &self.shared.servers.shown()).finish()
    }
}

fn check_names(settings: &RedisSettings) -> Result<(), StateError> {
    let RedisSettings { prefix, groups, .. } = settings;
    let fits = !prefix.is_empty() && prefix.len() <= MAX_PREFIX_BYTES;
    if !fits || prefix.chars().any(|char| matches!(char, '{' | '}') || char.is_whitespace() || char.is_control()) {
        return Err(StateError::Refused(format!(
            "`state.prefix` is `{prefix}`: it must have 1 to {MAX_PREFIX_BYTES} bytes and no braces or white space"
        )));
    }
    if *groups == 0 || *groups > MAX_GROUPS {
        return Err(StateError::Refused(format!("`state.groups` is {groups}: it must be 1 to {MAX_GROUPS}")));
    }
    Ok(())
}

/// 128 random bits in hexadecimal digits.
fn new_id() -> Result<String, StateError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| StateError::Refused(format!("the system has no randomness for the store's id: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_keys_are_refused() {
        let check = |prefix: &str, groups: u16, expect: bool| {
            let settings = RedisSettings { url: "redis://:hunter2@h".into(), prefix: prefix.into(), groups, replicas: 0 };
            assert_eq!(check_names(&settings).is_ok(), expect, "{settings:?}");
            assert!(!format!("{settings:?}").contains("hunter2"));
        };
        check("campanile", 1, true);
        check("team:a", MAX_GROUPS, true);
        check("", 1, false);
        check("a{b", 1, false);
        check("a b", 1, false);
        check(&"x".repeat(65), 1, false);
        check("campanile", 0, false);
        check("campanile", MAX_GROUPS + 1, false);
    }
}
