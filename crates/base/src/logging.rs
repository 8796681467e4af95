//! The process' own log.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Sends the log to standard error, or to a file. `ONGGI_LOG` chooses the level, in the manner of
/// `info,onggi_kubelet=debug`. Calling it twice does nothing the second time.
pub fn init(file: Option<std::fs::File>) {
    let filter = EnvFilter::try_from_env("ONGGI_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,hickory_server=warn,libcontainer=warn"));
    let ansi = file.is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let writer = match file {
        Some(file) => BoxMakeWriter::new(std::sync::Mutex::new(file)),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let already_set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(writer)
        // It would be told on standard error, which is the same full disk: that panics.
        .log_internal_errors(false)
        .try_init();
    if already_set.is_err() {
        tracing::debug!("the log was set up before");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::process::{Command, Stdio};

    /// Set for the process that logs to a disk without space.
    const CHILD: &str = "ONGGI_TEST_LOGS_TO_A_FULL_DISK";

    #[test]
    fn a_full_disk_loses_lines_and_stops_nobody() {
        if std::env::var_os(CHILD).is_some() {
            super::init(None);
            tracing::error!("lost");
            return;
        }
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["a_full_disk_loses_lines_and_stops_nobody", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(full)
            .status();
        assert!(status.unwrap().success());
    }
}
