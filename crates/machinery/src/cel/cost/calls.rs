//! The costs of functions, and how large what they give can be.

use super::kind::{Kind, Opaque};
use super::node::{Node, sum};
use super::size::{PATTERN, Size, TRAVERSAL, scaled, traversal};
use super::{Estimator, lists};

/// The longest pattern of a named format (`MaxNameFormatRegexSize`).
const FORMAT_PATTERN: f64 = 128.0;
/// The bytes of an address: of IPv4 at least, of IPv6 at most.
const ADDRESS: Size = Size { min: 4, max: 16 };

impl<'d> Estimator<'_, 'd> {
    /// A function without a target.
    pub(super) fn function(&self, name: &str, args: &[Node<'d>]) -> Node<'d> {
        let found = lists::function(name, args).unwrap_or_else(|| plain(name, args));
        Node { cost: found.cost.saturating_add(sum(args)), ..found }
    }

    /// A function of a value.
    pub(super) fn method(&self, name: &str, target: &Node<'d>, args: &[Node<'d>]) -> Node<'d> {
        let found = lists::method(name, target, args)
            .or_else(|| self.traversing(name, target, args))
            .unwrap_or_else(|| accessor(name, target, args));
        let around = target.cost.saturating_add(sum(args));
        Node { cost: found.cost.saturating_add(around), ..found }
    }

    /// A method that looks at the whole of its target.
    fn traversing(&self, name: &str, target: &Node<'d>, args: &[Node<'d>]) -> Option<Node<'d>> {
        let size = target.size();
        let first = || args.first().map(Node::size);
        Some(match name {
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                let kind = match name {
                    "isSorted" => Kind::Bool,
                    "sum" | "max" | "min" => target.kind.item(),
                    _ => Kind::Int,
                };
                let cost = match &target.kind {
                    Kind::List(item) => {
                        let read = match **item {
                            Kind::Text | Kind::Bytes => traversal(target.item_size(self.root)),
                            _ => 0,
                        };
                        size.max.saturating_mul(read.saturating_add(1))
                    }
                    _ => traversal(size),
                };
                Node::made(cost, kind)
            }
            "lowerAscii" | "upperAscii" | "substring" | "trim" => {
                Node::sized(traversal(size), Kind::Text, size)
            }
            "replace" if args.len() >= 2 => {
                let size = replaced(size, args[0].size(), args[1].size());
                Node::sized(scaled(target.size().max, 2.0 * TRAVERSAL), Kind::Text, size)
            }
            "split" => {
                let most = args.get(1).and_then(|limit| limit.literal);
                // A negative limit is none.
                let most = most.map_or(size.max, i64::cast_unsigned);
                let kind = Kind::list(Kind::Text);
                Node::sized(scaled(size.max, 2.0 * TRAVERSAL), kind, Size::up_to(most))
            }
            "join" => {
                let texts = match target.kind {
                    Kind::List(_) => size.times(target.item_size(self.root)),
                    _ => Size::exact(0),
                };
                let between =
                    Size { min: size.min.saturating_sub(1), max: size.max.saturating_sub(1) };
                let size = first().map_or(texts, |one| texts.plus(one.times(between)));
                Node::sized(traversal(size), Kind::Text, size)
            }
            "find" | "findAll" => {
                let kind = if name == "find" { Kind::Text } else { Kind::list(Kind::Text) };
                Node::sized(matching(size, first()?), kind, Size::up_to(size.max))
            }
            "matches" => Node::made(matching(size, first()?), Kind::Bool),
            "contains" => {
                Node::made(traversal(size).saturating_mul(traversal(first()?)), Kind::Bool)
            }
            "startsWith" | "endsWith" => Node::made(traversal(first()?), Kind::Bool),
            "format" => Node::made(traversal(size), Kind::Text),
            _ => return None,
        })
    }
}

/// Searching a text by a pattern; an empty text costs no less than one character.
fn matching(text: Size, pattern: Size) -> u64 {
    traversal(text.plus(Size::ONE)).saturating_mul(scaled(pattern.max, PATTERN))
}

/// The size of a text in which parts are replaced.
fn replaced(text: Size, part: Size, with: Size) -> Size {
    let max = if part.min == 0 {
        // The replacement is put around each character.
        text.max.saturating_add(1).saturating_mul(with.max).saturating_add(text.max)
    } else if with.max <= part.min {
        text.max
    } else {
        text.max.div_ceil(part.min).saturating_mul(with.max)
    };
    let min = if part.max == 0 {
        text.min.saturating_add(1).saturating_mul(with.min).saturating_add(text.min)
    } else if part.max <= with.min {
        text.min
    } else {
        text.min.div_ceil(part.max).saturating_mul(with.min)
    };
    Size { min, max }
}

