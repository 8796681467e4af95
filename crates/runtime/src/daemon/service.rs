//! `RuntimeService` on `Runtime`.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use onggi_node_api::{
    ContainerConfig, ContainerStats, ContainerStatus, ExecIo, ExecOutput, PodSandbox,
    PodSandboxConfig, RuntimeError, RuntimeEvent, RuntimeService, Stream,
};
use tokio::sync::broadcast::error::RecvError;

use super::Runtime;
use super::sandbox::Phase;

#[async_trait]
impl RuntimeService for Runtime {
    async fn run_pod_sandbox(&self, config: PodSandboxConfig) -> Result<String, RuntimeError> {
        self.run_sandbox(config).await
    }

    async fn stop_pod_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        self.stop_sandbox(sandbox).await
    }

    async fn remove_pod_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        self.remove_sandbox(sandbox).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<PodSandbox>, RuntimeError> {
        let sandboxes = self.sandboxes.lock();
        let known = sandboxes.values().filter(|sandbox| sandbox.phase() != Phase::Making);
        Ok(known.map(|sandbox| sandbox.status()).collect())
    }

    async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
    ) -> Result<String, RuntimeError> {
        self.create(sandbox, config).await
    }

    async fn start_container(&self, container: &str) -> Result<(), RuntimeError> {
        self.start(container).await
    }

    async fn stop_container(
        &self,
        container: &str,
        grace_seconds: u64,
    ) -> Result<(), RuntimeError> {
        self.stop(container, Duration::from_secs(grace_seconds)).await
    }

    async fn remove_container(&self, container: &str) -> Result<(), RuntimeError> {
        self.remove(container).await
    }

    async fn list_containers(&self) -> Result<Vec<ContainerStatus>, RuntimeError> {
        let containers: Vec<_> = self.containers.lock().values().cloned().collect();
        Ok(containers.iter().map(|container| container.status()).collect())
    }

    async fn container_status(&self, container: &str) -> Result<ContainerStatus, RuntimeError> {
        Ok(self.container(container)?.status())
    }

    async fn exec_sync(
        &self,
        container: &str,
        command: Vec<String>,
        timeout_ms: u64,
    ) -> Result<ExecOutput, RuntimeError> {
        self.run_exec_sync(container, command, timeout_ms).await
    }

    async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        tty: bool,
        io: ExecIo,
    ) -> Result<i32, RuntimeError> {
        self.run_exec(container, command, tty, io).await
    }

    async fn attach(&self, container: &str, io: ExecIo) -> Result<i32, RuntimeError> {
        self.run_attach(container, io).await
    }

    async fn port_forward(
        &self,
        sandbox: &str,
        port: u16,
        stream: Box<dyn Stream>,
    ) -> Result<(), RuntimeError> {
        self.forward(sandbox, port, stream).await
    }

    async fn container_stats(&self, container: &str) -> Result<ContainerStats, RuntimeError> {
        self.stats(container).await
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        let receiver = self.events.subscribe();
        stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(RecvError::Lagged(_)) => Some((RuntimeEvent::Lost, receiver)),
                Err(RecvError::Closed) => None,
            }
        })
        .boxed()
    }
}
