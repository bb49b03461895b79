//! Resolves names and refuses the whole answer if any address in it must not be called. The client connects to the addresses
//! that were judged and to no others, so a name that changes between the two is of no use to anybody.
//!
//! hickory and not the C library: its look-ups end with the exchange that asked (`getaddrinfo` keeps a thread until it gives up), and
//! it keeps answers for as long as they live.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::Reach;

/// A name that was mended should work again soon, whatever its zone says of negative answers.
const NEGATIVE_ANSWER_LIVES: Duration = Duration::from_secs(10);
/// An endpoint that moved is followed within this.
const ANSWER_LIVES: Duration = Duration::from_secs(300);

/// The resolver of one client.
pub struct CheckedResolver {
    resolver: TokioResolver,
    reach: Arc<Reach>,
}

/// A name led to an address that must not be called.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to a private or special address")]
pub struct Refused;

impl CheckedResolver {
    /// Asks the name servers of `/etc/resolv.conf` and heeds `/etc/hosts`. Without the former only `localhost` and the names of the
    /// latter are known.
    pub fn new(reach: Arc<Reach>) -> Result<CheckedResolver, String> {
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read /etc/resolv.conf: names outside /etc/hosts will not resolve");
            TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
        });
        let options = builder.options_mut();
        // Both families are asked: what is not asked for cannot be judged.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.positive_max_ttl = Some(ANSWER_LIVES);
        options.negative_max_ttl = Some(NEGATIVE_ANSWER_LIVES);
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(CheckedResolver { resolver, reach })
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        // Cheap handles: the future must not borrow.
        let (resolver, reach) = (self.resolver.clone(), self.reach.clone());
        Box::pin(async move {
            let answer = resolver.lookup_ip(name.as_str()).await?;
            if !answer.iter().all(|address| reach.allows(address)) {
                return Err(Refused.into());
            }
            // Port 0 stands for the URL's.
            let addresses: Vec<SocketAddr> = answer.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
