//! Addresses and ranges of addresses, of both families.

use std::net::IpAddr;

use onggi_api::FieldError;

use super::{At, Errors};

/// What an address should be.
pub const BAD_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// What a range should be.
pub const BAD_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    address: IpAddr,
    prefix: u8,
}

impl Range {
    /// Reads `10.0.0.0/8`; an address beyond its prefix is kept.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if prefix.len() > 1 && prefix.starts_with('0') || prefix.starts_with('+') {
            return None;
        }
        let prefix: u8 = prefix.parse().ok()?;
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, prefix })
    }

    /// Whether it is one of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Its first address.
    pub fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::from((u32::from(ip) & mask).to_be_bytes())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::from((u128::from(ip) & mask).to_be_bytes())
            }
        }
    }

    /// Whether the other one is in it and smaller.
    pub fn strictly_covers(&self, other: &Self) -> bool {
        let there = Self { address: other.address, prefix: self.prefix };
        self.is_ipv4() == other.is_ipv4()
            && self.prefix < other.prefix
            && there.first() == self.first()
    }
}

/// A range in the one form that it is written in.
pub fn cidr(cidr: &At<'_>, errors: &mut Errors) {
    let Some(range) = Range::parse(cidr.text()) else {
        return errors.push(cidr.invalid(BAD_CIDR));
    };
    if range.first() != range.address {
        let detail = "must not have bits set beyond the prefix length";
        return errors.push(cidr.invalid(detail));
    }
    let canonical = format!("{}/{}", range.address, range.prefix);
    if canonical != cidr.text() {
        errors.push(cidr.invalid(format!("must be in canonical form ({canonical:?})")));
    }
}

/// Why nobody else can be at an address: it is of this machine or of its links alone
/// (`ValidateEndpointIP`).
pub fn special(ip: IpAddr) -> Option<String> {
    let ip = ip.to_canonical();
    let why = if ip.is_unspecified() {
        return Some(format!("may not be unspecified ({ip})"));
    } else if ip.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if is_link_local(ip) {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else if is_link_local_multicast(ip) {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// An address that somebody else can be at; `false` where the text is no address at all.
pub fn reachable(address: &At<'_>, errors: &mut Errors) -> bool {
    let Ok(ip) = address.text().parse::<IpAddr>() else { return false };
    errors.extend(special(ip).map(|why| FieldError::invalid(&address.path, address.text(), why)));
    true
}

/// Whether an address is one of a link.
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Whether an address is one of everybody on a link.
pub fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

/// The name of an object that is an address.
pub fn ip_name(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Err(_) => vec![BAD_IP.to_owned()],
        Ok(ip) if ip.to_string() != text => {
            vec![format!("must be in canonical form ({:?})", ip.to_string())]
        }
        Ok(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_nobody_else() {
        for (ip, expected) in [
            ("10.0.0.1", ""),
            ("8.8.8.8", ""),
            ("224.0.1.1", ""),
            ("2001:db8::1", ""),
            ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
            ("::", "may not be unspecified (::)"),
            ("127.1.2.3", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            ("::1", "may not be in the loopback range"),
            ("::ffff:127.0.0.1", "may not be in the loopback range"),
            ("169.254.169.254", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            ("febf::1", "may not be in the link-local range"),
            (
                "224.0.0.251",
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
            ("ff02::1", "may not be in the link-local multicast range"),
        ] {
            let found = special(ip.parse().unwrap()).unwrap_or_default();
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{ip}");
        }
    }
}
