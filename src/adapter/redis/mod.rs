//! State in Redis: records by user, changed by compare-and-set, with a ledger by which every session notices that the store lost
//! writes. One script call commits some fifty users.
//!
//! A session has a connection of its own and one thing under way at a time. It reconnects on the next call after a failure. It
//! never interprets a record, never says that something is stored before as many replicas as configured have it, and never uses
//! an operation's number for two contents.
//!
//! Measured (`benches/redis.rs`, Redis 7.0, batches of 50, records of 400 bytes), Redis CPU in us per user: commit 3.5-4.5 with the
//! wake as stored, 5.2-6.5 with a new one, 8-10 when record, profile and wake are new; load 2-2.7. The append-only file adds 1-2.
//!
//! `keys` names everything that is stored; the `.lua` files are what happens inside Redis.

mod check;
mod commit;
mod keys;
mod link;
mod reply;
mod session;
mod spanning;

use std::fmt;
use std::sync::Arc;

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::worker::ports::{Future, State, StateError, Store};

use keys::{FORMAT, Keys, MAX_GROUPS};
use link::{Link, OPEN};
use session::Session;

/// Most bytes of a prefix: it is part of every key.
const MAX_PREFIX_BYTES: usize = 64;

/// The section `state` of the settings.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user:password@]host[:port][/db]`, or `rediss://` for TLS with the machine's root certificates.
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
    info: ConnectionInfo,
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
    let info = address(&settings.url)?;
    check_names(&settings)?;
    let keys = Keys::new(&settings.prefix, settings.groups);
    let mut link = connect(&info)?;

    let about = link.run_one(redis::cmd("INFO")).await?;
    check::server(&reply::text(about)?)?;

    let mut call = OPEN.call(&[keys.store(keys::STORE)]);
    call.arg(new_id()?).arg(FORMAT).arg(settings.groups);
    let [id, format, groups] = reply::array(link.run_one(call).await?)?;
    let legible = |value| reply::text(value).unwrap_or_default();
    check::founded(&legible(format), &legible(groups), settings.groups, &settings.prefix)?;
    let shared = Shared { info, keys, id: reply::text(id)?, replicas: settings.replicas };
    Ok(RedisStore { shared: Arc::new(shared) })
}

impl Store for RedisStore {
    fn session(&self) -> Future<'_, Result<Box<dyn State>, StateError>> {
        Box::pin(async {
            let link = connect(&self.shared.info)?;
            Ok(Box::new(Session::join(self.shared.clone(), link).await?) as Box<dyn State>)
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
        f.debug_struct("RedisStore").field("id", &self.shared.id).field("address", &self.shared.info.addr().to_string()).finish()
    }
}

/// Reads `state.url`. Its errors name the scheme only: the rest may hold a password.
fn address(url: &str) -> Result<ConnectionInfo, StateError> {
    let refused = |why: String| Err(StateError::Refused(why));
    let Some((scheme, _)) = url.split_once("://") else {
        return refused("`state.url` is no URL: write redis://host:6379".into());
    };
    match scheme {
        "redis" | "rediss" => {}
        "redis-cluster" | "rediss-cluster" | "redis-sentinel" | "rediss-sentinel" => {
            return refused(format!(
                "`state.url` begins with {scheme}://, which is not supported yet in this version: use redis:// or rediss:// and one Redis"
            ));
        }
        _ => return refused(format!("`state.url` begins with {scheme}://, which is not known: use redis:// or rediss://")),
    }
    if scheme == "rediss" {
        // Where several parts of a process use rustls, the first to say which cryptography decides; all of ours say ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    url.into_connection_info()
        .or_else(|error| refused(format!("`state.url` cannot be read: {error}; write {scheme}://user:password@host:6379/0")))
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

fn connect(info: &ConnectionInfo) -> Result<Link, StateError> {
    Link::new(info.clone()).map_err(|error| StateError::Refused(format!("`state.url` cannot be used: {error}")))
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
    fn an_address_that_cannot_be_used_says_why_and_keeps_the_password() {
        let check = |url: &str, expect: &str| {
            let error = address(url).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        check("localhost:6379", "no URL");
        check("redis-cluster://:hunter2@a:1,b:2", "not supported yet");
        check("redis-sentinel://a:1/name", "not supported yet");
        check("http://:hunter2@a", "not known");
        check("redis://:hunter2@", "cannot be read");
        check("redis://:hunter2@host:port", "cannot be read");
        check("redis://:hunter2@host/first", "database");
        assert!(address("redis://user:hunter2@host:6380/1").is_ok());
        assert!(address("rediss://host").is_ok());
    }

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
