//! The functions of the language and of Kubernetes' libraries (`apiserver/pkg/cel/environment`):
//! what they take and give.
//!
//! `string.(int) string` is a method of a string; single capital letters stand for any type.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::Type;

/// One way to call a function.
pub(super) struct Overload {
    pub(super) is_method: bool,
    /// The target first, where there is one.
    pub(super) takes: Vec<Type<'static>>,
    pub(super) gives: Type<'static>,
    /// How many letters there are.
    pub(super) letters: usize,
}

const ORDERED: &str = "(bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; \
     (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; \
     (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; \
     (timestamp, timestamp) bool; (duration, duration) bool";
const NUMBERS: &str = "(double, double) double; (int, int) int; (uint, uint) uint";
const OF_TIME: &str = "timestamp.() int; timestamp.(string) int";
const OF_DURATION: &str = "timestamp.() int; timestamp.(string) int; duration.() int";
const SORTED: &str = "list(int).() bool; list(uint).() bool; list(double).() bool; \
     list(bool).() bool; list(duration).() bool; list(timestamp).() bool; list(string).() bool; \
     list(bytes).() bool";
const SORT: &str = "list(int).() list(int); list(uint).() list(uint); list(double).() list(double); \
     list(bool).() list(bool); list(duration).() list(duration); \
     list(timestamp).() list(timestamp); list(string).() list(string); list(bytes).() list(bytes)";
const SUM: &str = "list(int).() int; list(uint).() uint; list(double).() double; \
     list(duration).() duration";
const EXTREME: &str = "list(int).() int; list(uint).() uint; list(double).() double; \
     list(bool).() bool; list(duration).() duration; list(timestamp).() timestamp; \
     list(string).() string; list(bytes).() bytes";
const PLACE: &str = "string.(string) int; string.(string, int) int; list(A).(A) int";
const TO_TEXT: &str = "string.() string";
const SETS: &str = "(list(A), list(A)) bool";
const GREATER: &str = "kubernetes.Quantity.(kubernetes.Quantity) bool; \
     kubernetes.Semver.(kubernetes.Semver) bool";
const SUMS: &str = "kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity; \
     kubernetes.Quantity.(int) kubernetes.Quantity";
const PART: &str = "kubernetes.Semver.() int";
const OF_IP: &str = "net.IP.() bool";
const OF_URL: &str = "kubernetes.URL.() string";
const OF_CHECK: &str = "kubernetes.authorization.ResourceCheck.(string) \
     kubernetes.authorization.ResourceCheck";
const FORMAT: &str = "() kubernetes.NamedFormat";

