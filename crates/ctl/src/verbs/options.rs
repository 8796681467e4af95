//! `options`: the flags that every verb has.

use clap::Args as _;

use crate::error::Error;
use crate::session::{Globals, Session};

/// Flags of `options`.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Prints them.
    pub fn run(self, session: &Session) -> Result<(), Error> {
        let command = Globals::augment_args(clap::Command::new("options").disable_help_flag(true));
        let mut text = "The following options can be passed to any command:\n\n".to_owned();
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let short =
                argument.get_short().map_or_else(|| "    ".to_owned(), |c| format!("-{c}, "));
            let long = argument.get_long().unwrap_or_default();
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            text += &format!("    {short}--{long}:\n\t{help}\n\n");
        }
        session.print(&text)
    }
}
