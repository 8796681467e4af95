//! Links, addresses, routes and neighbours (rtnetlink), IPv4.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::attr::{AttrWriter, attributes, find, ipv4, string, u16_at, u32_at};
use super::message::{ACK, CREATE, EXCL, Messages, REPLACE};
use super::{Error, Protocol, Socket};

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;
const NEWNEIGH: u16 = 28;

const INET: u8 = 2;
const UP: u32 = 1;
const PERMANENT: u16 = 0x80;
/// Answers of one send must fit the receive buffer.
const CHUNK: usize = 64;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Its number in the namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What somebody wrote on it (`ip link set … alias`); empty: nothing.
    pub alias: String,
    /// Whether it is up.
    pub up: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The interface.
    pub interface: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
}

/// What a route does (`RTN_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// Sends to an interface or gateway.
    Unicast,
    /// Delivers here.
    Local,
    /// Drops and tells the sender.
    Unreachable,
    /// Any other.
    Other(u8),
}

/// The main table.
pub const TABLE_MAIN: u32 = 254;
/// The table of what is delivered here; it is asked first.
pub const TABLE_LOCAL: u32 = 255;
/// Index of `lo` in every namespace.
pub const LOOPBACK: u32 = 1;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub destination: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// What it does.
    pub kind: RouteKind,
    /// In which table.
    pub table: u32,
    /// Who made it (`RTPROT_…`).
    pub protocol: u8,
    /// Its metric.
    pub metric: u32,
    /// Interface, by index.
    pub interface: Option<u32>,
    /// Gateway.
    pub gateway: Option<Ipv4Addr>,
    /// The source address that our own packets get.
    pub source: Option<Ipv4Addr>,
    /// MTU of the path, where it is less than the interface's.
    pub mtu: Option<u32>,
}

/// A pair of connected interfaces, one of them in another namespace.
#[derive(Debug)]
pub struct Veth<'a> {
    /// Name here, at most 15 characters.
    pub name: &'a str,
    /// Hardware address here.
    pub mac: [u8; 6],
    /// Name there.
    pub peer: &'a str,
    /// Hardware address there.
    pub peer_mac: [u8; 6],
    /// The namespace of the peer.
    pub peer_netns: BorrowedFd<'a>,
    /// MTU of both.
    pub mtu: u32,
}

/// Changes that are sent together and done in order, each for itself.
#[derive(Debug, Default)]
pub struct Changes(Messages);

/// A socket for all of it.
#[derive(Debug)]
pub struct RouteSocket(Socket);

impl RouteSocket {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        Socket::open(Protocol::Route).map(Self)
    }

    /// Does the changes; the first that failed is the error.
    pub fn commit(&mut self, changes: Changes) -> Result<(), Error> {
        let mut messages = changes.0;
        if messages.len() <= CHUNK {
            let count = messages.len();
            return self.0.transact(&mut messages, count).map(drop);
        }
        let mut first = Ok(());
        for part in messages.split(CHUNK) {
            let mut part = part;
            let count = part.len();
            first = first.and(self.0.transact(&mut part, count).map(drop));
        }
        first
    }

    /// Every interface.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let found = self.0.dump(GETLINK, "list links", |b| b.extend([0; 16]))?;
        Ok(found.iter().filter_map(|answer| link(&answer.payload)).collect())
    }

    /// The interface of a name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let mut messages = Messages::default();
        messages.push(GETLINK, 0, format!("look up interface {name}"), |b| {
            b.extend([0; 16]);
            b.attr_str(3, name);
        });
        messages.tolerate(&[libc::ENODEV]);
        let answers = self.0.transact(&mut messages, 0)?;
        Ok(answers.iter().find_map(|answer| link(&answer.payload)))
    }

    /// Every IPv4 address.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let header = [INET, 0, 0, 0, 0, 0, 0, 0];
        let found = self.0.dump(GETADDR, "list addresses", |b| b.extend(header))?;
        Ok(found.iter().filter_map(|answer| address(&answer.payload)).collect())
    }

    /// Every IPv4 route of every table.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let mut header = [0; 12];
        header[0] = INET;
        let found = self.0.dump(GETROUTE, "list routes", |b| b.extend(header))?;
        Ok(found.iter().filter_map(|answer| route(&answer.payload)).collect())
    }

    /// Deletes interfaces; those that are gone already are no error. Several are moved into the
    /// device group `group` and deleted with one wait for the kernel instead of one each: nothing
    /// else may use that group.
    pub fn delete_links(&mut self, names: &[String], group: u32) -> Result<(), Error> {
        let mut changes = Changes::default();
        match names {
            [] => return Ok(()),
            [name] => changes.0.push(DELLINK, ACK, format!("delete interface {name}"), |b| {
                b.extend([0; 16]);
                b.attr_str(3, name);
            }),
            names => {
                for name in names {
                    let what = format!("mark interface {name} for deletion");
                    changes.0.push(NEWLINK, ACK, what, |b| {
                        b.extend([0; 16]);
                        b.attr_str(3, name);
                        b.attr_u32(27, group);
                    });
                    changes.0.tolerate(&[libc::ENODEV]);
                }
                self.commit(std::mem::take(&mut changes))?;
                let what = format!("delete {} interfaces", names.len());
                changes.0.push(DELLINK, ACK, what, |b| {
                    b.extend([0; 16]);
                    b.attr_u32(27, group);
                });
            }
        }
        changes.0.tolerate(&[libc::ENODEV]);
        self.commit(changes)
    }
}

