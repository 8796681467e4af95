//! What Go's decoders say of texts that are no time and no base64, to the letter.

/// A layout of `time.Parse`, piece by piece: its text, how many digits it takes, and the range.
const DATE: &[(&str, usize, u32, &str)] =
    &[("2006", 4, u32::MAX, ""), ("-", 0, 0, ""), ("01", 2, 12, "month"), ("-", 0, 0, "")];
const CLOCK: &[(&str, usize, u32, &str)] = &[
    ("T", 0, 0, ""),
    ("15", 2, 23, "hour"),
    (":", 0, 0, ""),
    ("04", 2, 59, "minute"),
    (":", 0, 0, ""),
    ("05", 2, 59, "second"),
];

/// Why a text is no time of RFC 3339; `micro`: with exactly six digits behind the seconds. Nothing
/// where it is one.
pub(super) fn time_problem(text: &str, micro: bool) -> Option<String> {
    let layout =
        if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    let problem = |what: &str| format!("parsing time {text:?}{what}");
    let cannot = |rest: &str, piece: &str| {
        problem(&format!(" as {layout:?}: cannot parse {rest:?} as {piece:?}"))
    };
    let mut rest = text;
    let mut numbers = Vec::new();
    let day = [("02", 2, 31, "day")];
    for (piece, digits, most, name) in DATE.iter().chain(&day).chain(CLOCK) {
        if *digits == 0 {
            match rest.strip_prefix(piece) {
                Some(behind) => rest = behind,
                None => return Some(cannot(rest, piece)),
            }
            continue;
        }
        let number = rest.get(..*digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = number.and_then(|digits| digits.parse::<u32>().ok()) else {
            return Some(cannot(rest, piece));
        };
        let least = u32::from(*name == "month");
        // How many days the month has is looked at when all is read.
        if *name != "day" && (number > *most || number < least) {
            return Some(problem(&format!(": {name} out of range")));
        }
        numbers.push(number);
        rest = &rest[*digits..];
    }
    if micro {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        match rest.get(..7).filter(|f| f.starts_with('.') && digits(&f[1..])) {
            Some(_) => rest = &rest[7..],
            None => return Some(cannot(rest, ".000000")),
        }
    } else if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            rest = &fraction[digits..];
        }
    }
    match rest.strip_prefix('Z') {
        Some(behind) => rest = behind,
        None => {
            let zone = rest.as_bytes();
            let shaped = zone.len() >= 6 && matches!(zone[0], b'+' | b'-') && zone[3] == b':';
            let number = |at: usize| rest.get(at..at + 2).and_then(|n| n.parse::<u32>().ok());
            match (number(1), number(4)) {
                (Some(hours), Some(minutes)) if shaped => {
                    if hours > 24 || minutes > 60 {
                        let what = if hours > 24 { "hour" } else { "minute" };
                        return Some(problem(&format!(": time zone offset {what} out of range")));
                    }
                    rest = &rest[6..];
                }
                _ => return Some(cannot(rest, "Z07:00")),
            }
        }
    }
    if !rest.is_empty() {
        return Some(problem(&format!(": extra text: {rest:?}")));
    }
    let &[year, month, day, ..] = numbers.as_slice() else { return None };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (day < 1 || day > days).then(|| problem(": day out of range"))
}

/// Where `base64.StdEncoding` stumbles; nothing where it does not.
pub(super) fn corrupt_at(text: &[u8]) -> Option<usize> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let is_break = |byte: u8| matches!(byte, b'\n' | b'\r');
    let mut at = 0;
    loop {
        // Four letters make a quantum.
        let mut have = 0;
        while have < 4 {
            let Some(byte) = text.get(at).copied() else {
                return (have > 0).then_some(at - have);
            };
            at += 1;
            if is_break(byte) {
                continue;
            }
            if is_letter(byte) {
                have += 1;
                continue;
            }
            if byte != b'=' || have < 2 {
                return Some(at - 1);
            }
            let breaks = |at: &mut usize| {
                while text.get(*at).copied().is_some_and(is_break) {
                    *at += 1;
                }
            };
            breaks(&mut at);
            if have == 2 {
                match text.get(at) {
                    None => return Some(text.len()),
                    Some(b'=') => at += 1,
                    Some(_) => return Some(at - 1),
                }
                breaks(&mut at);
            }
            return (at < text.len()).then_some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let layout = "\"2006-01-02T15:04:05Z07:00\"";
        for (text, micro, expected) in [
            ("2020-02-29T00:00:00Z", false, String::new()),
            ("2020-01-01T00:00:00.5+02:00", false, String::new()),
            ("2020-01-01T00:00:00.123456Z", true, String::new()),
            ("bad", false, format!(" as {layout}: cannot parse \"bad\" as \"2006\"")),
            ("2020-01-01", false, format!(" as {layout}: cannot parse \"\" as \"T\"")),
            ("2020-13-01T00:00:00Z", false, ": month out of range".into()),
            ("2021-02-29T00:00:00Z", false, ": day out of range".into()),
            ("2020-01-01T24:00:00Z", false, ": hour out of range".into()),
            ("2020-01-01T00:00:00Zx", false, ": extra text: \"x\"".into()),
            (
                "2020-01-01T00:00:00",
                false,
                format!(" as {layout}: cannot parse \"\" as \"Z07:00\""),
            ),
            (
                "2020-01-01T00:00:00Z",
                true,
                " as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\""
                    .into(),
            ),
        ] {
            let found = time_problem(text, micro).unwrap_or_default();
            let wanted = format!("parsing time {text:?}{expected}");
            assert_eq!(found, if expected.is_empty() { String::new() } else { wanted }, "{text}");
        }
    }

    #[test]
    fn base64() {
        for (text, at) in [
            ("", None),
            ("YWJj", None),
            ("YQ==", None),
            ("YQ=\n=", None),
            ("YW\nJj", None),
            ("x", Some(0)),
            ("YWJjx", Some(4)),
            ("!!", Some(0)),
            ("YW!j", Some(2)),
            ("YQ=", Some(3)),
            ("YQ=x", Some(2)),
            ("Y===", Some(1)),
            ("YQ==YQ==", Some(4)),
        ] {
            assert_eq!(corrupt_at(text.as_bytes()), at, "{text:?}");
        }
    }
}
