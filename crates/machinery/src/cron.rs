//! Schedules of CronJobs: five fields, or a descriptor such as `@daily`, read as the Go library
//! `robfig/cron` does, with its words where one cannot be read.

use std::num::ParseIntError;

/// The minutes at which something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// In these minutes, hours, days of the month, months and days of the week.
    Times(Times),
    /// Again and again, this many seconds apart.
    Every(u64),
}

/// Five sets of numbers, a bit each; [`STAR`] is set where everything was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// 0 to 59.
    pub minutes: u64,
    /// 0 to 23.
    pub hours: u64,
    /// 1 to 31.
    pub days: u64,
    /// 1 to 12.
    pub months: u64,
    /// 0 (Sunday) to 6.
    pub weekdays: u64,
}

/// The field was `*` or `?`: of day and weekday one star gives way to the other field.
pub const STAR: u64 = 1 << 63;

/// Whether the IANA database, which is part of the program, has a zone of this name.
pub fn is_time_zone(name: &str) -> bool {
    // The look-up takes any case, the name of a file on other systems only the right one.
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(name);
    zone.is_ok_and(|zone| zone.iana_name() == Some(name))
}

struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Field = Field { min: 0, max: 59, names: &[] };
const HOURS: Field = Field { min: 0, max: 23, names: &[] };
const DAYS: Field = Field { min: 1, max: 31, names: &[] };
const MONTHS: Field = Field {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Field =
    Field { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// Reads a schedule without a time zone.
pub fn parse(text: &str) -> Result<Schedule, String> {
    if text.is_empty() {
        return Err("empty spec string".to_owned());
    }
    if text.starts_with('@') {
        return descriptor(text);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = fields[..] else {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    };
    Ok(Schedule::Times(Times {
        minutes: field(minutes, &MINUTES)?,
        hours: field(hours, &HOURS)?,
        days: field(days, &DAYS)?,
        months: field(months, &MONTHS)?,
        weekdays: field(weekdays, &WEEKDAYS)?,
    }))
}

fn descriptor(text: &str) -> Result<Schedule, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(duration) = text.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {text}"));
            };
            let seconds = duration_seconds(duration)
                .map_err(|why| format!("failed to parse duration {text}: {why}"))?;
            return Ok(Schedule::Every(seconds.max(1)));
        }
    };
    parse(fields)
}

/// Seconds of a Go duration such as `1h30m`.
fn duration_seconds(text: &str) -> Result<u64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut seconds = 0.0;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| format!("time: missing unit in duration {text:?}"))?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        seconds += number * unit;
        rest = &rest[end..];
    }
    // Go's durations end after 292 years; a number beyond is no plan.
    if seconds > 9.0e9 { Err(invalid()) } else { Ok(seconds as u64) }
}

/// A list of ranges, as bits.
fn field(text: &str, field: &Field) -> Result<u64, String> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| range(part, field)).try_fold(0, |all, bits| Ok(all | bits?))
}

/// `*`, `5`, `1-5`, `*/10`, `3-20/5`.
fn range(text: &str, field: &Field) -> Result<u64, String> {
    let (span, step) = match text.split_once('/') {
        None => (text, None),
        Some((_, step)) if step.contains('/') => return Err(format!("too many slashes: {text}")),
        Some((span, step)) => (span, Some(number(step)?)),
    };
    let (low, high) = match span.split_once('-') {
        None => (span, None),
        Some((_, high)) if high.contains('-') => return Err(format!("too many hyphens: {text}")),
        Some((low, high)) => (low, Some(high)),
    };
    let mut star = 0;
    let (start, mut end) = if matches!(low, "*" | "?") {
        star = STAR;
        (field.min, field.max)
    } else {
        let start = number_or_name(low, field.names)?;
        let end = high.map_or(Ok(start), |high| number_or_name(high, field.names))?;
        (start, end)
    };
    let step = match step {
        None => 1,
        Some(step) => {
            // `N/step` means `N-max/step`.
            if high.is_none() {
                end = field.max;
            }
            if step > 1 {
                star = 0;
            }
            step
        }
    };
    if start < field.min {
        let min = field.min;
        return Err(format!("beginning of range ({start}) below minimum ({min}): {text}"));
    }
    if end > field.max {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", field.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    Ok((start..=end).step_by(step).fold(star, |bits, at| bits | 1 << at))
}

fn number_or_name(text: &str, names: &[&str]) -> Result<u32, String> {
    let lower = text.to_lowercase();
    match names.iter().position(|name| *name == lower) {
        // Months count from one, days of the week from zero.
        Some(at) => Ok(u32::try_from(at).unwrap_or(0) + u32::from(names.len() == 12)),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    let parsed: Result<i64, ParseIntError> = text.parse();
    let number = parsed.map_err(|_| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str) -> Times {
        match parse(text) {
            Ok(Schedule::Times(times)) => times,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn schedules() {
        let all = times("*/15 0-6,22 1,15 JAN-mar MON");
        assert_eq!(all.minutes, 1 | 1 << 15 | 1 << 30 | 1 << 45);
        assert_eq!(all.hours, 0b111_1111 | 1 << 22);
        assert_eq!((all.days, all.months), (1 << 1 | 1 << 15, 0b1110));
        assert_eq!(all.weekdays, 0b10);
        assert_eq!(times("@hourly"), times("0 * * * *"));
        assert_eq!(times("0 0 * * *").days & STAR, STAR);
        assert_eq!(times("0 20/2 * * *").hours, 1 << 20 | 1 << 22);
        assert_eq!(parse("@every 1h30m"), Ok(Schedule::Every(5400)));
    }

    #[test]
    fn zones() {
        assert!(["UTC", "Asia/Seoul", "Etc/UTC"].into_iter().all(is_time_zone));
        assert!(!["", "asia/seoul", "Mars/Base"].into_iter().any(is_time_zone));
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            (
                "x * * * *",
                "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            ("@never", "unrecognized descriptor: @never"),
            (
                "@every 1x",
                "failed to parse duration @every 1x: time: unknown unit \"x\" in duration \"1x\"",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
    }
}
