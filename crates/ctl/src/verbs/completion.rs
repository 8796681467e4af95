//! `completion`: what shells complete the command line with.

use clap_complete::Shell;

use crate::error::Error;
use crate::session::Session;

/// Flags of `completion`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// bash, zsh or fish
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

impl Args {
    /// Prints the script for the program that is given.
    pub fn run(self, session: &Session, mut command: clap::Command) -> Result<(), Error> {
        let shell = match self.shell.as_str() {
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            _ => Shell::Bash,
        };
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, name, &mut script);
        session.print_bytes(&script)
    }
}
