//! Little programs that run in containers: `/bin/prog MODE …`.

use std::io::{Read, Write};
use std::process::ExitCode;

pub(crate) fn main(args: &[String]) -> ExitCode {
    let arg = |index: usize| args.get(index).map(String::as_str).unwrap_or_default();
    match arg(0) {
        "sleep" => loop {
            std::thread::park();
        },
        "exit" => return ExitCode::from(arg(1).parse::<u8>().unwrap()),
        "print" => {
            println!("{}", arg(1));
            eprintln!("{}", arg(2));
        }
        "print-sleep" => {
            println!("{}", arg(1));
            loop {
                std::thread::park();
            }
        }
        // Any number of files, whole.
        "read" => {
            for path in &args[1..] {
                match std::fs::read_to_string(path) {
                    Ok(text) => print!("{text}"),
                    Err(error) => println!("{path}: {error}"),
                }
            }
        }
        "list" => {
            for entry in std::fs::read_dir(arg(1)).unwrap() {
                println!("{}", entry.unwrap().file_name().to_string_lossy());
            }
        }
        "write" => {
            if let Err(error) = std::fs::write(arg(1), arg(2)) {
                println!("{}: {error}", arg(1));
                return ExitCode::FAILURE;
            }
        }
        "env" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "cwd" => println!("{}", std::env::current_dir().unwrap().display()),
        "id" => {
            let groups: Vec<_> =
                nix::unistd::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
            println!("{} {} {groups:?}", nix::unistd::getuid(), nix::unistd::getgid());
        }
        "cat" | "say-cat" => {
            if arg(0) == "say-cat" {
                println!("{}", arg(1));
            }
            let mut buffer = [0; 4096];
            loop {
                let count = std::io::stdin().read(&mut buffer).unwrap();
                if count == 0 {
                    break;
                }
                std::io::stdout().write_all(&buffer[..count]).unwrap();
                std::io::stdout().flush().unwrap();
            }
        }
        // SIGTERM has no handler and we are number 1: the kernel drops it.
        "ignore-term" => {
            println!("ready");
            loop {
                std::thread::park();
            }
        }
        "on-term" => {
            let mut set = nix::sys::signal::SigSet::empty();
            set.add(nix::sys::signal::SIGTERM);
            set.add(nix::sys::signal::SIGUSR1);
            set.thread_block().unwrap();
            println!("ready");
            let signal = set.wait().unwrap();
            println!("got {signal}");
            return ExitCode::from(7);
        }
        "eat" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&all);
            }
        }
        "listen" => {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 8080)).unwrap();
            println!("listening");
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 64];
                let count = stream.read(&mut buffer).unwrap();
                stream.write_all(&buffer[..count]).unwrap();
            }
        }
        "tty" => {
            let size = rustix::termios::tcgetwinsize(std::io::stdout());
            let tty = rustix::termios::isatty(std::io::stdin());
            println!("tty {tty} {}", size.is_ok());
            if arg(1) == "wait-size" {
                loop {
                    let size = rustix::termios::tcgetwinsize(std::io::stdout()).unwrap();
                    if size.ws_col == 120 {
                        println!("size {} {}", size.ws_col, size.ws_row);
                        break;
                    }
                    std::thread::yield_now();
                }
            }
        }
        "syscalls" => {
            let try_all = [
                ("unshare", nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)),
                ("sethostname", nix::unistd::sethostname("x")),
                (
                    "mount",
                    nix::mount::mount(
                        Some("none"),
                        "/tmp",
                        Some("tmpfs"),
                        nix::mount::MsFlags::empty(),
                        None::<&str>,
                    ),
                ),
            ];
            for (name, result) in try_all {
                println!("{name} {result:?}");
            }
        }
        // A device of one's own must not reach the node's.
        "mknod" => {
            use nix::sys::stat::{Mode, SFlag, makedev, mknod};
            let made =
                mknod(arg(1), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5));
            let read = std::fs::File::open(arg(1)).map(drop).map_err(|error| error.kind());
            println!("{made:?} {read:?}");
        }
        "clock" => {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            println!("{}", time.tv_sec * 1_000_000_000 + time.tv_nsec);
        }
        "long" => {
            let line = "x".repeat(arg(1).parse().unwrap());
            println!("{line}");
        }
        // A grandchild that outlives its parent and keeps the output open.
        #[allow(clippy::zombie_processes)] // That is the point.
        "leave-child" => {
            let me = std::env::args().next().unwrap();
            let child = std::process::Command::new(me).arg("sleep").spawn().unwrap();
            println!("left {}", child.id());
        }
        mode => {
            eprintln!("unknown mode {mode:?}");
            return ExitCode::from(99);
        }
    }
    ExitCode::SUCCESS
}
