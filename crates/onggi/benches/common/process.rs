//! What processes use, from `/proc`.

use std::fs;

/// The clock of `/proc/PID/stat`, fixed by the kernel's interface (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Memory of a process in MiB, from `smaps_rollup`.
pub(crate) struct Memory {
    /// Proportional: shared pages divided by those who share them.
    pub(crate) pss: f64,
    /// Private: what would come back if it ended.
    pub(crate) private: f64,
    /// Private and of no file.
    pub(crate) anonymous: f64,
    /// All that is resident.
    pub(crate) rss: f64,
}

/// Its memory.
pub(crate) fn memory(pid: i32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let sum = |names: &[&str]| {
        let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        let kib = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.sum::<f64>() / 1024.0
    };
    Memory {
        pss: sum(&["Pss:"]),
        private: sum(&["Private_Clean:", "Private_Dirty:"]),
        anonymous: sum(&["Anonymous:"]),
        rss: sum(&["Rss:"]),
    }
}

/// The processor time of a process so far, in seconds, its own children left out.
pub(crate) fn cpu(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS
}

/// Processes whose arguments hold all of these texts.
pub(crate) fn with_arguments(texts: &[&str]) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let arguments = fs::read(entry.path().join("cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        texts.iter().all(|text| arguments.contains(text)).then_some(pid)
    })
    .collect()
}

/// How busy the machine was before this: the load average of the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}
