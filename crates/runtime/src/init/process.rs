//! The last steps before `execve`: terminal, user, limits, capabilities, filters, program.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use onggi_sys::caps::{self, CapabilitySet};
use onggi_sys::mounts::{attach, clone_tree};
use onggi_sys::seccomp::Program;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal};

use super::{Control, Report, Streams, user};
use crate::protocol::{Failure, FailureKind};
use crate::spec::ProcessSpec;

/// Soft limit of open files: enough for a server; more makes programs slow that close them all.
const OPEN_FILES: u64 = 65_536;

/// What `prepare` found out.
pub(super) struct Ready {
    user: user::User,
    env: Vec<CString>,
    path: String,
}

/// A killed shim takes its children along.
pub(super) fn die_with_shim() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Failure::io("parent death signal", e))
}

/// Best effort: without `CAP_SYS_RESOURCE` it can only rise.
pub(super) fn set_oom_score(score: i32) {
    let file = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if now != Some(score) {
        let _ = std::fs::write(file, score.to_string());
    }
}

/// Streams, user, working directory and environment, in the container's root.
pub(super) fn prepare(
    spec: &ProcessSpec,
    streams: Streams,
    control: &Control,
    first: bool,
) -> Result<Ready, Failure> {
    let failed = |what: &'static str| move |e: Errno| Failure::io(what, e);
    rustix::process::setsid().map_err(failed("setsid"))?;
    onggi_sys::process::reset_signals();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if spec.tty {
        open_terminal(control, first)?;
    } else {
        let null = || {
            rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| Failure::io("/dev/null", e))
        };
        let or_null = |stream: Option<OwnedFd>| stream.map_or_else(null, Ok);
        use_streams(
            &or_null(streams.stdin)?,
            &or_null(streams.stdout)?,
            &or_null(streams.stderr)?,
        )?;
    }
    let user = user::lookup(&spec.user)?;
    // /dev/stdout must open for whoever the container runs as.
    let owner = Some(Uid::from_raw(user.uid));
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let stat = rustix::fs::fstat(stream).map_err(failed("stream"))?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo {
            rustix::fs::fchown(stream, owner, None).map_err(failed("stream"))?;
        }
    }
    rustix::process::chdir(&spec.cwd).map_err(|error| {
        Failure::config(format!("working directory {}: {error}", spec.cwd.display()))
    })?;
    let (env, path) = environment(spec, &user.home)?;
    Ok(Ready { user, env, path })
}

fn use_streams(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<(), Failure> {
    rustix::stdio::dup2_stdin(stdin)
        .and_then(|()| rustix::stdio::dup2_stdout(stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr))
        .map_err(|e| Failure::io("standard streams", e))
}

/// A terminal of the container's own; its other end goes to the shim.
fn open_terminal(control: &Control, first: bool) -> Result<(), Failure> {
    let failed = |e: Errno| Failure::io("terminal", e);
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, Mode::empty()).map_err(failed)?;
    rustix::pty::unlockpt(&master).map_err(failed)?;
    let name = rustix::pty::ptsname(&master, Vec::new()).map_err(failed)?;
    let terminal = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).map_err(failed)?;
    if first {
        // /dev/console is the container's terminal.
        let console = (|| {
            let name = Path::new(name.to_str().map_err(std::io::Error::other)?);
            let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
            let at = rustix::fs::open("/dev/console", flags, Mode::from_raw_mode(0o600))?;
            attach(clone_tree(name, false)?, at)
        })();
        console.map_err(|e| Failure::io("/dev/console", e))?;
    }
    control.report(&Report::Terminal, &[master.as_fd()])?;
    rustix::process::ioctl_tiocsctty(&terminal).map_err(failed)?;
    use_streams(&terminal, &terminal, &terminal)
}