impl Changes {
    /// Creates a veth, both ends down. (A peer that is set up in the same message fails.)
    pub fn veth(&mut self, veth: &Veth<'_>) -> &mut Self {
        let what = format!("create the veth {}", veth.name);
        self.0.push(NEWLINK, ACK | CREATE | EXCL, what, |b| {
            b.extend([0; 16]);
            b.attr_str(3, veth.name);
            b.attr(1, &veth.mac);
            b.attr_u32(4, veth.mtu);
            b.nested(18, |b| {
                b.attr_str(1, "veth");
                b.nested(2, |b| {
                    b.nested(1, |b| {
                        b.extend([0; 16]);
                        b.attr_str(3, veth.peer);
                        b.attr(1, &veth.peer_mac);
                        b.attr_u32(4, veth.mtu);
                        b.attr_u32(28, veth.peer_netns.as_raw_fd() as u32);
                    });
                });
            });
        });
        self
    }

    /// Sets an interface up.
    pub fn up(&mut self, index: u32) -> &mut Self {
        self.0.push(NEWLINK, ACK, format!("set interface {index} up"), |b| {
            link_header(b, index, UP);
        });
        self
    }

    /// Sets an interface up and writes on it whose it is.
    pub fn up_with_alias(&mut self, index: u32, alias: &str) -> &mut Self {
        self.0.push(NEWLINK, ACK, format!("set interface {index} up"), |b| {
            link_header(b, index, UP);
            b.attr(20, alias.as_bytes());
        });
        self
    }

    /// Gives an interface an address.
    pub fn address(&mut self, address: &Address) -> &mut Self {
        let Address { interface, address, prefix } = *address;
        let what = format!("add the address {address}/{prefix}");
        self.0.push(NEWADDR, ACK | CREATE | REPLACE, what, |b| {
            b.extend([INET, prefix, 0, 0]);
            b.extend(interface.to_ne_bytes());
            b.attr_ipv4(2, address);
            b.attr_ipv4(1, address);
        });
        self
    }

    /// Adds a route, or puts it in the place of the one with the same destination and metric.
    pub fn route(&mut self, route: &Route) -> &mut Self {
        let what = format!("add the route {}/{}", route.destination, route.prefix);
        self.0.push(NEWROUTE, ACK | CREATE | REPLACE, what, |b| write_route(b, route));
        self
    }

    /// Deletes a route; one that is gone already is no error.
    pub fn delete_route(&mut self, route: &Route) -> &mut Self {
        let what = format!("delete the route {}/{}", route.destination, route.prefix);
        self.0.push(DELROUTE, ACK, what, |b| write_route(b, route));
        self.0.tolerate(&[libc::ESRCH, libc::ENODEV]);
        self
    }

