//! A daemon as a process of its own, to be killed: starts pods until then, and prints the ids of
//! containers that run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use onggi_node_api::{ContainerConfig, ImageConfig, PodSandboxConfig, RuntimeService};
use onggi_runtime::Runtime;

use crate::fixture::{Images, Network, options};

pub(crate) fn main(args: &[String]) -> ExitCode {
    let [dir, instance, layer] = args else { return ExitCode::FAILURE };
    let images = Images {
        layers: vec![PathBuf::from(layer)],
        config: Mutex::new(ImageConfig {
            entrypoint: vec!["/bin/prog".into(), "sleep".into()],
            ..ImageConfig::default()
        }),
        held: Mutex::default(),
    };
    let options = options(Path::new(dir), instance, Arc::new(Network::default()), Arc::new(images));
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let runtime = Runtime::new(options).unwrap();
        runtime.recover().await.unwrap();
        let one = async |_| {
            let pod = PodSandboxConfig {
                uid: uuid::Uuid::new_v4().to_string(),
                hostname: "pod".into(),
                log_directory: Path::new(dir).join("logs"),
                share_process_namespace: true,
                ..PodSandboxConfig::default()
            };
            let pod = runtime.run_pod_sandbox(pod).await.unwrap();
            let container = ContainerConfig {
                name: uuid::Uuid::new_v4().to_string(),
                image: "test".into(),
                ..ContainerConfig::default()
            };
            let id = runtime.create_container(&pod, container).await.unwrap();
            runtime.start_container(&id).await.unwrap();
            // Once the test has read enough nobody listens.
            let _ = writeln!(std::io::stdout(), "{id}");
        };
        // Bounded, should nobody kill us.
        for _ in 0..50 {
            futures::future::join_all((0..4).map(one)).await;
        }
    });
    ExitCode::FAILURE
}
