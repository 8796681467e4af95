//! The shim's event loop: connections, children, output. Nothing in it waits but `poll`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::children::{self, Caller, Container, Exec, Stage};
use super::connect::connect_loopback;
use super::output::{Output, Tap};
use super::setup::{SOCKET, Sandbox};
use crate::init::{Report, Streams};
use crate::protocol::{Failure, Message, Op, Request, State, VERSION};
use crate::spec::ProcessSpec;
use crate::wire::{Frame, Wire};

/// Name of the state file in the sandbox's directory.
pub(crate) const STATE: &str = "state.json";

/// Exit code of a container whose program could not be run, as containerd gives it.
const CANNOT_RUN: i32 = 128;
/// How long processes that a container leaves behind may take to die.
const LEFTOVERS: std::time::Duration = std::time::Duration::from_secs(2);

/// After this long without a request, start or exit, what these took of memory is given back.
const CALM: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What a descriptor is for.
#[derive(Debug, Clone)]
enum Source {
    Listener,
    Connection(u64),
    Control(String),
    Exit(String),
    Output(String, usize),
    Taps(String, usize),
    ExecControl(String),
    ExecExit(String),
}

pub(super) struct Service {
    sandbox: Sandbox,
    connections: BTreeMap<u64, Wire>,
    next_connection: u64,
    containers: BTreeMap<String, Container>,
    execs: BTreeMap<String, Exec>,
    shutdown: Option<Option<Caller>>,
    /// Code has run that will not run again for a while.
    stirred: bool,
}

impl Service {
    pub(super) fn new(sandbox: Sandbox, first: Wire) -> io::Result<Self> {
        let (connections, containers, execs) = Default::default();
        let mut service = Self {
            sandbox,
            connections,
            next_connection: 0,
            containers,
            execs,
            shutdown: None,
            stirred: true,
        };
        service.persist();
        service.greet(first)?;
        Ok(service)
    }

    /// Until it is told to end.
    pub(super) fn run(&mut self) -> io::Result<()> {
        loop {
            let ready = self.wait()?;
            if ready.is_empty() {
                self.rest();
            }
            for source in ready {
                self.handle(source);
            }
            if let Some(caller) = self.shutdown
                && self.execs.is_empty()
                && self.containers.values().all(|container| container.child.pidfd.is_none())
            {
                return self.end(caller);
            }
        }
    }

    /// A pod's shim mostly waits: it need not hold the pages of what it has done.
    fn rest(&mut self) {
        if std::mem::take(&mut self.stirred)
            && let Err(error) = onggi_sys::memory::release_program()
        {
            eprintln!("shim: memory: {error}");
        }
    }

