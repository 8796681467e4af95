//! After a start: finds what an earlier daemon left, alive or dead.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use onggi_node_api::RuntimeError;
use onggi_sys::cgroups::Group;

use super::client::Shim;
use super::container::{self, Container};
use super::remove_dir;
use super::sandbox::{self, Phase, Sandbox};
use super::{CONTAINERS, GROUP_TIMEOUT, Runtime, SANDBOXES, at, blocking, failed, read_json};
use crate::protocol::{Op, State};

impl Runtime {
    /// Takes up the pods of an earlier daemon: joins living shims, ends what a dead shim left
    /// behind, and removes what nobody knows of. To be called once, before anything else.
    pub async fn recover(&self) -> Result<(), RuntimeError> {
        for dir in directories(&self.options.state_dir.join(SANDBOXES))? {
            let dir = self.options.state_dir.join(SANDBOXES).join(dir);
            if let Err(error) = self.recover_sandbox(&dir).await {
                tracing::error!(%error, dir = %dir.display(), "pod cannot be taken up");
            }
        }
        let known: BTreeSet<String> = {
            let containers = self.containers.lock().keys().cloned().collect::<Vec<_>>();
            self.sandboxes.lock().keys().cloned().chain(containers).collect()
        };
        // The file systems of containers that were lost with a reboot.
        for id in directories(&self.options.data_dir.join(CONTAINERS))? {
            if !known.contains(&id) {
                self.discard_container(&id, None).await?;
            }
        }
        self.end_strays(known).await
    }

    async fn recover_sandbox(&self, dir: &Path) -> Result<(), RuntimeError> {
        let record = match read_json::<sandbox::Record>(&dir.join(sandbox::RECORD)) {
            Ok(record) => record,
            // Its daemon ended before it wrote anything: nothing else is there.
            Err(_) if !dir.join(sandbox::RECORD).exists() => return remove_dir(dir),
            Err(error) => return Err(error),
        };
        if record.phase == Phase::Making {
            return self.discard_sandbox(dir, &record).await;
        }
        let id = record.id.clone();
        let phase = record.phase;
        let sandbox = Sandbox::new(dir.to_owned(), record, None);
        self.sandboxes.lock().insert(id.clone(), sandbox.clone());
        let last = read_json::<State>(&dir.join(crate::shim::STATE)).unwrap_or_default();
        self.recover_containers(&sandbox, &last)?;
        let socket = UnixStream::connect(dir.join(crate::shim::SOCKET));
        let connected = match socket {
            Ok(socket) if phase == Phase::Ready => {
                Shim::connect(socket, None::<&()>, self.listener(&id)).await.map(Some)
            }
            _ => Ok(None),
        };
        match connected {
            Ok(Some((shim, state))) => self.rejoin(&sandbox, shim, state).await,
            result => {
                if let Err(error) = result {
                    tracing::warn!(%error, sandbox = id, "shim does not answer");
                }
                // With a reboot, or its shim, the pod died.
                if phase == Phase::Ready { self.bury(&sandbox, Phase::Dead).await } else { Ok(()) }
            }
        }
    }

    fn recover_containers(&self, sandbox: &Sandbox, last: &State) -> Result<(), RuntimeError> {
        for entry in std::fs::read_dir(&sandbox.dir).map_err(at(&sandbox.dir))? {
            let path = entry.map_err(at(&sandbox.dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with("container-") || !name.ends_with(".json") {
                continue;
            }
            let record: container::Record = read_json(&path)?;
            let mut state = last.containers.get(&record.id).cloned().unwrap_or_default();
            state.id.clone_from(&record.id);
            self.containers.lock().insert(record.id.clone(), Container::new(record, state));
        }
        Ok(())
    }

    async fn rejoin(
        &self,
        sandbox: &Arc<Sandbox>,
        shim: Shim,
        state: State,
    ) -> Result<(), RuntimeError> {
        let shim = Arc::new(shim);
        *sandbox.shim.lock() = Some(shim.clone());
        for container in self.containers_of(&sandbox.id) {
            match state.containers.get(&container.record.id) {
                Some(state) => container.learn(state.clone()),
                // Asked for, never made: the daemon that asked is no more.
                None => {
                    let id = container.record.id.clone();
                    self.containers.lock().remove(&id);
                    self.discard_container(&id, Some(sandbox)).await?;
                }
            }
        }
        if sandbox.config().host_network {
            return Ok(());
        }
        let netns = shim.ask(Op::Network, Vec::new()).await?;
        let netns = netns.into_iter().next().ok_or_else(|| failed("shim gave no network"))?;
        let status = self.options.network.setup(&sandbox.id, netns).await.map_err(failed)?;
        sandbox.update(|record| record.ips = status.ips)
    }

    /// Ends processes and removes groups of our instance that belong to nobody.
    async fn end_strays(&self, known: BTreeSet<String>) -> Result<(), RuntimeError> {
        let shims: BTreeSet<i32> = {
            let sandboxes = self.sandboxes.lock();
            sandboxes.values().filter_map(|s| s.shim().ok()).map(|shim| shim.pid).collect()
        };
        let group = self.cgroups.group(&self.instance_group());
        blocking(move || {
            for pid in group.child("shims").processes() {
                if !shims.contains(&pid) {
                    onggi_sys::process::kill(pid)?;
                }
            }
            remove_strays(&group, &known)
        })
        .await
    }
}

/// Groups of containers and sandboxes have ids of 32 hexadecimal digits; others are above them.
fn remove_strays(group: &Group, known: &BTreeSet<String>) -> std::io::Result<()> {
    for name in group.children() {
        let child = group.child(&name);
        let is_id = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            remove_strays(&child, known)?;
            if name.starts_with("pod") {
                child.remove_if_empty()?;
            }
        } else if !known.contains(&name) {
            child.kill(GROUP_TIMEOUT)?;
            child.remove(GROUP_TIMEOUT)?;
        }
    }
    Ok(())
}

fn directories(path: &Path) -> Result<Vec<String>, RuntimeError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(at(path))? {
        names.push(entry.map_err(at(path))?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
