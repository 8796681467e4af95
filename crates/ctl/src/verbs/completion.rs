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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is put on the command line of bash for an answer of `__complete`; `None`: no bash here.
    fn bash(answer: &str, words: &[&str]) -> Option<String> {
        let ask = r#"
            answer=$1; shift
            answers() { printf '%s' "$answer"; }
            COMP_WORDS=(answers "$@"); COMP_CWORD=$#
            __onggi_complete
            printf '%s\n' "${COMPREPLY[@]}"
        "#;
        let script = BASH.replace("complete -F", ": complete -F") + ask;
        let mut bash = std::process::Command::new("bash");
        let output = bash.args(["--norc", "-c", &script, "bash", answer]).args(words).output();
        Some(String::from_utf8(output.ok()?.stdout).unwrap())
    }

    #[test]
    fn bash_takes_nothing_for_its_own() {
        for (answer, words, expected) in [
            ("pods,services\tx\npods/\n:6\n", vec!["get", "po"], "pods,services\npods/\n"),
            ("$(x)\nb c\n:4\n", vec!["get", ""], "\\$\\(x\\)\nb\\ c\n"),
            ("--output=json\n:4\n", vec!["get", "--output", "=", "js"], "json\n"),
            ("x\n:a[$(echo run >&2)]\n", vec!["get", ""], "\n"),
            ("junk\n", vec!["get", ""], "\n"),
        ] {
            let Some(put) = bash(answer, &words) else { return };
            assert_eq!(put, expected, "{answer}");
        }
    }
}
