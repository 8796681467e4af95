//! The binary: arguments, signals, `up`, `down`, `demo`.

mod args;
mod demo;
mod http;
mod images;
mod lifecycle;
mod status;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    // The hidden roles come first: a shim must stay small and needs nothing of what follows.
    let given: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    match given.split_first() {
        Some((role, rest)) if role == "shim" => return exit(onggi_runtime::shim::main(rest)),
        Some((role, rest)) if role == "shop" => return shop(rest),
        _ => {}
    }
    let args = Args::parse();
    match run(args.command, args.globals) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes, without those that it names itself.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn run(command: Command, globals: onggi_ctl::Globals) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(node) => lifecycle::up(&node.options()?),
        Command::Demo(node) => demo::run(&node.options()?),
        Command::Down(down) => lifecycle::down(&down),
        Command::Server(server) => lifecycle::server(server.options()?),
        Command::Daemon { options } => lifecycle::daemon(&options),
        Command::Secrets(crate::args::Secrets::RotateKey(place)) => lifecycle::rotate_key(&place),
        Command::Kubeconfig(place) => lifecycle::kubeconfig(&place),
        Command::Status(status) => lifecycle::wait(status::run(&status)),
        Command::Images(verb) => lifecycle::wait(images::run(verb)),
        Command::Kubectl(verb) => lifecycle::wait(async { Ok(verb.run(globals).await) }),
    }
}

fn exit(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The sample application, which lives in this binary so that one file makes its image.
fn shop(arguments: &[String]) -> ExitCode {
    let service = arguments.first().map_or("", String::as_str);
    match onggi_shop::run(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
