//! Reads `state.url`: which servers there are and how they are addressed. Nothing here talks to Redis, and no error shows more of
//! the URL than its scheme: the rest may hold a password.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use crate::worker::ports::StateError;

/// Where a Redis and a sentinel listen when nothing is said.
const SENTINEL_PORT: u16 = 26379;

/// What is kept where.
#[derive(Clone)]
pub enum Servers {
    /// One Redis, or a name behind which somebody else puts the primary.
    One(ConnectionInfo),
    /// Any nodes of a Cluster: they name the others.
    Cluster(Vec<ConnectionInfo>),
    /// Sentinels, who say where the primary of this name is. Of `primary` the host and port are to be replaced by theirs.
    Sentinel { sentinels: Vec<ConnectionInfo>, name: String, primary: ConnectionInfo },
}

impl Servers {
    /// Hosts and ports, for people.
    pub fn shown(&self) -> String {
        let listed = |all: &[ConnectionInfo]| all.iter().map(|one| one.addr().to_string()).collect::<Vec<_>>().join(",");
        match self {
            Servers::One(one) => one.addr().to_string(),
            Servers::Cluster(seeds) => listed(seeds),
            Servers::Sentinel { sentinels, name, .. } => format!("{}/{name}", listed(sentinels)),
        }
    }
}

/// Host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub host: String,
    pub port: u16,
}

impl Node {
    pub fn of(info: &ConnectionInfo) -> Node {
        match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Node { host: host.clone(), port: *port },
            other => Node { host: other.to_string(), port: 0 },
        }
    }

    /// The same credentials and encryption, this host and port.
    pub fn as_of(&self, info: &ConnectionInfo) -> ConnectionInfo {
        let (host, port) = (self.host.clone(), self.port);
        let address = match info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        info.clone().set_addr(address)
    }
}

/// The parts of a URL that names several hosts.
struct Parts<'a> {
    /// `user:password@`, or nothing.
    credentials: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Parts<'a> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold what separates hosts from a path; the hosts may not.
        let at = rest.rfind('@').map_or(0, |at| at + 1);
        let (hosts, path) = rest[at..].split_once('/').unwrap_or((&rest[at..], ""));
        Parts { credentials: &rest[..at], hosts: hosts.split(',').collect(), path, query }
    }
}

/// Reads `state.url`.
pub fn servers(url: &str) -> Result<Servers, StateError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return refused("`state.url` is no URL: write redis://host:6379");
    };
    if scheme.starts_with("rediss") {
        // Where several parts of a process use rustls, the first to say which cryptography decides; all of ours say ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    match scheme {
        "redis" | "rediss" => Ok(Servers::One(read(url, &format!("{scheme}://user:password@host:6379/0"))?)),
        "redis-cluster" => cluster(scheme, "redis", &Parts::of(rest)),
        "rediss-cluster" => cluster(scheme, "rediss", &Parts::of(rest)),
        "redis-sentinel" => sentinel(scheme, "redis", &Parts::of(rest)),
        "rediss-sentinel" => sentinel(scheme, "rediss", &Parts::of(rest)),
        _ => refused(&format!(
            "`state.url` begins with {scheme}://, which is not known: use redis://, redis-cluster:// or redis-sentinel://, or the same with \
             rediss for TLS"
        )),
    }
}

fn cluster(scheme: &str, each: &str, parts: &Parts<'_>) -> Result<Servers, StateError> {
    let form = format!("{scheme}://user:password@host:6379,host:6379");
    if !parts.path.is_empty() || !parts.query.is_empty() {
        return refused(&format!("`state.url` cannot be read: a Cluster has one database and no options; write {form}"));
    }
    let seeds = parts.hosts.iter().map(|host| read(&format!("{each}://{}{host}", parts.credentials), &form)).collect::<Result<_, _>>()?;
    Ok(Servers::Cluster(seeds))
}

