//! `completion`: what makes a shell ask `__complete` for the rest of a command line.

use crate::error::Error;
use crate::session::Session;

const BASH: &str = include_str!("completion/bash.sh");
const ZSH: &str = include_str!("completion/zsh.sh");
const FISH: &str = include_str!("completion/fish.fish");
const POWERSHELL: &str = include_str!("completion/powershell.ps1");

/// Flags of `completion`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// bash, zsh, fish or powershell
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish", "powershell"])]
    shell: String,
}

/// Arguments of `__complete`.
#[derive(Debug, clap::Args)]
pub struct Complete {
    /// The words behind the program's name; the last one is begun, and may be empty
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Args {
    /// Prints the script.
    pub fn run(self, session: &Session) -> Result<(), Error> {
        let script = match self.shell.as_str() {
            "zsh" => ZSH,
            "fish" => FISH,
            "powershell" => POWERSHELL,
            _ => BASH,
        };
        session.print(script)
    }
}

impl Complete {
    /// Prints what the last word may be. `root`: the program's command.
    pub async fn run(self, session: &Session, root: clap::Command) -> Result<(), Error> {
        crate::complete::run(session, root, &self.words).await
    }
}
