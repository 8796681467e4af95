//! Starting a shim.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use onggi_node_api::RuntimeError;

use super::client::{Event, Shim};
use super::{Runtime, at, failed};
use crate::protocol::State;
use crate::spec::SandboxSpec;

/// What shims say on standard error; in the sandbox's directory.
const LOG: &str = "shim.log";

impl Runtime {
    /// Starts a shim and waits until it holds its namespaces.
    pub(super) async fn launch(
        &self,
        spec: &SandboxSpec,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<(Shim, State), RuntimeError> {
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let log = spec.dir.join(LOG);
        let errors = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let binary = &self.options.shim_binary;
        let program = match &self.program {
            Some(fd) => Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string()),
            None => binary.clone(),
        };
        let mut child = tokio::process::Command::new(program)
            .arg0(binary)
            .args(&self.options.shim_arguments)
            .arg(&spec.id)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(errors.map_err(at(&log))?)
            .spawn()
            .map_err(at(binary))?;
        let connected = Shim::connect(ours, Some(spec), on_event).await;
        // It forks and ends at once; the shim itself is nobody's child.
        let status = child.wait().await.map_err(at(binary))?;
        connected.map_err(|error| {
            if status.success() {
                return error;
            }
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            failed(format!("shim did not start ({status}): {}", said.trim()))
        })
    }
}
