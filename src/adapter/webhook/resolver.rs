//! Resolves names and refuses the whole answer if any address in it must not be called. Connections go to the addresses that were
//! judged and to no others, so a name that changes between the two is of no use to anybody.
//!
//! hickory and not the C library: its look-ups end with the exchange that asked (`getaddrinfo` keeps a thread until it gives up), and
//! it keeps answers for as long as they live.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::address::Reach;
use super::failure;
use crate::engine::delivery::Failure;

/// A name that was mended should work again soon, whatever its zone says of negative answers.
const NEGATIVE_ANSWER_LIVES: Duration = Duration::from_secs(10);
/// An endpoint that moved is followed within this, whatever its zone says.
const ANSWER_LIVES: Duration = Duration::from_secs(300);
/// Answers kept.
const MAX_ANSWERS: u64 = 1024;
/// How long one name server has for one question; it is asked [`QUESTIONS`] times.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);
const QUESTIONS: usize = 2;

/// The resolver of one client.
pub struct CheckedResolver {
    resolver: TokioResolver,
    reach: Arc<Reach>,
}

impl CheckedResolver {
    /// Asks these name servers, over UDP and then TCP; without any those of `/etc/resolv.conf`. Heeds `/etc/hosts`. Without
    /// `/etc/resolv.conf` only `localhost` and the names of the latter are known.
    pub fn new(reach: Arc<Reach>, name_servers: &[SocketAddr]) -> Result<CheckedResolver, String> {
        let given = |config| TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let mut builder = if name_servers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot read /etc/resolv.conf: names outside /etc/hosts will not resolve");
                given(ResolverConfig::default())
            })
        } else {
            given(ResolverConfig::from_parts(None, Vec::new(), name_servers.iter().map(name_server).collect()))
        };
        let options = builder.options_mut();
        // Both families are asked: what is not asked for cannot be judged.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.positive_max_ttl = Some(ANSWER_LIVES);
        options.negative_max_ttl = Some(NEGATIVE_ANSWER_LIVES);
        options.cache_size = MAX_ANSWERS;
        options.timeout = QUESTION_LIMIT;
        options.attempts = QUESTIONS;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(CheckedResolver { resolver, reach })
    }

    /// Every address of a name, all of which may be called.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        let answer = self.resolver.lookup_ip(name).await.map_err(|error| match failure::of(&error) {
            Failure::Unsent => Failure::Unsent,
            _ => Failure::Dns,
        })?;
        let addresses: Vec<IpAddr> = answer.iter().collect();
        match addresses.iter().all(|address| self.reach.allows(*address)) {
            _ if addresses.is_empty() => Err(Failure::Dns),
            true => Ok(addresses),
            false => Err(Failure::AddressRefused),
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    connections.iter_mut().for_each(|connection| connection.port = address.port());
    NameServerConfig::new(address.ip(), true, connections.into())
}
