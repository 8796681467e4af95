//! The runtime on a real kernel. Needs root; without it every test is skipped with a line.
//!
//! This binary plays three parts: the tests, the shims that the runtime starts, and, copied into
//! root file systems, the programs in the containers (`program`).

// Without the standard harness clippy does not see that these are tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod daemon;
mod exec;
mod faults;
mod fixture;
mod isolation;
mod lifecycle;
mod program;

use std::process::ExitCode;
use std::time::Duration;

/// A test that hangs has failed.
const TEST: Duration = Duration::from_secs(60);

type Test = (&'static str, fn() -> futures::future::BoxFuture<'static, ()>);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let name = args.first().map(String::as_str).unwrap_or_default();
    if name.starts_with("/bin/") || name.starts_with("prog") {
        return program::main(&args[1..]);
    }
    match args.get(1).map(String::as_str) {
        Some("shim") => return ExitCode::from(onggi_runtime::shim::main(&args[2..]) as u8),
        Some("daemon") => return daemon::main(&args[2..]),
        _ => {}
    }
    let filters: Vec<_> = args[1..].iter().filter(|arg| !arg.starts_with('-')).collect();
    let tests: Vec<Test> = lifecycle::TESTS
        .iter()
        .chain(isolation::TESTS)
        .chain(exec::TESTS)
        .chain(faults::TESTS)
        .chain(bench::TESTS)
        .filter(|(name, _)| {
            // Benchmarks run only when asked for.
            if filters.is_empty() {
                !name.starts_with("bench")
            } else {
                filters.iter().any(|filter| name.contains(filter.as_str()))
            }
        })
        .copied()
        .collect();
    if args.iter().any(|arg| arg == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() {
        tests.iter().for_each(|(name, _)| println!("test {name} ... skipped: needs root"));
        return ExitCode::SUCCESS;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut failed = 0;
    for (name, test) in tests {
        let start = std::time::Instant::now();
        let ok = runtime.block_on(async {
            let test = tokio::time::timeout(TEST, tokio::spawn(test()));
            matches!(test.await, Ok(Ok(())))
        });
        let verdict = if ok { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict} ({} ms)", start.elapsed().as_millis());
        failed += usize::from(!ok);
    }
    fixture::remove_layer();
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
