//! Named tasks that begin together and end together.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tells tasks to end. `shutdown.cancelled().await` waits for it.
pub type Shutdown = CancellationToken;

/// The tasks of a process. One that fails or panics ends all: half a node is worse than none, and
/// the service manager starts the whole again.
pub struct Tasks {
    shutdown: Shutdown,
    running: JoinSet<Ended>,
}

struct Ended {
    name: Arc<str>,
    result: Result<(), String>,
}

/// A task ended before it was told to.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{name}: {message}")]
pub struct TaskFailed {
    /// The task.
    pub name: String,
    /// Its error.
    pub message: String,
}

impl Tasks {
    /// With the token that ends them.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, running: JoinSet::new() }
    }

    /// The token that ends them.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Starts a task that runs until the shutdown it is given.
    pub fn spawn<F, Fut, E>(&mut self, name: &str, start: F)
    where
        F: FnOnce(Shutdown) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let name: Arc<str> = name.into();
        let work = tokio::spawn(start(self.shutdown.clone()));
        self.running.spawn(async move {
            let result = match work.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(join) => Err(format!("panicked: {join}")),
            };
            Ended { name, result }
        });
    }

    /// Waits until the shutdown, or until a task ends too early, which shuts the rest down. Then
    /// gives the others `grace` to end.
    pub async fn run(mut self, grace: Duration) -> Result<(), TaskFailed> {
        let mut failed = None;
        while failed.is_none() {
            let ended = tokio::select! {
                () = self.shutdown.cancelled() => break,
                ended = self.running.join_next() => ended,
            };
            let Some(ended) = ended else { break };
            failed = failure(ended, self.shutdown.is_cancelled());
        }
        self.shutdown.cancel();
        let rest = async {
            while let Some(ended) = self.running.join_next().await {
                failed = failed.take().or_else(|| failure(ended, true));
            }
        };
        if tokio::time::timeout(grace, rest).await.is_err() {
            tracing::warn!(?grace, "some tasks did not end in time");
        }
        failed.map_or(Ok(()), Err)
    }
}

fn failure(ended: Result<Ended, tokio::task::JoinError>, was_told: bool) -> Option<TaskFailed> {
    let failed = match ended {
        Ok(Ended { name, result: Err(message) }) => TaskFailed { name: name.to_string(), message },
        Ok(Ended { name, result: Ok(()) }) if !was_told => {
            TaskFailed { name: name.to_string(), message: "ended without being told to".into() }
        }
        Ok(_) => return None,
        Err(join) => TaskFailed { name: "task".into(), message: join.to_string() },
    };
    tracing::error!(task = %failed.name, error = %failed.message, "task failed");
    Some(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_failure_ends_all() {
        let mut tasks = Tasks::new(Shutdown::new());
        tasks.spawn("waits", |shutdown| async move {
            shutdown.cancelled().await;
            Ok::<_, String>(())
        });
        tasks.spawn("fails", |_| async { Err("no disk") });
        let failed = tasks.run(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(failed.to_string(), "fails: no disk");
    }

    #[tokio::test]
    async fn a_shutdown_is_no_failure() {
        let shutdown = Shutdown::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("waits", |shutdown| async move {
            shutdown.cancelled().await;
            Ok::<_, String>(())
        });
        shutdown.cancel();
        assert_eq!(tasks.run(Duration::from_secs(5)).await, Ok(()));
    }
}
