//! What runs containers on this node: images and runtime, put together and taken up again after a
//! restart.

use std::collections::HashSet;
use std::sync::Arc;

use onggi_images::Images;
use onggi_net::NodeNetwork;
use onggi_node_api::{RuntimeError, RuntimeService, StepRunner};
use onggi_runtime::Runtime;

use crate::binary;
use crate::node::Error;
use crate::paths::Paths;

/// Images and runtime of a node.
#[derive(Clone)]
pub struct Workloads {
    /// The images.
    pub images: Images,
    /// The runtime.
    pub runtime: Arc<Runtime>,
}

impl Workloads {
    /// Opens both and finds the pods that an earlier daemon left; what belongs to none of them is
    /// given back.
    pub async fn open(paths: &Paths, network: &NodeNetwork) -> Result<Self, Error> {
        let options = onggi_images::Options { root: paths.images(), ..Default::default() };
        let bin = paths.bin();
        let (images, shim_binary) =
            crate::node::blocking(move || (Images::open(options), binary::copy_of_self(&bin)))
                .await?;
        let images = images?;
        let shim_binary =
            shim_binary.map_err(|source| Error::File { path: paths.bin(), source })?;
        let runtime = Runtime::new(onggi_runtime::Options {
            state_dir: paths.run.clone(),
            data_dir: paths.data.clone(),
            instance: paths.instance.clone(),
            shim_binary,
            shim_arguments: vec!["shim".to_owned()],
            network: Arc::new(network.clone()),
            rootfs: Arc::new(images.clone()),
        })?;
        runtime.recover().await?;
        images.set_step_runner(Arc::clone(&runtime) as Arc<dyn StepRunner>);
        let sandboxes = runtime.list_pod_sandboxes().await?;
        let living: Vec<_> = sandboxes.into_iter().map(|sandbox| sandbox.id).collect();
        network.retain(&living).await?;
        let containers = runtime.list_containers().await?;
        let holds: HashSet<_> = containers.into_iter().map(|container| container.id).collect();
        images.reconcile(holds).await?;
        Ok(Self { images, runtime })
    }

    /// Ends every pod: each container gets its stop signal and, at the latest after `grace_seconds`,
    /// is killed. They come back with the next start, from what the API holds.
    pub async fn end_pods(&self, grace_seconds: u64) -> Result<(), RuntimeError> {
        let containers = self.runtime.list_containers().await?;
        let stops = containers
            .iter()
            .map(|container| self.runtime.stop_container(&container.id, grace_seconds));
        for stopped in futures::future::join_all(stops).await {
            if let Err(error) = stopped {
                tracing::warn!(%error, "a container did not stop");
            }
        }
        self.runtime.remove_all().await
    }
}
