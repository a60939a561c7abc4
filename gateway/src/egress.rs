//! Where a node may go out to: a webhook's address comes from a user, and must not reach what only the node can reach.
//!
//! What counts is the address that is dialled, so a name is resolved first, each of its addresses is asked about, and the
//! one that was allowed is dialled, not the name again: a name may lead elsewhere the second time. What is refused is
//! everything that is not a public address of one host. A redirect is not followed, since it names another place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a node may go out to beside public addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Egress {
    /// Whether private networks may be reached: 10/8, 172.16/12, 192.168/16 and fc00::/7. Default false. Where a node's
    /// receivers are in its own network it has to be; then who may define one reaches all that is there.
    pub private: bool,
}

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}, where a node does not go out to")]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What it is.
    pub what: &'static str,
}

impl Egress {
    /// Whether this address may be dialled.
    ///
    /// ```
    /// use gateway::egress::Egress;
    ///
    /// let egress = Egress::default();
    /// assert!(egress.allows("93.184.215.14".parse().unwrap()).is_ok());
    /// assert!(egress.allows("169.254.169.254".parse().unwrap()).is_err());
    /// ```
    ///
    /// # Errors
    /// What the address is instead of a public one.
    pub fn allows(self, address: IpAddr) -> Result<(), Refused> {
        let found = match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        };
        match found {
            None => Ok(()),
            Some(PRIVATE) if self.private => Ok(()),
            Some(what) => Err(Refused { address, what }),
        }
    }
}

const PRIVATE: &str = "an address of a private network";
const LOCAL: &str = "a link-local address, as those of metadata services are";

/// What is not public of IPv4 (RFC 6890).
fn of_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("an address of this host"),
        [127, ..] => Some("loopback"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(PRIVATE),
        [169, 254, ..] => Some(LOCAL),
        // Alibaba's metadata service is in it: 100.100.100.200.
        [100, 64..=127, ..] => Some("an address of a carrier"),
        // Azure's platform, its metadata among it.
        [168, 63, 129, 16] => Some("a metadata service"),
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => {
            Some("reserved for protocols, documents or measurements")
        }
        [192, 88, 99, _] => Some("a relay between versions of IP"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved or a broadcast"),
        _ => None,
    }
}

/// What is not public of IPv6: all outside 2000::/3, and in it what is reserved or leads to an address of IPv4.
fn of_v6(address: Ipv6Addr) -> Option<&'static str> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an address of this host"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // Mapped: the system dials the address of IPv4. Translated (NAT64): a router does.
        [0, 0, 0, 0, 0, 0xFFFF, high, low] | [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => of_v4(v4(high, low)),
        // Those of Amazon and of Google are in private networks, and stay shut where these may be reached.
        [0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x254] | [0xFD20, 0xCE, 0, 0, 0, 0, 0, 0x254] => {
            Some("a metadata service")
        }
        [0xFC00..=0xFDFF, ..] => Some(PRIVATE),
        [0xFE80..=0xFEBF, ..] => Some(LOCAL),
        [0xFF00..=0xFFFF, ..] => Some("multicast"),
        [0x2001, 0..=0x1FF, ..] | [0x2001, 0xDB8, ..] | [0x3FFF, 0..=0xFFF, ..] => {
            Some("reserved for protocols or documents")
        }
        [0x2002, ..] => Some("a relay between versions of IP"),
        [0x2000..=0x3FFF, ..] => None,
        _ => Some("not a public address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(egress: Egress, addresses: &str, allowed: bool) {
        for address in addresses.split_whitespace() {
            let asked = egress.allows(address.parse().unwrap());
            assert_eq!(asked.is_ok(), allowed, "{address}: {asked:?}");
        }
    }

    #[test]
    fn public_addresses_are_dialled() {
        let public =
            "1.1.1.1 93.184.215.14 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 169.253.0.1 223.255.255.254
            2606:4700::1111 2a00:1450::1 ::ffff:1.1.1.1 64:ff9b::1.1.1.1";
        check(Egress::default(), public, true);
        check(Egress { private: true }, public, true);
    }

    #[test]
    fn what_only_the_node_can_reach_is_not_however_it_is_written() {
        let own = "127.0.0.1 127.8.8.8 0.0.0.0 0.1.2.3 169.254.169.254 168.63.129.16 100.100.100.200 192.0.0.192
            192.0.2.1 198.18.0.1 192.88.99.1 224.0.0.1 240.0.0.1 255.255.255.255
            :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b:1::1 fe80::1 febf::1 fec0::1
            fd00:ec2::254 fd20:ce::254 ff02::1 2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 4000::1";
        check(Egress::default(), own, false);
        check(Egress { private: true }, own, false);
    }

    #[test]
    fn private_networks_are_reached_where_the_operator_says_so() {
        let private = "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 fc00::1 fd12:3456::1 ::ffff:10.0.0.1";
        check(Egress::default(), private, false);
        check(Egress { private: true }, private, true);
    }
}