/// A function without a target.
fn plain<'d>(name: &str, args: &[Node<'d>]) -> Node<'d> {
    let Some(arg) = args.first() else {
        return Node::made(1, plain_kind(name));
    };
    let size = arg.size();
    let made = |cost| Node::made(cost, plain_kind(name));
    match name {
        // Only a way around the checks of types.
        "dyn" => Node { size: arg.size, entries: arg.entries, ..Node::made(1, Kind::Dyn) },
        "bytes" if matches!(arg.kind, Kind::Text | Kind::Dyn) => {
            // A character may take four bytes.
            let bytes = Size { min: size.min, max: size.max.wrapping_mul(4) };
            Node::sized(traversal(size).max(least(arg)), Kind::Bytes, bytes)
        }
        "string" if matches!(arg.kind, Kind::Bytes | Kind::Dyn) => {
            let text = Size { min: size.min / 4, max: size.max };
            Node::sized(traversal(size).max(least(arg)), Kind::Text, text)
        }
        "strings.quote" => {
            let quoted = Size {
                min: size.min.saturating_add(2),
                max: size.max.wrapping_mul(2).wrapping_add(2),
            };
            Node::sized(traversal(size), Kind::Text, quoted)
        }
        "url" => Node::sized(traversal(size), plain_kind(name), size),
        "cidr" | "isCIDR" | "ip" | "isIP" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
            made(traversal(size))
        }
        "ip.isCanonical" => made(scaled(size.max, 2.0 * TRAVERSAL)),
        "optional.of" | "optional.ofNonZeroValue" => {
            Node::made(1, Kind::optional(arg.kind.clone()))
        }
        _ => made(1),
    }
}

/// What another meaning of a function would cost.
fn least(arg: &Node<'_>) -> u64 {
    u64::from(arg.kind.is_open())
}

fn plain_kind<'d>(name: &str) -> Kind<'d> {
    match name {
        "bool" | "matches" | "isCIDR" | "isIP" | "isQuantity" | "isSemver" | "isURL"
        | "ip.isCanonical" => Kind::Bool,
        "bytes" => Kind::Bytes,
        "double" => Kind::Double,
        "duration" => Kind::Duration,
        "int" | "size" => Kind::Int,
        "string" | "strings.quote" => Kind::Text,
        "timestamp" => Kind::Timestamp,
        "type" => Kind::Type,
        "uint" => Kind::Uint,
        "cidr" => Kind::Opaque(Opaque::Cidr),
        "ip" => Kind::Opaque(Opaque::Ip),
        "quantity" => Kind::Opaque(Opaque::Quantity),
        "semver" => Kind::Opaque(Opaque::Semver),
        "url" => Kind::Opaque(Opaque::Url),
        "format.named" => Kind::optional(Kind::Opaque(Opaque::Format)),
        "optional.none" => Kind::optional(Kind::Free),
        name if name.starts_with("format.") => Kind::Opaque(Opaque::Format),
        _ => Kind::Dyn,
    }
}

/// A method that looks at a part of its target only.
fn accessor<'d>(name: &str, target: &Node<'d>, args: &[Node<'d>]) -> Node<'d> {
    let first = args.first();
    let parsed = match first {
        Some(arg) if arg.kind.may_be_text() => traversal(arg.size()),
        _ => 0,
    };
    let cost = match name {
        "containsIP" => traversal(ADDRESS.plus(ADDRESS)).saturating_add(parsed),
        "containsCIDR" => {
            let compared = traversal(ADDRESS.plus(ADDRESS)) + traversal(ADDRESS) + 1;
            compared.saturating_add(parsed)
        }
        "validate" => {
            let read = first.map_or(0, |arg| traversal(arg.size()));
            scaled(read, FORMAT_PATTERN * PATTERN)
        }
        _ => 1,
    };
    Node::made(cost, accessor_kind(name, target, first))
}

fn accessor_kind<'d>(name: &str, target: &Node<'d>, first: Option<&Node<'d>>) -> Kind<'d> {
    match name {
        "asInteger" | "sign" | "compareTo" | "prefixLength" | "family" | "size" | "major"
        | "minor" | "patch" | "getDate" | "getDayOfMonth" | "getDayOfWeek" | "getDayOfYear"
        | "getFullYear" | "getHours" | "getMilliseconds" | "getMinutes" | "getMonth"
        | "getSeconds" => Kind::Int,
        "asApproximateFloat" => Kind::Double,
        "containsIP"
        | "containsCIDR"
        | "hasValue"
        | "isInteger"
        | "isGreaterThan"
        | "isLessThan"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast" => Kind::Bool,
        "charAt" | "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath"
        | "reverse" => Kind::Text,
        "getQuery" => Kind::map(Kind::Text, Kind::list(Kind::Text)),
        "ip" => Kind::Opaque(Opaque::Ip),
        "masked" | "add" | "sub" => target.kind.clone(),
        "or" => first.map_or(Kind::Dyn, |other| target.kind.join(&other.kind)),
        "validate" => Kind::optional(Kind::list(Kind::Text)),
        "value" => target.kind.inner(),
        "orValue" => {
            let inner = target.kind.inner();
            first.map_or(inner.clone(), |other| inner.join(&other.kind))
        }
        "unwrapOpt" => Kind::list(target.kind.item().inner()),
        _ => Kind::Dyn,
    }
}
