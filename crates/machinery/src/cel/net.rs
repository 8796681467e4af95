//! `ip` and `cidr`: addresses and ranges of them.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::EvalError;
use super::functions::text;
use super::value::{Opaque, Value};
use crate::validation::addresses::{is_link_local, is_link_local_multicast};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ip(IpAddr);

/// A range: its address as it was written, and how many bits of it count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cidr(IpAddr, u8);

fn parse_ip(text: &str) -> Result<Ip, EvalError> {
    let wrong = |why: &str| {
        EvalError::new(format!(
            "IP Address {text:?} parse error during conversion from string: {why}"
        ))
    };
    let ip: IpAddr = text.parse().map_err(|_| wrong("unable to parse IP"))?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(EvalError::new(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        ip => Ok(Ip(ip)),
    }
}

fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    let wrong = || {
        EvalError::new(format!(
            "network address parse error during conversion from string: {text:?}"
        ))
    };
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let Ip(address) = parse_ip(address).map_err(|_| wrong())?;
    let leading = bits.len() > 1 && bits.starts_with('0') || bits.starts_with('+');
    let bits: u8 = bits.parse().ok().filter(|_| !leading).ok_or_else(wrong)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if bits <= most { Ok(Cidr(address, bits)) } else { Err(wrong()) }
}

pub(super) fn make<'a>(name: &str, arg: &Value<'a>) -> Outcome<'a> {
    let text = text(arg)?;
    Ok(match name {
        "ip" => Value::Opaque(Arc::new(parse_ip(text)?)),
        "cidr" => Value::Opaque(Arc::new(parse_cidr(text)?)),
        "isIP" => parse_ip(text).is_ok().into(),
        _ => parse_cidr(text).is_ok().into(),
    })
}

/// `ip.isCanonical(text)`.
pub(super) fn is_canonical<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [arg] = args else { return Err(EvalError::no_overload()) };
    let text = text(arg)?;
    Ok((parse_ip(text)?.0.to_string() == text).into())
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

impl Cidr {
    fn contains(self, ip: IpAddr) -> bool {
        self.0.is_ipv4() == ip.is_ipv4() && masked(ip, self.1) == masked(self.0, self.1)
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast
        || ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || is_link_local(ip))
}

impl Opaque for Ip {
    fn type_name(&self) -> &'static str {
        "net.IP"
    }

    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Outcome<'v>> {
        if !args.is_empty() {
            return None;
        }
        let ip = self.0;
        Some(Ok(match name {
            "family" => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
            "isUnspecified" => ip.is_unspecified().into(),
            "isLoopback" => ip.is_loopback().into(),
            "isLinkLocalMulticast" => is_link_local_multicast(ip).into(),
            "isLinkLocalUnicast" => is_link_local(ip).into(),
            "isGlobalUnicast" => is_global_unicast(ip).into(),
            _ => return None,
        }))
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }

    fn text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Opaque for Cidr {
    fn type_name(&self) -> &'static str {
        "net.CIDR"
    }

    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Outcome<'v>> {
        let ip = |value: &Value<'v>| match value.opaque::<Ip>() {
            Some(ip) => Ok(ip.0),
            None => text(value).and_then(parse_ip).map(|ip| ip.0),
        };
        let cidr = |value: &Value<'v>| match value.opaque::<Self>() {
            Some(cidr) => Ok(*cidr),
            None => text(value).and_then(parse_cidr),
        };
        Some(match (name, args) {
            ("containsIP", [arg]) => ip(arg).map(|ip| self.contains(ip).into()),
            ("containsCIDR", [arg]) => {
                cidr(arg).map(|other| (other.1 >= self.1 && self.contains(other.0)).into())
            }
            ("ip", []) => Ok(Value::Opaque(Arc::new(Ip(self.0)))),
            ("masked", []) => Ok(Value::Opaque(Arc::new(Self(masked(self.0, self.1), self.1)))),
            ("prefixLength", []) => Ok(Value::Int(self.1.into())),
            _ => return None,
        })
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }

    fn text(&self) -> Option<String> {
        Some(format!("{}/{}", self.0, self.1))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
