//! Which addresses may be called: public ones, and those of networks that the settings name. Judging is arithmetic on the
//! address; nothing is resolved or connected to here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::special::{GLOBAL_UNICAST, NAT64, SPECIAL_V4, SPECIAL_V6};

/// Judges addresses.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    allowed: Vec<Cidr>,
}

impl Reach {
    pub fn new(allowed: Vec<Cidr>) -> Reach {
        Reach { allowed }
    }

    /// True for a public address and for one inside an allowed network. An IPv4 address within an IPv6 one (mapped, NAT64) is
    /// judged as the IPv4 address that it leads to.
    pub fn allows(&self, address: IpAddr) -> bool {
        let named = |address: IpAddr| self.allowed.iter().any(|network| network.contains(address));
        match address {
            IpAddr::V4(v4) => named(address) || !is_special_v4(v4),
            IpAddr::V6(v6) => match embedded_v4(v6) {
                Some(v4) => named(address) || named(v4.into()) || !is_special_v4(v4),
                None => named(address) || !is_special_v6(v6),
            },
        }
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    SPECIAL_V4.iter().any(|(network, bits)| same_prefix_v4(*network, address, *bits))
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    !same_prefix_v6(GLOBAL_UNICAST.0, address, GLOBAL_UNICAST.1)
        || SPECIAL_V6.iter().any(|(network, bits)| same_prefix_v6(*network, address, *bits))
}

/// The IPv4 address that an IPv6 one stands for on this host (mapped) or at a translator for everyone (RFC 6052, well-known
/// prefix). The other forms are special themselves, whatever they embed: 6to4, Teredo, IPv4-compatible and NAT64 for local use
/// lead there by ways that only an operator can know, who may name their network.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = same_prefix_v6(NAT64.0, address, NAT64.1).then(|| {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    });
    address.to_ipv4_mapped().or(nat64)
}

/// A network in the notation `10.0.0.0/8` or `fd00::/8`; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix_bits: u8,
}

impl Cidr {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => same_prefix_v4(ours, theirs, self.prefix_bits),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same_prefix_v6(ours, theirs, self.prefix_bits),
            _ => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network such as 10.0.0.0/8 or fd00::/8")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let refused = || CidrError(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= widest).ok_or_else(refused)?,
            None => widest,
        };
        Ok(Cidr { address, prefix_bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

fn same_prefix_v4(a: Ipv4Addr, b: Ipv4Addr, bits: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    (a.to_bits() ^ b.to_bits()) & mask == 0
}

fn same_prefix_v6(a: Ipv6Addr, b: Ipv6Addr, bits: u8) -> bool {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    (a.to_bits() ^ b.to_bits()) & mask == 0
}

#[cfg(test)]
mod tests;
