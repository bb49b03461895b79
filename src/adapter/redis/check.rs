//! What must be true of a Redis before records are entrusted to it, judged from its `INFO` and from what the store was founded
//! with. Pure: it is given the text.

use crate::worker::ports::StateError;

use super::keys::FORMAT;

/// The oldest Redis that is accepted: from 7.0 an error inside a script keeps its code (`OOM`, `MISCONF`), by which a passing
/// fault is told from a lasting one.
pub const OLDEST: &str = "7.0";

/// The one eviction policy under which nothing disappears by itself.
const NO_EVICTION: &str = "noeviction";

/// Why a Redis cannot be used.
#[derive(Debug, PartialEq)]
pub enum Unfit {
    /// Until somebody changes it.
    Lasting(String),
    /// It is a replica now; who is primary changes.
    Replica(String),
}

/// Judges the reply to `INFO`; `of_cluster` says what it is to be, a node of a Cluster or a Redis alone. What a managed Redis
/// leaves out is taken to be right. (`CONFIG GET` says the same, but managed ones forbid it.)
pub fn server(info: &str, of_cluster: bool) -> Result<(), Unfit> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end);
    let unfit = |why: String| Err(Unfit::Lasting(why));
    if let Some(version) = field("redis_version")
        && older(version, OLDEST)
    {
        return unfit(format!("redis is version {version}, and {OLDEST} or later is needed: upgrade it"));
    }
    match (field("cluster_enabled"), of_cluster) {
        (Some("1"), false) => return unfit("redis is a node of a Cluster: write redis-cluster:// in `state.url`".into()),
        (Some("0"), true) => return unfit("redis is no node of a Cluster: write redis:// in `state.url`".into()),
        _ => {}
    }
    if let Some(policy) = field("maxmemory_policy")
        && policy != NO_EVICTION
    {
        return unfit(format!(
            "redis evicts by `{policy}` when memory runs out, and what it evicts would be sent again: set `maxmemory-policy {NO_EVICTION}` (in \
             redis.conf, by CONFIG SET or in the parameter group), or use a Redis of its own for the state"
        ));
    }
    // A replica of a Cluster says itself where to go.
    if field("role") == Some("slave") && !of_cluster {
        let primary = field("master_host").unwrap_or("another");
        return Err(Unfit::Replica(format!("redis is a replica of {primary}: let `state.url` name the primary")));
    }
    Ok(())
}

/// Judges what the store was founded with: format and number of groups, as stored.
pub fn founded(format: &str, groups: &str, groups_wanted: u16, prefix: &str) -> Result<(), StateError> {
    match format.parse::<u8>() {
        Ok(FORMAT) => {}
        Ok(newer) => {
            return refuse(format!(
                "the state under prefix `{prefix}` has format {newer} and this version knows {FORMAT}: run the version that wrote it, or \
                 use another `state.prefix` to start empty"
            ));
        }
        Err(_) => {
            return refuse(format!(
                "the state under prefix `{prefix}` has no legible format: something else uses that prefix; use another"
            ));
        }
    }
    if groups.parse() != Ok(groups_wanted) {
        return refuse(format!(
            "the state under prefix `{prefix}` was founded with {groups} groups and `state.groups` is {groups_wanted}: set it to {groups}, or \
             use another `state.prefix` to start empty"
        ));
    }
    Ok(())
}

fn refuse(why: String) -> Result<(), StateError> {
    Err(StateError::Refused(why))
}

/// Compares by number, part by part; what is no number is not older.
fn older(version: &str, oldest: &str) -> bool {
    let parts = |text: &str| text.split('.').map(|part| part.parse().unwrap_or(u32::MAX)).collect::<Vec<_>>();
    parts(version) < parts(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_the_server() {
        let check = |info: &str, expect: Option<&str>| match (server(info, info.contains("want_cluster")), expect) {
            (Ok(()), None) => {}
            (Err(Unfit::Lasting(why)), Some(part)) => assert!(why.contains(part), "{info}: {why}"),
            (outcome, _) => panic!("{info}: {outcome:?}"),
        };
        check("redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\nrole:master\r\ncluster_enabled:0\r\n", None);
        check("redis_version:7.0\r\n", None);
        check("redis_version:10.2.1\r\n", None);
        check("redis_version:255.255.255\r\n", None);
        check("redis_version:unstable\r\n", None);
        check("", None);
        check("redis_version:6.2.14\r\n", Some("6.2.14"));
        check("# Memory\r\nmaxmemory_policy:allkeys-lru\r\n", Some("allkeys-lru"));
        check("maxmemory_policy:volatile-ttl\r\n", Some("volatile-ttl"));
        check("cluster_enabled:1\r\n", Some("write redis-cluster://"));
        check("want_cluster\r\ncluster_enabled:0\r\n", Some("write redis://"));
        check("want_cluster\r\ncluster_enabled:1\r\n", None);
        check("want_cluster\r\nrole:slave\r\n", None);
        let replica = server("role:slave\r\nmaster_host:10.0.0.7\r\n", false);
        assert!(matches!(&replica, Err(Unfit::Replica(why)) if why.contains("10.0.0.7")), "{replica:?}");
    }

    #[test]
    fn judges_the_founding() {
        let check = |format: &str, groups: &str, wanted: u16, expect: Option<&str>| match (founded(format, groups, wanted, "c"), expect) {
            (Ok(()), None) => {}
            (Err(StateError::Refused(why)), Some(part)) => assert!(why.contains(part), "{why}"),
            (outcome, _) => panic!("{format} {groups} {wanted}: {outcome:?}"),
        };
        check("1", "4", 4, None);
        check("1", "4", 5, Some("founded with 4 groups"));
        check("1", "", 5, Some("groups"));
        check("2", "4", 4, Some("format 2"));
        check("x", "4", 4, Some("legible"));
    }
}
