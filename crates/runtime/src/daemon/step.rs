//! Build steps: one container in a shim that ends with us.

use async_trait::async_trait;
use onggi_node_api::{RuntimeError, StepConfig, StepRunner};
use onggi_sys::caps;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::client::{Event, Shim};
use super::io::{FdStream, output_pipe};
use super::{GROUP_TIMEOUT, Runtime, blocking, failed, make_dir, new_id, remove_dir};
use crate::plan;
use crate::protocol::{ContainerRecord, Op};
use crate::spec::{ContainerSpec, PidNamespace, ProcessSpec, RootSpec, SandboxSpec, UserSpec};

#[async_trait]
impl StepRunner for Runtime {
    async fn run_step(
        &self,
        step: StepConfig,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<i32, RuntimeError> {
        let id = new_id();
        let dir = self.options.state_dir.join("steps").join(&id);
        let result = self.step(&id, &dir, step, output).await;
        let group = self.cgroups.group(&format!("{}/build/{id}", self.instance_group()));
        let removed =
            blocking(move || group.kill(GROUP_TIMEOUT).and_then(|()| group.remove(GROUP_TIMEOUT)))
                .await
                .and(remove_dir(&dir));
        // What went wrong first is what counts.
        result.and_then(|code| removed.map(|()| code))
    }
}

impl Runtime {
    async fn step(
        &self,
        id: &str,
        dir: &std::path::Path,
        step: StepConfig,
        output: mpsc::Sender<Vec<u8>>,
    ) -> Result<i32, RuntimeError> {
        make_dir(dir)?;
        let path = format!("{}/build/{id}", self.instance_group());
        let cgroup = self.cgroups.create(&path, &Default::default()).map_err(failed)?;
        let sandbox = SandboxSpec {
            id: id.to_owned(),
            dir: dir.to_owned(),
            shim_cgroup: self.shim_group()?,
            pause_cgroup: None,
            network: !step.network,
            ipc: true,
            hostname: (!step.network).then(|| "build".to_owned()),
            sysctls: Vec::new(),
            tied: true,
        };
        let seccomp = self.filters(None, caps::DEFAULT).await?;
        let spec = step_spec(id, step, cgroup, seccomp, &self.cgroups.v1_mounts())?;
        let (ended, mut end) = mpsc::unbounded_channel();
        let (shim, _) = self
            .launch(&sandbox, move |event| {
                // Nobody listens any more when the step was given up.
                let _ = match event {
                    Event::Container(record) if record.finished_at == 0 => Ok(()),
                    Event::Container(record) => ended.send(Some(record)),
                    Event::Gone => ended.send(None),
                };
            })
            .await?;
        let (from, write) = output_pipe().map_err(failed)?;
        shim.ask(Op::Create(Box::new(spec)), vec![write]).await?;
        shim.ask(Op::Start(id.to_owned()), Vec::new()).await?;
        let (record, ()) = tokio::join!(end.recv(), stream(from, output));
        finish(&shim, record.flatten()).await
    }
}

async fn finish(shim: &Shim, record: Option<ContainerRecord>) -> Result<i32, RuntimeError> {
    // It ends with the connection anyway.
    let _ = shim.ask(Op::Shutdown, Vec::new()).await;
    match record {
        Some(ContainerRecord { failure: Some(failure), .. }) => Err(failure.into()),
        Some(record) => Ok(record.exit_code),
        None => Err(failed("the step's shim died")),
    }
}

/// Output as it comes, to its end.
async fn stream(mut from: FdStream, output: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // Without a listener the step still must not stand still.
        let _ = output.send(buffer[..count].to_vec()).await;
    }
}

fn step_spec(
    id: &str,
    step: StepConfig,
    cgroup: onggi_sys::cgroups::Group,
    seccomp: std::path::PathBuf,
    cgroup_v1: &[String],
) -> Result<ContainerSpec, RuntimeError> {
    let mut env: Vec<Vec<u8>> = step.env.into_iter().map(String::into_bytes).collect();
    plan::set(&mut env, &plan::default_path(), false);
    let mut mounts = plan::filesystems(false, cgroup_v1);
    for mount in &step.mounts {
        mounts.push(plan::volume(mount)?);
    }
    let (masked_paths, readonly_paths) = plan::hidden_paths();
    let cwd = if step.working_dir.is_empty() { "/" } else { &step.working_dir };
    let process = ProcessSpec {
        args: step.args,
        env,
        cwd: cwd.into(),
        user: UserSpec { image: step.user, ..UserSpec::default() },
        capabilities: caps::DEFAULT.bits(),
        no_new_privs: false,
        seccomp: Some(seccomp),
        oom_score_adj: 0,
        tty: false,
    };
    Ok(ContainerSpec {
        id: id.to_owned(),
        cgroup,
        root: RootSpec::Directory(step.rootfs),
        readonly_root: false,
        pid_namespace: PidNamespace::Own,
        pids_of: None,
        mounts,
        devices: plan::basic_devices(),
        all_devices: false,
        masked_paths,
        readonly_paths,
        process,
        log: None,
        stdin: false,
        stdin_once: false,
    })
}
