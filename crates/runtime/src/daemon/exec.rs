//! exec, attach, port-forward.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use onggi_node_api::{ContainerState, ExecIo, ExecOutput, RuntimeError, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::client::Shim;
use super::io::{FdStream, copy_output, input_pipe, output_pipe};
use super::{Runtime, failed, new_id};
use crate::plan;
use crate::protocol::Op;

/// `exec_sync` keeps no more of a stream.
const MAX_OUTPUT: usize = 16 << 20;

/// The exit code, to be awaited by many.
type Exit = Shared<BoxFuture<'static, i32>>;

/// A running exec; dropped before its end it is killed.
struct Running {
    shim: Arc<Shim>,
    name: String,
    exit: Exit,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.exit.peek().is_none() {
            self.shim.tell(Op::KillExec(self.name.clone()));
        }
    }
}

impl Runtime {
    async fn begin_exec(
        &self,
        id: &str,
        command: Vec<String>,
        tty: bool,
        streams: [Option<OwnedFd>; 3],
    ) -> Result<(Running, Option<OwnedFd>), RuntimeError> {
        let container = self.container(id)?;
        if container.status().state != ContainerState::Running {
            return Err(failed(format!("container {id} is not running")));
        }
        let shim = self.sandbox(&container.record.sandbox)?.shim()?;
        let process = plan::exec(&container.record.spec.process, command, tty);
        let name = new_id();
        let given = [0, 1, 2].map(|index| streams[index].is_some());
        let op = Op::Exec {
            container: id.to_owned(),
            exec: name.clone(),
            process: Box::new(process),
            streams: given,
        };
        let fds = streams.into_iter().flatten().collect();
        let (fds, exit) = shim.exec(&name, op, fds).await?;
        // A shim that dies takes its processes along.
        let exit = exit.map(|code| code.unwrap_or(137)).boxed().shared();
        Ok((Running { shim, name, exit }, fds.into_iter().next()))
    }