const TABLE: &[(&str, &str)] = &[
    // Operators.
    ("_?_:_", "(bool, A, A) A"),
    ("!_", "(bool) bool"),
    ("-_", "(int) int; (double) double"),
    ("_==_", "(A, A) bool"),
    ("_!=_", "(A, A) bool"),
    ("_<_", ORDERED),
    ("_<=_", ORDERED),
    ("_>_", ORDERED),
    ("_>=_", ORDERED),
    (
        "_+_",
        "(bytes, bytes) bytes; (double, double) double; (duration, duration) duration; \
         (duration, timestamp) timestamp; (int, int) int; (list(A), list(A)) list(A); \
         (string, string) string; (timestamp, duration) timestamp; (uint, uint) uint",
    ),
    (
        "_-_",
        "(double, double) double; (duration, duration) duration; (int, int) int; \
         (timestamp, duration) timestamp; (timestamp, timestamp) duration; (uint, uint) uint",
    ),
    ("_*_", NUMBERS),
    ("_/_", NUMBERS),
    ("_%_", "(int, int) int; (uint, uint) uint"),
    ("@in", "(A, list(A)) bool; (A, map(A, B)) bool"),
    (
        "_[_]",
        "(list(A), int) A; (map(A, B), A) B; (optional(list(A)), int) optional(A); \
         (optional(map(A, B)), A) optional(B)",
    ),
    (
        "_[?_]",
        "(list(A), int) optional(A); (optional(list(A)), int) optional(A); \
         (map(A, B), A) optional(B); (optional(map(A, B)), A) optional(B)",
    ),
    // Conversions.
    ("bool", "(bool) bool; (string) bool"),
    ("bytes", "(bytes) bytes; (string) bytes"),
    ("double", "(double) double; (int) double; (string) double; (uint) double"),
    ("duration", "(duration) duration; (string) duration"),
    ("dyn", "(A) dyn"),
    ("int", "(int) int; (double) int; (string) int; (timestamp) int; (uint) int"),
    (
        "string",
        "(string) string; (bool) string; (bytes) string; (double) string; (duration) string; \
         (int) string; (timestamp) string; (uint) string; (net.IP) string; (net.CIDR) string",
    ),
    ("timestamp", "(timestamp) timestamp; (int) timestamp; (string) timestamp"),
    ("type", "(A) type"),
    ("uint", "(uint) uint; (double) uint; (int) uint; (string) uint"),
    // Texts.
    (
        "size",
        "(string) int; (bytes) int; (list(A)) int; (map(A, B)) int; string.() int; bytes.() int; \
         list(A).() int; map(A, B).() int",
    ),
    ("contains", "string.(string) bool"),
    ("endsWith", "string.(string) bool"),
    ("startsWith", "string.(string) bool"),
    ("matches", "(string, string) bool; string.(string) bool"),
    ("charAt", "string.(int) string"),
    ("find", "string.(string) string"),
    ("findAll", "string.(string) list(string); string.(string, int) list(string)"),
    ("format", "string.(list(dyn)) string"),
    ("indexOf", PLACE),
    ("lastIndexOf", PLACE),
    ("join", "list(string).() string; list(string).(string) string"),
    ("lowerAscii", TO_TEXT),
    ("upperAscii", TO_TEXT),
    ("trim", TO_TEXT),
    ("replace", "string.(string, string) string; string.(string, string, int) string"),
    ("split", "string.(string) list(string); string.(string, int) list(string)"),
    ("substring", "string.(int) string; string.(int, int) string"),
    ("strings.quote", "(string) string"),
    // Lists.
    ("distinct", "list(A).() list(A)"),
    ("first", "list(A).() optional(A)"),
    ("flatten", "list(list(A)).() list(A); list(dyn).(int) list(dyn)"),
    ("isSorted", SORTED),
    ("last", "list(A).() optional(A)"),
    ("lists.range", "(int) list(int)"),
    ("max", EXTREME),
    ("min", EXTREME),
    ("reverse", "list(A).() list(A)"),
    ("slice", "list(A).(int, int) list(A)"),
    ("sort", SORT),
    ("sum", SUM),
    ("sets.contains", SETS),
    ("sets.equivalent", SETS),
    ("sets.intersects", SETS),
    // Optionals.
    ("hasValue", "optional(A).() bool"),
    ("or", "optional(A).(optional(A)) optional(A)"),
    ("orValue", "optional(A).(A) A"),
    ("optional.none", "() optional(A)"),
    ("optional.of", "(A) optional(A)"),
    ("optional.ofNonZeroValue", "(A) optional(A)"),
    ("optional.unwrap", "(list(optional(A))) list(A)"),
    ("unwrapOpt", "list(optional(A)).() list(A)"),
    ("value", "optional(A).() A"),
    // Times.
    ("getDate", OF_TIME),
    ("getDayOfMonth", OF_TIME),
    ("getDayOfWeek", OF_TIME),
    ("getDayOfYear", OF_TIME),
    ("getFullYear", OF_TIME),
    ("getMonth", OF_TIME),
    ("getHours", OF_DURATION),
    ("getMilliseconds", OF_DURATION),
    ("getMinutes", OF_DURATION),
    ("getSeconds", OF_DURATION),
    // Quantities and versions.
    ("quantity", "(string) kubernetes.Quantity"),
    ("isQuantity", "(string) bool"),
    ("semver", "(string) kubernetes.Semver; (string, bool) kubernetes.Semver"),
    ("isSemver", "(string) bool; (string, bool) bool"),
    ("isGreaterThan", GREATER),
    ("isLessThan", GREATER),
    (
        "compareTo",
        "kubernetes.Quantity.(kubernetes.Quantity) int; \
         kubernetes.Semver.(kubernetes.Semver) int",
    ),
    ("add", SUMS),
    ("sub", SUMS),
    ("asApproximateFloat", "kubernetes.Quantity.() double"),
    ("asInteger", "kubernetes.Quantity.() int"),
    ("isInteger", "kubernetes.Quantity.() bool"),
    ("sign", "kubernetes.Quantity.() int"),
    ("major", PART),
    ("minor", PART),
    ("patch", PART),
    // Addresses.
    ("ip", "(string) net.IP; net.CIDR.() net.IP"),
    ("isIP", "(string) bool"),
    ("ip.isCanonical", "(string) bool"),
    ("family", "net.IP.() int"),
    ("isGlobalUnicast", OF_IP),
    ("isLinkLocalMulticast", OF_IP),
    ("isLinkLocalUnicast", OF_IP),
    ("isLoopback", OF_IP),
    ("isUnspecified", OF_IP),
    ("cidr", "(string) net.CIDR"),
    ("isCIDR", "(string) bool"),
    ("containsIP", "net.CIDR.(string) bool; net.CIDR.(net.IP) bool"),
    ("containsCIDR", "net.CIDR.(string) bool; net.CIDR.(net.CIDR) bool"),
    ("masked", "net.CIDR.() net.CIDR"),
    ("prefixLength", "net.CIDR.() int"),
    ("url", "(string) kubernetes.URL"),
    ("isURL", "(string) bool"),
    ("getEscapedPath", OF_URL),
    ("getHost", OF_URL),
    ("getHostname", OF_URL),
    ("getPort", OF_URL),
    ("getQuery", "kubernetes.URL.() map(string, list(string))"),
    ("getScheme", OF_URL),
    // Formats.
    ("format.named", "(string) optional(kubernetes.NamedFormat)"),
    ("format.byte", FORMAT),
    ("format.date", FORMAT),
    ("format.datetime", FORMAT),
    ("format.dns1035Label", FORMAT),
    ("format.dns1035LabelPrefix", FORMAT),
    ("format.dns1123Label", FORMAT),
    ("format.dns1123LabelPrefix", FORMAT),
    ("format.dns1123Subdomain", FORMAT),
    ("format.dns1123SubdomainPrefix", FORMAT),
    ("format.labelValue", FORMAT),
    ("format.qualifiedName", FORMAT),
    ("format.uri", FORMAT),
    ("format.uuid", FORMAT),
    ("validate", "kubernetes.NamedFormat.(string) optional(list(string))"),
    // Who may.
    (
        "serviceAccount",
        "kubernetes.authorization.Authorizer.(string, string) \
         kubernetes.authorization.Authorizer",
    ),
    ("path", "kubernetes.authorization.Authorizer.(string) kubernetes.authorization.PathCheck"),
    ("group", "kubernetes.authorization.Authorizer.(string) kubernetes.authorization.GroupCheck"),
    (
        "resource",
        "kubernetes.authorization.GroupCheck.(string) kubernetes.authorization.ResourceCheck",
    ),
    ("subresource", OF_CHECK),
    ("namespace", OF_CHECK),
    ("name", OF_CHECK),
    ("fieldSelector", OF_CHECK),
    ("labelSelector", OF_CHECK),
    (
        "check",
        "kubernetes.authorization.PathCheck.(string) kubernetes.authorization.Decision; \
         kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.Decision",
    ),
    ("allowed", "kubernetes.authorization.Decision.() bool"),
    ("errored", "kubernetes.authorization.Decision.() bool"),
    ("error", "kubernetes.authorization.Decision.() string"),
    ("reason", "kubernetes.authorization.Decision.() string"),
    // Of mutations alone.
    ("jsonpatch.escapeKey", "(string) string"),
];