/// The credentials are those of the primary; those of the sentinels, if they want any, and the number of the database are options.
fn sentinel(scheme: &str, each: &str, parts: &Parts<'_>) -> Result<Servers, StateError> {
    let form =
        format!("{scheme}://user:password@host:{SENTINEL_PORT},host:{SENTINEL_PORT}/name?sentinel_username=u&sentinel_password=p&db=0");
    if parts.path.is_empty() || parts.path.contains('/') {
        return refused(&format!("`state.url` cannot be read: it names no primary as the sentinels know it; write {form}"));
    }
    let (mut database, mut login) = (0, RedisConnectionInfo::default());
    for (name, value) in url::form_urlencoded::parse(parts.query.as_bytes()) {
        match &*name {
            "sentinel_username" => login = login.set_username(value),
            "sentinel_password" => login = login.set_password(value),
            "db" => {
                let number = value.parse::<u16>();
                database = number.or_else(|_| refused(&format!("`state.url` cannot be read: `db` is no number; write {form}")))?.into();
            }
            other => return refused(&format!("`state.url` cannot be read: `{other}` is no option of it; write {form}")),
        }
    }
    let with_port = |host: &str| match host.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => host.to_owned(),
        _ => format!("{host}:{SENTINEL_PORT}"),
    };
    let sentinels = parts
        .hosts
        .iter()
        .map(|host| Ok(read(&format!("{each}://{}", with_port(host)), &form)?.set_redis_settings(login.clone())))
        .collect::<Result<_, StateError>>()?;
    let primary = read(&format!("{each}://{}{}", parts.credentials, parts.hosts.first().unwrap_or(&"")), &form)?;
    let of_primary = primary.redis_settings().clone().set_db(database);
    Ok(Servers::Sentinel { sentinels, name: parts.path.to_owned(), primary: primary.set_redis_settings(of_primary) })
}

/// One server's URL as the client library reads it; `form` is what to write instead.
fn read(url: &str, form: &str) -> Result<ConnectionInfo, StateError> {
    url.into_connection_info().or_else(|error| refused(&format!("`state.url` cannot be read: {error}; write {form}")))
}

fn refused<T>(why: &str) -> Result<T, StateError> {
    Err(StateError::Refused(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_says_why_and_keeps_the_password() {
        let check = |url: &str, expect: &str| {
            let error = servers(url).err().unwrap_or_else(|| panic!("{url} is read")).to_string();
            assert!(error.contains(expect), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        check("localhost:6379", "no URL");
        check("http://:hunter2@a", "not known");
        check("redis://:hunter2@", "cannot be read");
        check("redis://:hunter2@host:port", "cannot be read");
        check("redis://:hunter2@host/first", "database");
        check("redis-cluster://:hunter2@a:1,b:port", "write redis-cluster://");
        check("redis-cluster://:hunter2@a:1,", "cannot be read");
        check("rediss-cluster://:hunter2@a:1/1", "one database");
        check("redis-sentinel://:hunter2@a:1,b:2", "names no primary");
        check("redis-sentinel://:hunter2@a:1/name?db=x", "`db` is no number");
        check("redis-sentinel://:hunter2@a:1/name?sentinel_pasword=hunter2", "`sentinel_pasword` is no option");
    }

    #[test]
    fn every_form_is_read() {
        let check = |url: &str, shown: &str| assert_eq!(servers(url).unwrap().shown(), shown, "{url}");
        check("redis://user:hunter2@host:6380/1", "host:6380");
        check("rediss://host", "host:6379");
        check("redis-cluster://user:hunter2@a,b:7,[::1]:8", "a:6379,b:7,::1:8");
        check("rediss-cluster://a:1", "a:1");
        check("redis-sentinel://a,b:7,[::1]/main", "a:26379,b:7,::1:26379/main");
    }

    #[test]
    fn every_server_has_its_own_credentials() {
        let login = |info: &ConnectionInfo| {
            let redis = info.redis_settings();
            (redis.username().unwrap_or_default().to_owned(), redis.password().unwrap_or_default().to_owned(), redis.db())
        };
        let of = |name: &str, password: &str, database| (name.to_owned(), password.to_owned(), database);
        let Servers::Cluster(seeds) = servers("redis-cluster://u:p%40@a:1,b:2").unwrap() else { panic!("a cluster") };
        assert_eq!(seeds.iter().map(login).collect::<Vec<_>>(), [of("u", "p@", 0), of("u", "p@", 0)]);
        let url = "rediss-sentinel://u:p@a:1,b:2/main?sentinel_username=s&sentinel_password=t%26&db=3";
        let Servers::Sentinel { sentinels, primary, .. } = servers(url).unwrap() else { panic!("sentinels") };
        assert_eq!(sentinels.iter().map(login).collect::<Vec<_>>(), [of("s", "t&", 0), of("s", "t&", 0)]);
        assert_eq!(login(&primary), of("u", "p", 3));
        let elsewhere = Node { host: "c".into(), port: 9 }.as_of(&primary);
        assert!(matches!(elsewhere.addr(), ConnectionAddr::TcpTls { host, port: 9, .. } if host == "c"), "{:?}", elsewhere.addr());
        assert_eq!(login(&elsewhere), of("u", "p", 3));
    }
}
