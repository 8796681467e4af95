//! Durations as Go writes them: `32s`, `1m30s`, `1.5h`.

use std::time::Duration;

/// Reads one; `None` where it is malformed or negative.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (unit, after) = [
            ("ns", 1e-9),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ms", 1e-3),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
        ]
        .into_iter()
        .find_map(|(name, unit)| Some((unit, rest[end..].strip_prefix(name)?)))?;
        seconds += number * unit;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("32s", Some(32.0)),
            ("1m30s", Some(90.0)),
            ("1.5h", Some(5400.0)),
            ("100ms", Some(0.1)),
            ("0", Some(0.0)),
            ("0s", Some(0.0)),
            ("", None),
            ("10", None),
            ("-1s", None),
            ("1x", None),
            ("1..5s", None),
            ("99999999999999999999999h", None),
        ] {
            assert_eq!(parse(text).map(|d| d.as_secs_f64()), seconds, "{text}");
        }
    }
}