/// All ways to call a function; none where there is no such function.
pub(super) fn of(name: &str) -> &'static [Overload] {
    static READ: OnceLock<HashMap<&'static str, Vec<Overload>>> = OnceLock::new();
    let all = READ.get_or_init(|| {
        TABLE.iter().map(|(name, ways)| (*name, ways.split("; ").map(overload).collect())).collect()
    });
    all.get(name).map_or(&[], Vec::as_slice)
}

/// `string.(int) string`.
fn overload(text: &'static str) -> Overload {
    let (target, rest) = if text.starts_with('(') {
        ("", text.strip_prefix('(').unwrap_or_default())
    } else {
        text.split_once(".(").unwrap_or((text, ""))
    };
    let close = closing(rest);
    let (args, gives) = rest.split_at(close);
    let mut letters = 0;
    let mut takes = Vec::new();
    if !target.is_empty() {
        takes.push(parse(target, &mut letters));
    }
    takes.extend(parts(args).map(|part| parse(part, &mut letters)));
    let gives = parse(gives.trim_start_matches(')'), &mut letters);
    Overload { is_method: !target.is_empty(), takes, gives, letters }
}

/// The place of the bracket that closes.
fn closing(text: &str) -> usize {
    let mut depth = 0_i32;
    let at = text.find(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth < 0
    });
    at.unwrap_or(text.len())
}