    /// What is ready; nothing when all has been calm since the last that was.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut watched: Vec<(Source, BorrowedFd<'_>, PollFlags)> = Vec::new();
        let input = PollFlags::IN;
        watched.push((Source::Listener, self.sandbox.listener.as_fd(), input));
        for (id, wire) in &self.connections {
            let flags = if wire.wants_write() { input | PollFlags::OUT } else { input };
            watched.push((Source::Connection(*id), wire.as_fd(), flags));
        }
        for (id, container) in &self.containers {
            // Output before exits, so that the last lines are read in one go.
            for (index, output) in container.outputs.iter().enumerate() {
                if let Some(fd) = &output.source {
                    watched.push((Source::Output(id.clone(), index), fd.as_fd(), input));
                }
                for tap in output.taps.iter().filter(|tap| !tap.backlog.is_empty()) {
                    let source = Source::Taps(id.clone(), index);
                    watched.push((source, tap.fd.as_fd(), PollFlags::OUT));
                }
            }
            if let Some(control) = &container.child.control {
                watched.push((Source::Control(id.clone()), control.as_fd(), input));
            }
            if let Some(pidfd) = &container.child.pidfd {
                watched.push((Source::Exit(id.clone()), pidfd.as_fd(), input));
            }
        }
        for (id, exec) in &self.execs {
            if let Some(control) = &exec.child.control {
                watched.push((Source::ExecControl(id.clone()), control.as_fd(), input));
            }
            if let Some(pidfd) = &exec.child.pidfd {
                watched.push((Source::ExecExit(id.clone()), pidfd.as_fd(), input));
            }
        }
        let mut fds: Vec<_> =
            watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, self.stirred.then_some(&CALM)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        Ok(watched
            .into_iter()
            .zip(ready)
            .filter_map(|((source, ..), ready)| ready.then_some(source))
            .collect())
    }

    fn handle(&mut self, source: Source) {
        self.stirred |= !matches!(source, Source::Output(..) | Source::Taps(..));
        match source {
            Source::Listener => {
                if let Ok((socket, _)) = self.sandbox.listener.accept()
                    && let Err(error) = Wire::new(socket).and_then(|wire| self.greet(wire))
                {
                    eprintln!("shim: connection: {error}");
                }
            }
            Source::Connection(id) => self.on_connection(id),
            Source::Control(id) => self.on_control(&id),
            Source::Exit(id) => self.on_exit(&id),
            Source::Output(id, index) => self.with_output(&id, index, |output, log| {
                output.pump(log, false);
            }),
            Source::Taps(id, index) => {
                self.with_output(&id, index, |output, _| output.flush_taps());
            }
            Source::ExecControl(id) => self.on_exec_control(&id),
            Source::ExecExit(id) => self.on_exec_exit(&id),
        }
    }

    fn with_output(
        &mut self,
        id: &str,
        index: usize,
        act: impl FnOnce(&mut Output, Option<&mut super::logs::LogFile>),
    ) {
        if let Some(container) = self.containers.get_mut(id)
            && let Some(output) = container.outputs.get_mut(index)
        {
            act(output, container.log.as_mut());
        }
    }

    fn greet(&mut self, mut wire: Wire) -> io::Result<()> {
        wire.push(&Message::Hello(self.state()), Vec::new())?;
        wire.flush()?;
        self.connections.insert(self.next_connection, wire);
        self.next_connection += 1;
        Ok(())
    }

    fn state(&self) -> State {
        let containers = self.containers.iter().map(|(id, c)| (id.clone(), c.record.clone()));
        State {
            version: VERSION,
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            containers: containers.collect(),
        }
    }

    /// Writes the state where a daemon finds it if we are killed.
    fn persist(&self) {
        let path = self.sandbox.spec.dir.join(STATE);
        let new = path.with_extension("new");
        let done = serde_json::to_vec(&self.state())
            .map_err(io::Error::from)
            .and_then(|bytes| std::fs::write(&new, bytes))
            .and_then(|()| std::fs::rename(&new, &path));
        if let Err(error) = done {
            eprintln!("shim: {}: {error}", path.display());
        }
    }

    fn on_connection(&mut self, id: u64) {
        let Some(wire) = self.connections.get_mut(&id) else { return };
        let alive = wire.flush().and_then(|_| wire.fill());
        loop {
            let frame = match self.connections.get_mut(&id).map(Wire::next_frame) {
                Some(Ok(Some(frame))) => frame,
                Some(Err(_)) => return self.disconnect(id),
                _ => break,
            };
            self.on_frame(id, frame);
        }
        if !matches!(alive, Ok(true)) {
            self.disconnect(id);
        }
    }

    fn disconnect(&mut self, id: u64) {
        self.connections.remove(&id);
        // Nobody reads what they write, nobody would hear how they end.
        for exec in self.execs.values().filter(|exec| exec.owner == id) {
            exec.child.kill_group();
        }
        if self.sandbox.spec.tied && id == 0 {
            self.shut_down(None);
        }
    }

    fn on_frame(&mut self, connection: u64, (body, fds): Frame) {
        match serde_json::from_slice::<Request>(&body) {
            Ok(Request { id, op }) => self.on_request((connection, id), op, fds),
            Err(error) => {
                eprintln!("shim: request: {error}");
                self.disconnect(connection);
            }
        }
    }

    fn on_request(&mut self, caller: Caller, op: Op, fds: Vec<OwnedFd>) {
        let result = match op {
            Op::Create(spec) => match self.create(*spec, fds, caller) {
                Ok(()) => return,
                Err(failure) => Err(failure),
            },
            Op::Start(container) => match self.start(&container, caller) {
                Ok(()) => return,
                Err(failure) => Err(failure),
            },
            Op::Exec { container, exec, process, streams } => {
                match self.exec(&container, exec, &process, streams, fds, caller) {
                    Ok(()) => return,
                    Err(failure) => Err(failure),
                }
            }
            Op::Signal { container, signal } => self.signal(&container, signal).map(|()| vec![]),
            Op::KillExec(exec) => {
                if let Some(exec) = self.execs.get(&exec) {
                    exec.child.kill_group();
                }
                Ok(vec![])
            }
            Op::Attach { container, streams } => self.attach(&container, streams, fds),
            Op::Connect(port) => connect_loopback(port).map(|fd| vec![fd]),
            Op::Forget(container) => self.forget(&container).map(|()| vec![]),
            Op::Network => onggi_sys::namespaces::own("net")
                .map(|fd| vec![fd])
                .map_err(|e| Failure::io("network namespace", e)),
            Op::Shutdown => return self.shut_down(Some(caller)),
        };
        self.answer(caller, result);
    }

    fn answer(&mut self, (connection, id): Caller, result: Result<Vec<OwnedFd>, Failure>) {
        let (fds, result) = match result {
            Ok(fds) => (fds, Ok(())),
            Err(failure) => (Vec::new(), Err(failure)),
        };
        self.say(connection, &Message::Answer { id, result }, fds);
    }

    /// A connection that is gone hears nothing.
    fn say(&mut self, connection: u64, message: &Message, fds: Vec<OwnedFd>) {
        if let Some(wire) = self.connections.get_mut(&connection)
            && wire.push(message, fds).and_then(|()| wire.flush()).is_err()
        {
            self.disconnect(connection);
        }
    }

    /// A container has changed: to the file and to every daemon.
    fn publish(&mut self, id: &str) {
        self.persist();
        let Some(container) = self.containers.get(id) else { return };
        let message = Message::Container(container.record.clone());
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for connection in connections {
            self.say(connection, &message, Vec::new());
        }
    }

    fn create(
        &mut self,
        spec: crate::spec::ContainerSpec,
        fds: Vec<OwnedFd>,
        caller: Caller,
    ) -> Result<(), Failure> {
        if self.shutdown.is_some() {
            return Err(Failure::not_found("the pod is being stopped"));
        }
        if self.containers.contains_key(&spec.id) {
            return Err(Failure::config(format!("container {} exists", spec.id)));
        }
        let beside = self.beside(&spec)?;
        let (connections, containers, execs) =
            (&mut self.connections, &mut self.containers, &mut self.execs);
        let forget = || {
            // In the child: whoever waits for the end of a pipe must not wait for us.
            connections.clear();
            containers.clear();
            execs.clear();
        };
        let container = children::container(&self.sandbox, spec, beside, fds, caller, forget)?;
        self.containers.insert(container.spec.id.clone(), container);
        Ok(())
    }

    /// The first process of the container whose process ids another one is to have.
    fn beside(&self, spec: &crate::spec::ContainerSpec) -> Result<Option<OwnedFd>, Failure> {
        let Some(id) = &spec.pids_of else { return Ok(None) };
        let target = self.containers.get(id).filter(|target| target.stage == Stage::Running);
        match target.and_then(|target| target.child.pidfd.as_ref()) {
            Some(process) => {
                process.try_clone().map(Some).map_err(|e| Failure::io("target container", e))
            }
            None => Err(Failure::not_found(format!("target container {id} is not running"))),
        }
    }

    fn container(&mut self, id: &str) -> Result<&mut Container, Failure> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Failure::not_found(format!("no container {id} in this pod")))
    }

    fn start(&mut self, id: &str, caller: Caller) -> Result<(), Failure> {
        let container = self.container(id)?;
        if container.stage != Stage::Prepared {
            return Err(Failure::config(format!("container {id} was started before")));
        }
        container.child.go()?;
        container.child.caller = Some(caller);
        container.stage = Stage::Starting;
        Ok(())
    }

    fn on_control(&mut self, id: &str) {
        while let Some(container) = self.containers.get_mut(id) {
            let Some((report, fds)) = container.child.report() else { break };
            match report {
                Report::Terminal => {
                    for master in fds {
                        let stdin = master.try_clone();
                        let output = Output::new(master, "stdout", container.spec.stdin);
                        if let (Ok(stdin), Ok(output)) = (stdin, output) {
                            container.stdin = Some(stdin);
                            container.outputs.push(output);
                        }
                    }
                }
                Report::Prepared => {
                    container.stage = Stage::Prepared;
                    container.record.created_at = now();
                    let caller = container.child.caller.take();
                    self.persist();
                    if let Some(caller) = caller {
                        self.answer(caller, Ok(Vec::new()));
                    }
                }
                Report::Failed(failure) => container.child.failure = Some(failure),
            }
        }
        // A child that has become its program has closed its end.
        if let Some(container) = self.containers.get_mut(id)
            && container.child.control.is_none()
            && container.child.failure.is_none()
            && container.stage == Stage::Starting
        {
            container.stage = Stage::Running;
            container.record.started_at = now();
            let caller = container.child.caller.take();
            self.publish(id);
            if let Some(caller) = caller {
                self.answer(caller, Ok(Vec::new()));
            }
        }
    }

    fn on_exit(&mut self, id: &str) {
        self.on_control(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.child.pidfd.is_none() {
            return;
        }
        let code = container.child.bury();
        if !container.spec.owns_processes()
            && let Err(error) = container.spec.cgroup.kill(LEFTOVERS)
        {
            eprintln!("shim: processes left by container {id}: {error}");
        }
        for output in &mut container.outputs {
            output.pump(container.log.as_mut(), true);
            output.end(container.log.as_mut());
        }
        container.stdin = None;
        let unborn = container.stage == Stage::Preparing;
        container.stage = Stage::Dead;
        let failure = container.child.failure.take();
        let caller = container.child.caller.take();
        container.record.finished_at = now();
        container.record.exit_code = if failure.is_some() { CANNOT_RUN } else { code };
        container.record.oom_killed = container.spec.cgroup.oom_kills() > 0;
        container.record.failure.clone_from(&failure);
        if unborn {
            self.containers.remove(id);
        } else {
            self.publish(id);
        }
        if let Some(caller) = caller {
            let killed = || {
                let text = format!("the container was killed before it ran (exit code {code})");
                Failure::new(crate::protocol::FailureKind::Failed, text)
            };
            self.answer(caller, Err(failure.unwrap_or_else(killed)));
        }
    }

    fn signal(&mut self, id: &str, signal: i32) -> Result<(), Failure> {
        let container = self.container(id)?;
        let signal = Signal::from_named_raw(signal)
            .ok_or_else(|| Failure::config(format!("signal {signal} cannot be sent")))?;
        container.child.signal(signal);
        Ok(())
    }

    fn exec(
        &mut self,
        id: &str,
        name: String,
        process: &ProcessSpec,
        streams: [bool; 3],
        fds: Vec<OwnedFd>,
        caller: Caller,
    ) -> Result<(), Failure> {
        let mut fds = fds.into_iter();
        let [stdin, stdout, stderr] = streams.map(|given| given.then(|| fds.next()).flatten());
        let streams = Streams { stdin, stdout, stderr };
        self.container(id)?;
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        let exec = children::exec(&self.sandbox, container, process, streams, caller)?;
        self.execs.insert(name, exec);
        Ok(())
    }

    fn on_exec_control(&mut self, id: &str) {
        let Some(exec) = self.execs.get_mut(id) else { return };
        while let Some((report, fds)) = exec.child.report() {
            match report {
                Report::Terminal => exec.terminal = fds.into_iter().next(),
                Report::Failed(failure) => exec.child.failure = Some(failure),
                Report::Prepared => {}
            }
        }
        if exec.child.control.is_none()
            && let Some(caller) = exec.child.caller.take()
        {
            let result = match exec.child.failure.take() {
                Some(failure) => Err(failure),
                None => Ok(exec.terminal.take().into_iter().collect()),
            };
            self.answer(caller, result);
        }
    }

    fn on_exec_exit(&mut self, id: &str) {
        self.on_exec_control(id);
        let Some(mut exec) = self.execs.remove(id) else { return };
        let code = exec.child.bury();
        let message = Message::ExecExited { exec: id.to_owned(), code };
        self.say(exec.owner, &message, Vec::new());
    }

    fn attach(
        &mut self,
        id: &str,
        streams: [bool; 2],
        fds: Vec<OwnedFd>,
    ) -> Result<Vec<OwnedFd>, Failure> {
        let container = self.container(id)?;
        if container.stage == Stage::Dead {
            return Err(Failure::not_found(format!("container {id} is not running")));
        }
        let mut fds = fds.into_iter();
        for (index, given) in streams.into_iter().enumerate() {
            let (true, Some(fd)) = (given, given.then(|| fds.next()).flatten()) else { continue };
            let tap = Tap::new(fd).map_err(|e| Failure::io("attach", e))?;
            // A terminal has no second stream; whoever waits there sees its end.
            if let Some(output) = container.outputs.get_mut(index) {
                output.join(tap);
            }
        }
        let once = container.spec.stdin_once && !container.spec.process.tty;
        let input = if once {
            container.stdin.take().map(Ok)
        } else {
            container.stdin.as_ref().map(OwnedFd::try_clone)
        };
        let input = input.transpose().map_err(|e| Failure::io("attach", e))?;
        Ok(input.into_iter().collect())
    }

    fn forget(&mut self, id: &str) -> Result<(), Failure> {
        match self.containers.get(id) {
            Some(container) if container.stage != Stage::Dead => {
                return Err(Failure::config(format!("container {id} is not dead")));
            }
            _ => {}
        }
        self.containers.remove(id);
        self.persist();
        Ok(())
    }

    fn shut_down(&mut self, caller: Option<Caller>) {
        self.shutdown = Some(caller);
        for container in self.containers.values() {
            container.child.signal(Signal::KILL);
        }
        for exec in self.execs.values() {
            exec.child.kill_group();
        }
    }

    /// Everything is dead: answers and ends. The kernel kills the holder of a shared process
    /// namespace with us.
    fn end(&mut self, caller: Option<Caller>) -> io::Result<()> {
        self.persist();
        // A daemon that comes now must find nobody.
        let _ = std::fs::remove_file(self.sandbox.spec.dir.join(SOCKET));
        if let Some(pause) = &self.sandbox.pause {
            let _ = rustix::process::pidfd_send_signal(pause, Signal::KILL);
            let id = rustix::process::WaitId::PidFd(pause.as_fd());
            let _ = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
        }
        if let Some(caller) = caller {
            self.answer(caller, Ok(Vec::new()));
        }
        for wire in self.connections.values_mut() {
            while wire.wants_write() {
                let mut fds = [PollFd::new(&*wire, PollFlags::OUT)];
                poll(&mut fds, None)?;
                if wire.flush().is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn now() -> i64 {
    // Enough until the year 2262.
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
