//! Full logs: their names, and which of them are too old or too many. Pure.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp, Zoned, civil::DateTime, tz::TimeZone};

/// What two names differ in at the least.
pub(super) const STEP: SignedDuration = SignedDuration::from_millis(1);

const FORMAT: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// 0 means no limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_age_days: u32,
    pub(super) max_backups: u32,
}

/// `audit-2026-01-02T03-04-05.678.log` beside `audit.log`: the names that kube-apiserver gives.
pub(super) fn backup(path: &Path, time: Timestamp) -> PathBuf {
    let (before, after) = around(path);
    path.with_file_name(format!("{before}{}{after}", time.strftime(FORMAT)))
}

/// What stands before and behind the time.
fn around(path: &Path) -> (String, String) {
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = text(path.extension());
    let after = if extension.is_empty() { extension } else { format!(".{extension}") };
    (format!("{}-", text(path.file_stem())), after)
}

fn time(name: &str, (before, after): (&str, &str)) -> Option<Timestamp> {
    let text = name.strip_prefix(before)?.strip_suffix(after)?;
    let time = DateTime::strptime(FORMAT, text).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|time: Zoned| time.timestamp())
}

/// The names, of those in the log's directory, that are to be removed.
pub(super) fn surplus<'n>(
    path: &Path,
    names: &'n [String],
    limits: Limits,
    now: Timestamp,
) -> Vec<&'n str> {
    let (before, after) = around(path);
    let mut backups: Vec<(Timestamp, &str)> = names
        .iter()
        .filter_map(|name| Some((time(name, (&before, &after))?, name.as_str())))
        .collect();
    backups.sort_unstable_by(|one, other| other.cmp(one));
    let oldest = SignedDuration::from_hours(24 * i64::from(limits.max_age_days));
    let surplus = backups.iter().enumerate().filter(|(at, (time, _))| {
        let many = limits.max_backups > 0 && *at >= limits.max_backups as usize;
        many || limits.max_age_days > 0 && now.duration_since(*time) > oldest
    });
    surplus.map(|(_, (_, name))| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_goes() {
        let path = Path::new("/var/log/audit.log");
        let now: Timestamp = "2026-01-10T00:00:00.1234Z".parse().unwrap();
        let name = backup(path, now);
        assert_eq!(name, Path::new("/var/log/audit-2026-01-10T00-00-00.123.log"));
        assert_eq!(backup(Path::new("a"), now), Path::new("a-2026-01-10T00-00-00.123"));
        let names = [
            "audit.log",
            "audit-2026-01-09T00-00-00.000.log",
            "audit-2026-01-01T00-00-00.000.log",
            "audit-2026-01-07T23-00-00.000.log",
            "audit-2026-01-08T01-00-00.000.log",
            "audit-notes.log",
            "other-2020-01-01T00-00-00.000.log",
            "audit-2020-01-01T00-00-00.000.txt",
        ]
        .map(str::to_owned);
        let gone = |max_age_days, max_backups| {
            surplus(path, &names, Limits { max_age_days, max_backups }, now)
        };
        let (first, second) =
            ("audit-2026-01-01T00-00-00.000.log", "audit-2026-01-07T23-00-00.000.log");
        assert_eq!(gone(0, 0), Vec::<&str>::new());
        assert_eq!(gone(2, 0), [second, first]);
        assert_eq!(gone(0, 3), [first]);
        assert_eq!(gone(2, 3), [second, first]);
    }
}