/// What commas separate, outside of brackets.
fn parts(text: &'static str) -> impl Iterator<Item = &'static str> {
    let mut depth = 0_i32;
    let cut = move |c: char| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    };
    text.split(cut).map(str::trim).filter(|part| !part.is_empty())
}

/// A type in CEL's notation.
pub(super) fn read(text: &'static str) -> Type<'static> {
    parse(text, &mut 0)
}

fn parse(text: &'static str, letters: &mut usize) -> Type<'static> {
    let text = text.trim();
    if let Some((holder, inner)) = text.split_once('(') {
        let mut inner = parts(inner.strip_suffix(')').unwrap_or(inner));
        let mut next = || inner.next().map_or(Type::Dyn, |part| parse(part, letters));
        return match holder {
            "list" => Type::list(next()),
            "map" => {
                let key = next();
                Type::map(key, next())
            }
            _ => Type::optional(next()),
        };
    }
    match text.as_bytes() {
        [letter @ b'A'..=b'Z'] => {
            let at = usize::from(letter - b'A');
            *letters = (*letters).max(at + 1);
            Type::Param(at)
        }
        b"dyn" => Type::Dyn,
        _ => Type::Named(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_read() {
        let mut seen = std::collections::HashSet::new();
        for (name, ways) in TABLE {
            assert!(seen.insert(*name), "{name}");
            for (read, text) in of(name).iter().zip(ways.split("; ")) {
                let shown = |ty: &Type<'_>| match ty {
                    Type::Param(at) => char::from(b'A' + u8::try_from(*at).unwrap()).to_string(),
                    other => other.shown(),
                };
                assert!(
                    text.ends_with(&*shown(&read.gives).replace("optional_type", "optional"))
                        || read.letters > 0,
                    "{name}: {text}"
                );
                assert_eq!(read.is_method, !text.starts_with('('), "{name}: {text}");
            }
        }
        let [by_list, ..] = of("@in") else { panic!() };
        assert!(matches!(&by_list.takes[..], [Type::Param(0), Type::List(_)]));
        assert_eq!(of("_?_:_")[0].takes.len(), 3);
        assert_eq!(of("nothing").len(), 0);
    }

    #[test]
    fn every_format_has_a_function() {
        for name in crate::cel::format::NAMES {
            assert_eq!(of(&format!("format.{name}")).len(), 1, "{name}");
        }
    }
}
