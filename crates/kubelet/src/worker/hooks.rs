//! `lifecycle`: postStart and preStop, by command, by HTTP, or a sleep.

use std::net::IpAddr;
use std::time::Duration;

use onggi_api::core::{Container, LifecycleHandler};

use crate::context::Context;
use crate::pod::Pod;
use crate::probe::{Target, http};

/// An HTTP hook that does not answer is given up after this.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a hook to its end. `id`: the container; `ips`: the pod's.
pub(super) async fn run(
    context: &Context,
    pod: &Pod,
    container: &Container,
    id: &str,
    handler: &LifecycleHandler,
    ips: &[IpAddr],
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        let output =
            context.runtime.exec_sync(id, command, 0).await.map_err(|error| error.to_string())?;
        return match output.exit_code {
            0 => Ok(()),
            code => {
                let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(format!("the command ended with exit code {code}: {text}"))
            }
        };
    }
    if let Some(get) = &handler.http_get {
        let target = Target::new(context, pod, container, id, ips);
        let answer = http::get(&context.prober, &target, get, HTTP_TIMEOUT).await?;
        return if answer.status < 400 {
            Ok(())
        } else {
            Err(format!("HTTP status {}", answer.status))
        };
    }
    if let Some(sleep) = &handler.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    Ok(())
}
