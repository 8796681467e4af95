//! `exec`: a command in the container; healthy when it ends with 0.

use std::time::Duration;

use async_trait::async_trait;
use onggi_api::core::Probe;
use onggi_node_api::RuntimeError;

use super::{ProbeType, Target};

pub(super) struct Exec;

#[async_trait]
impl ProbeType for Exec {
    fn handles(&self, probe: &Probe) -> bool {
        probe.exec.is_some()
    }

    async fn look(&self, target: &Target, probe: &Probe, timeout: Duration) -> Result<(), String> {
        let command = probe.exec.as_ref().and_then(|exec| exec.command.clone()).unwrap_or_default();
        let text = format!("{:?}", command.join(" "));
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        match target.runtime.exec_sync(&target.container, command, millis).await {
            Ok(output) if output.exit_code == 0 => Ok(()),
            Ok(output) => {
                let mut said = output.stdout;
                said.extend(output.stderr);
                Err(String::from_utf8_lossy(&said).trim_end().to_owned())
            }
            Err(RuntimeError::Timeout(_)) => {
                Err(format!("command timed out: {text} timed out after {}s", timeout.as_secs()))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
