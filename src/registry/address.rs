//! Which addresses requests may go to. A reference is a stranger's text: without this rule it would
//! make the webhook knock at doors inside the cluster (server-side request forgery, CWE-918).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The addresses that one class of registries may have.
#[derive(Clone, Debug)]
pub(super) struct AddressRule {
    ranges: Arc<[IpNet]>,
    everything: bool,
}

/// An address that requests must not go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ForbiddenAddress {
    address: IpAddr,
    is: &'static str,
}

impl AddressRule {
    /// Public addresses, and private ones outside `ranges`; or `everything`.
    pub(super) fn new(ranges: &[IpNet], everything: bool) -> Self {
        Self { ranges: ranges.into(), everything }
    }

    /// Whether requests may go to `address`. IPv4 addresses inside of IPv6 ones count as what they are.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), ForbiddenAddress> {
        if self.everything {
            return Ok(());
        }
        let inner = embedded(address);
        let verdicts =
            [Some(address), inner].into_iter().flatten().find_map(|address| self.forbidden(address));
        verdicts.map_or(Ok(()), |is| Err(ForbiddenAddress { address, is }))
    }

    fn forbidden(&self, address: IpAddr) -> Option<&'static str> {
        if self.ranges.iter().any(|range| range.contains(&address)) {
            return Some("in a range of the cluster");
        }
        match address {
            IpAddr::V4(v4) if v4.is_loopback() => Some("a loopback address"),
            IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address, as metadata services have"),
            IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("an unspecified address"),
            IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() => Some("a multicast address"),
            IpAddr::V4(v4) if v4 == Ipv4Addr::new(100, 100, 100, 200) => Some("a metadata service's address"),
            IpAddr::V4(v4) if v4.octets()[0] >= 240 => Some("a reserved address"),
            IpAddr::V6(v6) if v6.is_loopback() => Some("a loopback address"),
            IpAddr::V6(v6) if v6.is_unspecified() => Some("an unspecified address"),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
            IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
            IpAddr::V6(v6) if v6 == METADATA_V6 => Some("a metadata service's address"),
            _ => None,
        }
    }
}

/// `fd00:ec2::254`, the metadata service of a large cloud.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let segments = v6.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] if !v6.is_loopback() && !v6.is_unspecified() => {
            from(high, low)
        }
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => from(high, low),
        [0x64, 0xff9b, 1, .., high, low] => from(high, low),
        [0x2002, high, low, ..] => from(high, low),
        _ => None,
    }
}

/// Looks names up and checks every answer just before a connection is made, so that a name which
/// changes its mind between a check and the connection (DNS rebinding) gains nothing.
impl Resolve for AddressRule {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                rule.check(address.ip())?;
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

impl fmt::Display for ForbiddenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.address, self.is)
    }
}

impl std::error::Error for ForbiddenAddress {}
