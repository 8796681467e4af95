//! Chores of the workspace: code generation and tidy checks.

mod api_page;
mod schemas;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask schemas --from WHEEL_OR_DIR --protobuf DIR [--check]
    Writes crates/api/src/schema/{schema,prose,facts}.bin from the published definitions and the
    Go types.
    WHEEL_OR_DIR  the package kubernetes-validate of PyPI, packed or unpacked
    DIR           the sources of the Go modules k8s.io/{api,apimachinery,apiextensions-apiserver,
                  kube-aggregator} of the same version: every generated.proto below it is read,
                  and the sources beside it
    --check       writes nothing; fails when the file holds another table
cargo xtask api-page [--check]
    Writes docs/kubernetes-api.md from the resource table.
    --check       writes nothing; fails when the file says something else
cargo xtask tidy
    Checks layers, file lengths, module comments and where `unsafe` stands.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("schemas") => schemas::run(&args[1..]),
        Some("api-page") => match args.get(1).map(String::as_str) {
            None => api_page::write(root()),
            Some("--check") => api_page::check(root()),
            Some(other) => bail!("api-page has no option {other:?}\n{HELP}"),
        },
        Some("tidy") => tidy::check(root()),
        Some("help" | "--help" | "-h") | None => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("there is no chore {other:?}\n{HELP}"),
    }
}

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}