    pub(super) async fn run_exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout_ms: u64,
    ) -> Result<ExecOutput, RuntimeError> {
        let name = command.join(" ");
        let (out, out_end) = output_pipe().map_err(failed)?;
        let (err, err_end) = output_pipe().map_err(failed)?;
        let mut output = ExecOutput::default();
        let (mut stdout, mut stderr) = (Limited(&mut output.stdout), Limited(&mut output.stderr));
        let run = async {
            let streams = [None, Some(out_end), Some(err_end)];
            let (running, _) = self.begin_exec(id, command, false, streams).await?;
            let ended = || running.exit.clone().map(drop);
            let (out, err, code) = tokio::join!(
                copy_output(out, &mut stdout, ended()),
                copy_output(err, &mut stderr, ended()),
                running.exit.clone(),
            );
            out.and(err).map_err(failed)?;
            Ok::<_, RuntimeError>(code)
        };
        let code = if timeout_ms == 0 {
            run.await?
        } else {
            match tokio::time::timeout(Duration::from_millis(timeout_ms), run).await {
                Ok(code) => code?,
                Err(_) => return Err(RuntimeError::Timeout(name)),
            }
        };
        output.exit_code = code;
        Ok(output)
    }

    pub(super) async fn run_exec(
        &self,
        id: &str,
        command: Vec<String>,
        tty: bool,
        io: ExecIo,
    ) -> Result<i32, RuntimeError> {
        if tty {
            return self.exec_terminal(id, command, io).await;
        }
        let (input_end, input) = match io.stdin {
            Some(reader) => {
                let (end, write) = input_pipe().map_err(failed)?;
                (Some(end), Some((reader, write)))
            }
            None => (None, None),
        };
        let (out_end, out) = wanted_pipe(io.stdout).map_err(failed)?;
        let (err_end, err) = wanted_pipe(io.stderr).map_err(failed)?;
        let (running, _) =
            self.begin_exec(id, command, false, [input_end, out_end, err_end]).await?;
        let ended = || running.exit.clone().map(drop);
        let copy_in = copy_input(input, ended());
        let copy_out = copy_wanted(out, ended());
        let copy_err = copy_wanted(err, ended());
        let (_, out, err, code) = tokio::join!(copy_in, copy_out, copy_err, running.exit.clone());
        // A client that went away is no failure of the command.
        let _ = out.and(err);
        Ok(code)
    }

    async fn exec_terminal(
        &self,
        id: &str,
        command: Vec<String>,
        io: ExecIo,
    ) -> Result<i32, RuntimeError> {
        let (running, terminal) = self.begin_exec(id, command, true, [None, None, None]).await?;
        let terminal = terminal.ok_or_else(|| failed("shim gave no terminal"))?;
        let ended = || running.exit.clone().map(drop);
        terminal_session(terminal, io, ended).await.map_err(failed)?;
        Ok(running.exit.clone().await)
    }

    pub(super) async fn run_attach(&self, id: &str, io: ExecIo) -> Result<i32, RuntimeError> {
        let container = self.container(id)?;
        let shim = self.sandbox(&container.record.sandbox)?.shim()?;
        let tty = container.record.spec.process.tty;
        let (out_end, out) = wanted_pipe(io.stdout).map_err(failed)?;
        let (err_end, err) = wanted_pipe(if tty { None } else { io.stderr }).map_err(failed)?;
        let streams = [out_end.is_some(), err_end.is_some()];
        let op = Op::Attach { container: id.to_owned(), streams };
        let fds = shim.ask(op, out_end.into_iter().chain(err_end).collect()).await?;
        let ended = || container.wait().map(drop);
        let mut input = None;
        let mut resized = futures::future::pending().boxed();
        if let Some(fd) = fds.into_iter().next() {
            if let (true, Some(sizes)) = (tty, io.resize) {
                let terminal = fd.try_clone().map_err(failed)?;
                resized = resize(terminal, sizes).boxed();
            }
            if let Some(reader) = io.stdin {
                input = Some((reader, FdStream::new(fd).map_err(failed)?));
            }
        }
        // Output ends with the container: its shim closes our pipes when all is written.
        let copies = async {
            let never = futures::future::pending::<()>;
            tokio::join!(copy_wanted(out, never()), copy_wanted(err, never()))
        };
        let session = async {
            let copying = async {
                let _ = copies.await;
                container.wait().await
            };
            let (_, code) = tokio::join!(copy_input(input, ended()), copying);
            code
        };
        tokio::select! {
            code = session => Ok(code),
            () = resized => Ok(container.wait().await),
        }
    }

    pub(super) async fn forward(
        &self,
        sandbox: &str,
        port: u16,
        mut stream: Box<dyn Stream>,
    ) -> Result<(), RuntimeError> {
        let shim = self.sandbox(sandbox)?.shim()?;
        let refused = |error: io::Error| failed(format!("port {port} of the pod: {error}"));
        let socket = shim.ask(Op::Connect(port), Vec::new()).await?;
        let socket = socket.into_iter().next().ok_or_else(|| failed("shim gave no socket"))?;
        let socket = std::net::TcpStream::from(socket);
        let mut socket = tokio::net::TcpStream::from_std(socket).map_err(refused)?;
        socket.writable().await.map_err(refused)?;
        if let Some(error) = socket.take_error().map_err(refused)? {
            return Err(refused(error));
        }
        match tokio::io::copy_bidirectional(&mut stream, &mut socket).await {
            Ok(_) => Ok(()),
            // Either side may hang up.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }
}

type Writer = Box<dyn AsyncWrite + Send + Unpin>;
/// From a process to a client.
type Outward = (FdStream, Writer);
type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A pipe where somebody wants the output.
fn wanted_pipe(to: Option<Writer>) -> io::Result<(Option<OwnedFd>, Option<Outward>)> {
    match to {
        Some(writer) => {
            let (read, end) = output_pipe()?;
            Ok((Some(end), Some((read, writer))))
        }
        None => Ok((None, None)),
    }
}

async fn copy_wanted(pipe: Option<Outward>, ended: impl Future<Output = ()>) -> io::Result<()> {
    match pipe {
        Some((from, mut to)) => copy_output(from, &mut *to, ended).await,
        None => Ok(()),
    }
}

/// Copies input until it or the process ends, then closes the pipe.
async fn copy_input(input: Option<(Reader, FdStream)>, ended: impl Future<Output = ()>) {
    if let Some((mut from, mut to)) = input {
        tokio::select! {
            // A process that does not read its input is no failure.
            _ = tokio::io::copy(&mut from, &mut to) => {}
            () = ended => {}
        }
    }
}

async fn terminal_session<F: Future<Output = ()>>(
    terminal: OwnedFd,
    io: ExecIo,
    ended: impl Fn() -> F,
) -> io::Result<()> {
    let input = match io.stdin {
        Some(reader) => Some((reader, FdStream::new(terminal.try_clone()?)?)),
        None => None,
    };
    let sizes = terminal.try_clone()?;
    let output = FdStream::new(terminal)?;
    let copy_out = async {
        match io.stdout {
            Some(mut to) => copy_output(output, &mut *to, ended()).await,
            None => copy_output(output, &mut tokio::io::sink(), ended()).await,
        }
    };
    let resizes = async {
        match io.resize {
            Some(receiver) => resize(sizes, receiver).await,
            None => futures::future::pending().await,
        }
    };
    tokio::select! {
        // A client that went away is no failure of the command.
        _ = copy_out => {}
        () = async { tokio::join!(copy_input(input, ended()), resizes); } => {}
    }
    Ok(())
}

/// Follows the client's window; never ends before the session does.
async fn resize(terminal: OwnedFd, mut sizes: mpsc::Receiver<(u16, u16)>) {
    while let Some((columns, rows)) = sizes.recv().await {
        let size =
            rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        if rustix::termios::tcsetwinsize(&terminal, size).is_err() {
            break;
        }
    }
    futures::future::pending().await
}

/// Keeps the first bytes and swallows the others, so that a talkative command can end.
struct Limited<'a>(&'a mut Vec<u8>);

impl AsyncWrite for Limited<'_> {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        let buffer = &mut *self.get_mut().0;
        let room = MAX_OUTPUT.saturating_sub(buffer.len()).min(bytes.len());
        buffer.extend_from_slice(&bytes[..room]);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