/// Environment, and its `PATH`.
fn environment(spec: &ProcessSpec, home: &str) -> Result<(Vec<CString>, String), Failure> {
    let value = |name: &str| {
        spec.env.iter().find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let path = value("PATH").map_or_else(String::new, |v| String::from_utf8_lossy(v).into_owned());
    let mut env = spec.env.clone();
    if value("HOME").is_none() {
        env.push(format!("HOME={home}").into_bytes());
    }
    let env = env.into_iter().map(CString::new).collect::<Result<_, _>>();
    let env = env.map_err(|_| Failure::config("environment variable with a zero byte"))?;
    Ok((env, path))
}

/// Gives up privileges and becomes the program.
pub(super) fn run(
    spec: &ProcessSpec,
    ready: Ready,
    seccomp: Option<&Program>,
) -> Result<Infallible, Failure> {
    let failed = |what: &'static str| move |e: Errno| Failure::io(what, e);
    let failed_io = |what: &'static str| move |e: std::io::Error| Failure::io(what, e);
    limit(Resource::Nofile, OPEN_FILES)?;
    limit(Resource::Core, 0)?;
    // What we do not hold ourselves cannot be given.
    let held = caps::held().map_err(failed_io("capabilities"))?;
    let wanted = CapabilitySet::from_bits_retain(spec.capabilities) & held;
    caps::bound(wanted).map_err(failed_io("capability bounding set"))?;
    let load = || match seccomp {
        Some(program) => program.load().map_err(|e| Failure::io("seccomp", e)),
        None => Ok(()),
    };
    // Without no_new_privs a filter takes privileges to load, so it comes before they go.
    if !spec.no_new_privs {
        load()?;
    }
    let groups: Vec<_> = ready.user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(ready.user.uid), Gid::from_raw(ready.user.gid));
    rustix::thread::set_thread_groups(&groups).map_err(failed("groups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed("user"))?;
    // The kernel forgets it with the user.
    die_with_shim()?;
    let kept = if uid.is_root() { wanted } else { CapabilitySet::empty() };
    caps::take(kept).map_err(failed_io("capabilities"))?;
    if spec.no_new_privs {
        rustix::thread::set_no_new_privs(true).map_err(failed("no_new_privs"))?;
        load()?;
    }
    Err(execute(spec, &ready))
}

/// Sets a soft limit, as far as the hard limit allows.
fn limit(resource: Resource, soft: u64) -> Result<(), Failure> {
    let mut now = rustix::process::getrlimit(resource);
    now.current = Some(now.maximum.map_or(soft, |hard| soft.min(hard)));
    let now: Rlimit = now;
    rustix::process::setrlimit(resource, now).map_err(|e| Failure::io("resource limit", e))
}

/// Runs the program; returns why it could not.
fn execute(spec: &ProcessSpec, ready: &Ready) -> Failure {
    let Some(program) = spec.args.first().filter(|name| !name.is_empty()) else {
        return Failure::config("no command specified");
    };
    let args: Result<Vec<_>, _> =
        spec.args.iter().map(|arg| CString::new(arg.as_bytes())).collect();
    let Ok(args) = args else { return Failure::config("argument with a zero byte") };
    let attempt = |path: &str| -> Errno {
        match CString::new(path) {
            Ok(path) => match nix::unistd::execve(&path, &args, &ready.env) {
                Ok(never) => match never {},
                Err(error) => Errno::from_raw_os_error(error as i32),
            },
            Err(_) => Errno::INVAL,
        }
    };
    let wrong = |error: Errno| {
        let text = match error {
            Errno::NOENT => "no such file or directory".to_owned(),
            Errno::ACCESS => "permission denied".to_owned(),
            Errno::NOEXEC => "exec format error".to_owned(),
            other => other.to_string(),
        };
        Failure::new(FailureKind::CannotRun, format!("exec: {program:?}: {text}"))
    };
    if program.contains('/') {
        return wrong(attempt(program));
    }
    let mut denied = None;
    for dir in ready.path.split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        match attempt(&format!("{dir}/{program}")) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => denied = Some(Errno::ACCESS),
            error => return wrong(error),
        }
    }
    match denied {
        Some(error) => wrong(error),
        None => {
            let text = format!("exec: {program:?}: executable file not found in $PATH");
            Failure::new(FailureKind::CannotRun, text)
        }
    }
}
