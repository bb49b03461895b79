//! Opens a connection: name to judged addresses, TCP to the first of them that answers, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls_pki_types::{DnsName, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Reach;
use super::connection::Connection;
use super::failure;
use super::request::{Host, Origin};
use super::resolver::CheckedResolver;
use super::stream::{Allowance, Io, Stream};
use crate::engine::delivery::Failure;

/// How long one address has to itself before the next is tried beside it (RFC 8305, section 8).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Addresses of a name that are tried. All are judged.
const MAX_ADDRESSES: usize = 8;

/// What every connection of a client is opened with.
pub struct Opener {
    pub resolver: CheckedResolver,
    pub reach: Arc<Reach>,
}

impl Opener {
    /// A connection to an address that was judged. It ends with the exchange that waits for it.
    pub async fn open(&self, origin: &Origin, tls: &TlsConnector) -> Result<Connection, Failure> {
        let tcp = self.reach_host(origin).await?;
        let _ = tcp.set_nodelay(true);
        let io = if origin.is_https {
            let name = server_name(&origin.host)?;
            Io::Tls(Box::new(tls.connect(name, tcp).await.map_err(|error| failure::of(&error))?))
        } else {
            Io::Plain(tcp)
        };
        let allowance = Arc::new(Allowance::default());
        Connection::new(Stream::new(io, allowance.clone()), allowance).await.map_err(|error| failure::of(&error))
    }

    async fn reach_host(&self, origin: &Origin) -> Result<TcpStream, Failure> {
        let addresses = match &origin.host {
            Host::Address(address) if self.reach.allows(*address) => vec![*address],
            Host::Address(_) => return Err(Failure::AddressRefused),
            Host::Name(name) => self.resolver.resolve(text(name)?).await?,
        };
        connect(&alternate(addresses), origin.port).await.map_err(|error| failure::of(&error))
    }
}

/// The first of these that accepts. Each is given a while before the next is tried as well.
async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().take(MAX_ADDRESSES);
    let mut trying = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            trying.push(TcpStream::connect(SocketAddr::new(*address, port)));
        }
        let answer = match next {
            Some(_) => timeout(NEXT_ADDRESS_AFTER, trying.next()).await,
            None => Ok(trying.next().await),
        };
        match answer {
            Ok(Some(Ok(stream))) => return Ok(stream),
            // What this machine lacks says nothing of the addresses, so whatever else failed is not the reason.
            Ok(Some(Err(error))) if !failure::is_ours(&last) => last = error,
            Ok(Some(Err(_))) => {}
            // Nothing is left to wait for or to try.
            Ok(None) => return Err(last),
            Err(_) => {}
        }
    }
}

/// Families in turn, so that one which leads nowhere from here costs one wait.
fn alternate(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let mut families = [v4.into_iter(), v6.into_iter()];
    let mut turns = Vec::new();
    loop {
        let before = turns.len();
        turns.extend(families.iter_mut().filter_map(Iterator::next));
        if turns.len() == before {
            return turns;
        }
    }
}

/// What the certificate must be for.
fn server_name(host: &Host) -> Result<ServerName<'static>, Failure> {
    match host {
        Host::Address(address) => Ok(ServerName::from(*address)),
        // A name that no certificate can carry.
        Host::Name(name) => DnsName::try_from(text(name)?.to_owned()).map(ServerName::DnsName).map_err(|_| Failure::Tls),
    }
}

fn text(name: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(name).map_err(|_| Failure::AddressRefused)
}