    /// Says for good which hardware address an address has.
    pub fn neighbour(&mut self, interface: u32, address: Ipv4Addr, mac: [u8; 6]) -> &mut Self {
        let what = format!("add the neighbour {address}");
        self.0.push(NEWNEIGH, ACK | CREATE | REPLACE, what, |b| {
            b.extend([INET, 0, 0, 0]);
            b.extend(interface.to_ne_bytes());
            b.extend(PERMANENT.to_ne_bytes());
            b.extend([0, 0]);
            b.attr_ipv4(1, address);
            b.attr(2, &mac);
        });
        self
    }
}

fn link_header(b: &mut Vec<u8>, index: u32, flags: u32) {
    b.extend([0; 4]);
    b.extend(index.to_ne_bytes());
    b.extend(flags.to_ne_bytes());
    b.extend(flags.to_ne_bytes());
}

fn write_route(b: &mut Vec<u8>, route: &Route) {
    // Scope (RT_SCOPE_…): host for what is delivered here, link without a gateway.
    let scope = match route.kind {
        RouteKind::Local => 254,
        RouteKind::Unicast if route.gateway.is_none() => 253,
        _ => 0,
    };
    let table = u8::try_from(route.table).unwrap_or(0);
    b.extend([INET, route.prefix, 0, 0, table, route.protocol, scope, route.kind.number()]);
    b.extend([0; 4]);
    b.attr_ipv4(1, route.destination);
    if table == 0 {
        b.attr_u32(15, route.table);
    }
    if let Some(index) = route.interface {
        b.attr_u32(4, index);
    }
    if let Some(gateway) = route.gateway {
        b.attr_ipv4(5, gateway);
    }
    if route.metric != 0 {
        b.attr_u32(6, route.metric);
    }
    if let Some(source) = route.source {
        b.attr_ipv4(7, source);
    }
    if let Some(mtu) = route.mtu {
        b.nested(8, |b| b.attr_u32(2, mtu));
    }
}

impl RouteKind {
    fn number(self) -> u8 {
        match self {
            Self::Unicast => 1,
            Self::Local => 2,
            Self::Unreachable => 7,
            Self::Other(number) => number,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Unicast,
            2 => Self::Local,
            7 => Self::Unreachable,
            number => Self::Other(number),
        }
    }
}

fn link(payload: &[u8]) -> Option<Link> {
    let attrs = payload.get(16..)?;
    Some(Link {
        index: u32_at(payload, 4)?,
        name: string(find(attrs, 3)?),
        alias: find(attrs, 20).map(string).unwrap_or_default(),
        up: u32_at(payload, 8)? & UP != 0,
    })
}

fn address(payload: &[u8]) -> Option<Address> {
    let attrs = payload.get(8..)?;
    // IFA_LOCAL is ours; on a point-to-point link IFA_ADDRESS is the other side's.
    let value = find(attrs, 2).or_else(|| find(attrs, 1))?;
    Some(Address {
        interface: u32_at(payload, 4)?,
        address: ipv4(value)?,
        prefix: *payload.get(1)?,
    })
}

fn route(payload: &[u8]) -> Option<Route> {
    let attrs = payload.get(12..)?;
    let mut route = Route {
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: *payload.get(1)?,
        kind: RouteKind::of(*payload.get(7)?),
        table: u32::from(*payload.get(4)?),
        protocol: *payload.get(5)?,
        metric: 0,
        interface: None,
        gateway: None,
        source: None,
        mtu: None,
    };
    for (kind, value) in attributes(attrs) {
        match kind {
            1 => route.destination = ipv4(value)?,
            4 => route.interface = u32_at(value, 0),
            5 => route.gateway = ipv4(value),
            6 => route.metric = u32_at(value, 0)?,
            7 => route.source = ipv4(value),
            8 => route.mtu = find(value, 2).and_then(|mtu| u32_at(mtu, 0)),
            15 => route.table = u32_at(value, 0)?,
            _ => {}
        }
    }
    // Cached clones (RTM_F_CLONED) are no routes.
    let flags = u16_at(payload, 8)?;
    (flags & 0x200 == 0).then_some(route)
}
