//! The formats of texts that are checked (`kube-openapi/pkg/validation/strfmt`); others say
//! nothing.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use crate::validation::names;

const KNOWN: &[&str] = &[
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "date-time",
    "datetime",
    "double",
    "duration",
    "email",
    "float",
    "hexcolor",
    "hostname",
    "int32",
    "int64",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8s-long-name",
    "k8s-short-name",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// The format, where it is one that is checked.
pub(super) fn known(format: &str) -> Option<&'static str> {
    KNOWN.iter().find(|known| **known == format).copied()
}

macro_rules! pattern {
    ($text:expr, $pattern:literal) => {{
        static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
        PATTERN
            .get_or_init(|| Regex::new($pattern).ok())
            .as_ref()
            .is_some_and(|p| p.is_match($text))
    }};
}

/// Whether a text has the format.
pub fn matches(format: &str, text: &str) -> bool {
    match format {
        "bsonobjectid" => pattern!(text, "^[0-9a-fA-F]{24}$"),
        "byte" => STANDARD.decode(text).is_ok(),
        "cidr" => is_cidr(text),
        "date" => {
            pattern!(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
                && text.parse::<jiff::civil::Date>().is_ok()
        }
        "date-time" | "datetime" => is_date_time(text),
        "duration" => is_duration(text),
        "email" => pattern!(text, r"^[^@\s<>]+@[^@\s<>]+$"),
        "hexcolor" => pattern!(text, "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"),
        "rgbcolor" => pattern!(
            text,
            r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$"
        ),
        "hostname" => {
            text.len() <= 255
                && pattern!(
                    text,
                    r"^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$"
                )
        }
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "mac" => pattern!(
            text,
            "^(([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|([0-9a-fA-F]{4}[.]){2}[0-9a-fA-F]{4})$"
        ),
        "ssn" => pattern!(text, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$"),
        "creditcard" => pattern!(text, r"^[\d -]{12,23}$"),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "uri" => {
            pattern!(text, r"^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s]*$") || pattern!(text, r"^/[^\s]*$")
        }
        "uuid" => {
            pattern!(text, "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$")
        }
        "uuid3" => pattern!(
            text,
            "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$"
        ),
        "uuid4" => pattern!(
            text,
            "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$"
        ),
        "uuid5" => pattern!(
            text,
            "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$"
        ),
        "k8s-short-name" => names::dns1123_label(text).is_empty(),
        "k8s-long-name" => names::dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let bits = bits.parse::<u8>().ok().filter(|_| !bits.starts_with('+'));
    match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>(), bits) {
        (Ok(_), _, Some(bits)) => bits <= 32,
        (_, Ok(_), Some(bits)) => bits <= 128,
        _ => false,
    }
}

fn is_date_time(text: &str) -> bool {
    pattern!(text, r"(?i)^\d{4}-\d{2}-\d{2}t\d{2}:\d{2}:\d{2}([.,]\d+)?(z|[+-]\d{2}:?\d{2})?$")
        && jiff::civil::Date::strptime("%Y-%m-%d", &text[..10]).is_ok()
}

/// Go's durations, and the longer words of `strfmt`.
fn is_duration(text: &str) -> bool {
    pattern!(
        text,
        r"^[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*$"
    ) || pattern!(
        text,
        r"(?i)^\s*(\d+(\.\d+)?\s*(ns|nanos?|us|micros?|ms|millis?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|hrs?|d|days?|w|weeks?|wks?)\s*)+$"
    )
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| if c == 'X' { Some(10) } else { c.to_digit(10) }).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 10
        && (1..).zip(&digits).map(|(weight, digit)| weight * digit).sum::<u32>() % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 13
        && digits
            .iter()
            .enumerate()
            .map(|(at, d)| if at % 2 == 0 { *d } else { 3 * d })
            .sum::<u32>()
            % 10
            == 0
}
