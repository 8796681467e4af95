//! A connection to a shim.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onggi_node_api::RuntimeError;
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::UnixStream as Socket;
use tokio::sync::{mpsc, oneshot};

use crate::protocol::{ContainerRecord, Failure, Message, Op, Request, State, VERSION};
use crate::wire::Wire;

type Answer = Result<Vec<OwnedFd>, Failure>;

/// What a shim tells without being asked.
#[derive(Debug)]
pub(super) enum Event {
    /// A container changed.
    Container(ContainerRecord),
    /// The connection is over: the shim is dead, or we are done with it.
    Gone,
}

/// Speaks to one shim. The connection ends when it is dropped.
#[derive(Debug)]
pub(super) struct Shim {
    commands: mpsc::UnboundedSender<Command>,
    next: AtomicU64,
    /// Its process.
    pub(super) pid: i32,
}

#[derive(Debug)]
struct Command {
    request: Request,
    fds: Vec<OwnedFd>,
    answer: oneshot::Sender<Answer>,
    exit: Option<(String, oneshot::Sender<i32>)>,
}

fn gone() -> RuntimeError {
    RuntimeError::Failed("the pod's shim is gone; its containers are dead".into())
}

impl Shim {
    /// Takes over a socket, says `first` where there is something to say, and waits for the shim's
    /// hello.
    pub(super) async fn connect(
        socket: UnixStream,
        first: Option<&impl Serialize>,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<(Self, State), RuntimeError> {
        let failed = |error: std::io::Error| RuntimeError::Failed(format!("shim: {error}"));
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = Arc::new(Socket::from_std(socket).map_err(failed)?);
        let mut wire = Wire::over(socket.clone());
        if let Some(first) = first {
            wire.push(first, Vec::new()).map_err(failed)?;
            wire.flush().map_err(failed)?;
        }
        let (commands, receiver) = mpsc::unbounded_channel();
        let (hello, greeted) = oneshot::channel();
        let connection = Connection {
            socket,
            wire,
            hello: Some(hello),
            answers: HashMap::new(),
            exits: HashMap::new(),
        };
        tokio::spawn(connection.run(receiver, on_event));
        let state = greeted.await.map_err(|_| gone())??;
        if state.version != VERSION {
            let text = format!(
                "shim {} speaks protocol {}, this daemon {VERSION}",
                state.pid, state.version
            );
            return Err(RuntimeError::Failed(text));
        }
        Ok((Self { commands, next: AtomicU64::new(1), pid: state.pid }, state))
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(
        &self,
        op: Op,
        fds: Vec<OwnedFd>,
    ) -> Result<Vec<OwnedFd>, RuntimeError> {
        self.send(op, fds, None).await
    }

    /// Starts an exec. Answers its terminal, where it has one, and where its exit code will come.
    pub(super) async fn exec(
        &self,
        name: &str,
        op: Op,
        fds: Vec<OwnedFd>,
    ) -> Result<(Vec<OwnedFd>, oneshot::Receiver<i32>), RuntimeError> {
        let (sender, exit) = oneshot::channel();
        let fds = self.send(op, fds, Some((name.to_owned(), sender))).await?;
        Ok((fds, exit))
    }

    async fn send(
        &self,
        op: Op,
        fds: Vec<OwnedFd>,
        exit: Option<(String, oneshot::Sender<i32>)>,
    ) -> Result<Vec<OwnedFd>, RuntimeError> {
        let (answer, answered) = oneshot::channel();
        let request = Request { id: self.next.fetch_add(1, Ordering::Relaxed), op };
        let command = Command { request, fds, answer, exit };
        self.commands.send(command).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?.map_err(RuntimeError::from)
    }

    /// Sends without waiting for the answer.
    pub(super) fn tell(&self, op: Op) {
        let request = Request { id: self.next.fetch_add(1, Ordering::Relaxed), op };
        let command =
            Command { request, fds: Vec::new(), answer: oneshot::channel().0, exit: None };
        // A shim that is gone needs no telling.
        let _ = self.commands.send(command);
    }
}

struct Connection {
    socket: Arc<Socket>,
    wire: Wire<Arc<Socket>>,
    hello: Option<oneshot::Sender<Result<State, RuntimeError>>>,
    /// With the name of the exec that was asked for.
    answers: HashMap<u64, (oneshot::Sender<Answer>, Option<String>)>,
    exits: HashMap<String, oneshot::Sender<i32>>,
}

impl Connection {
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut on_event: impl FnMut(Event) + Send + 'static,
    ) {
        loop {
            let interest = if self.wire.wants_write() {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            let alive = tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => false,
                },
                ready = self.socket.ready(interest) => {
                    ready.is_ok() && self.exchange(interest, &mut on_event)
                }
            };
            if !alive {
                break;
            }
        }
        on_event(Event::Gone);
    }

    fn take(&mut self, command: Command) -> bool {
        let id = command.request.id;
        let exec = command.exit.map(|(name, sender)| {
            self.exits.insert(name.clone(), sender);
            name
        });
        self.answers.insert(id, (command.answer, exec));
        let sent = self.wire.push(&command.request, command.fds);
        sent.and_then(|()| self.wire.flush()).is_ok()
    }

    fn exchange(&mut self, interest: Interest, on_event: &mut impl FnMut(Event)) -> bool {
        let (mut flushed, mut more) = (false, false);
        let wire = &mut self.wire;
        // Both go on until the socket would block; saying so makes `ready` wait for news.
        let _ = self.socket.try_io(interest, || {
            flushed = wire.flush().is_ok();
            more = wire.fill().unwrap_or(false);
            Err::<(), _>(std::io::ErrorKind::WouldBlock.into())
        });
        if !more && !flushed {
            // Not ready after all, or over; a closed socket says so again.
            (flushed, more) = (self.wire.flush().is_ok(), self.wire.fill().unwrap_or(false));
        }
        loop {
            let (body, fds) = match self.wire.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return flushed && more,
                Err(error) => {
                    tracing::error!(%error, "shim speaks nonsense");
                    return false;
                }
            };
            match serde_json::from_slice(&body) {
                Ok(message) => self.dispatch(message, fds, on_event),
                // A newer shim may tell what we do not know.
                Err(error) => tracing::warn!(%error, "message of a shim is not understood"),
            }
        }
    }

    fn dispatch(&mut self, message: Message, fds: Vec<OwnedFd>, on_event: &mut impl FnMut(Event)) {
        match message {
            Message::Hello(state) => {
                if let Some(hello) = self.hello.take() {
                    let _ = hello.send(Ok(state));
                }
            }
            Message::Answer { id: 0, result } => {
                if let (Some(hello), Err(failure)) = (self.hello.take(), result) {
                    let _ = hello.send(Err(failure.into()));
                }
            }
            Message::Answer { id, result } => {
                if let Some((answer, exec)) = self.answers.remove(&id) {
                    if let (Some(exec), Err(_)) = (exec, &result) {
                        self.exits.remove(&exec);
                    }
                    // Whoever asked may have gone.
                    let _ = answer.send(result.map(|()| fds));
                }
            }
            Message::Container(record) => on_event(Event::Container(record)),
            Message::ExecExited { exec, code } => {
                if let Some(exit) = self.exits.remove(&exec) {
                    let _ = exit.send(code);
                }
            }
        }
    }
}
