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
        .try_init();
    if already_set.is_err() {
        tracing::debug!("the log was set up before");
    }
}
