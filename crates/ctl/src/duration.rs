//! Durations as Go writes them.

use std::time::Duration;

/// Reads `90s`, `1h30m`, `500ms`, `1.5h`; a bare number is seconds. Negative ones, which mean "as
/// long as it takes" for kubectl, become a week.
pub fn parse(text: &str) -> Result<Duration, String> {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
    if let Some(rest) = text.strip_prefix('-') {
        return parse(rest)
            .map(|_| WEEK)
            .map_err(|why| why.replace(&format!("{rest:?}"), &format!("{text:?}")));
    }
    let wrong = || format!("time: invalid duration {text:?}");
    let seconds = |number: &str| number.parse::<f64>().map_err(|_| wrong());
    let mut rest = text;
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = seconds(&rest[..end])?;
        let after = &rest[end..];
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let factor = match &after[..unit_end] {
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            "s" | "" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += number * factor;
        rest = &after[unit_end..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| wrong())
}

/// As Go prints it: `1m30s`, `500ms`, `0s`.
pub fn spelled(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match duration.as_millis() {
            0 => "0s".to_owned(),
            millis => format!("{millis}ms"),
        };
    }
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match duration.subsec_millis() {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    match (hours, minutes) {
        (0, 0) => format!("{rest}{fraction}s"),
        (0, minutes) => format!("{minutes}m{rest}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("5", 5000),
            ("0", 0),
            ("1.5s", 1500),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (millis, text) in
            [(0, "0s"), (500, "500ms"), (90_500, "1m30.5s"), (3_600_000, "1h0m0s")]
        {
            assert_eq!(spelled(Duration::from_millis(millis)), text);
        }
        assert!(parse("-1s").is_ok_and(|d| d.as_secs() > 1000));
        for (text, said) in [
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("-1x", "time: unknown unit \"x\" in duration \"-1x\""),
            ("-", "time: invalid duration \"-\""),
        ] {
            assert_eq!(parse(text), Err(said.to_owned()), "{text}");
        }
        for text in ["", "x", "5x", "1e400h", "s", "-", "-1x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
