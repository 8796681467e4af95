//! `plugin`.

use crate::error::Error;
use crate::plugin::{Plugin, all};
use crate::session::Session;

/// Flags of `plugin`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the programs that are verbs too
    List {
        /// Their names alone
        #[arg(long)]
        name_only: bool,
    },
}

impl Args {
    /// Prints them.
    pub fn run(self, session: &Session) -> Result<(), Error> {
        let What::List { name_only } = self.what;
        let command = super::own_command();
        let found = all(&std::env::var_os("PATH").unwrap_or_default(), |verb| {
            command.find_subcommand(verb).is_some()
        });
        if found.is_empty() {
            return Err(Error::new("unable to find any kubectl plugins in your PATH"));
        }
        session.print("The following compatible plugins are available:\n\n")?;
        let mut warnings = 0;
        for Plugin { path, warning } in found {
            let name = path.file_name().map_or(path.as_os_str(), |name| name);
            let shown = if name_only { name } else { path.as_os_str() };
            session.print(&format!("{}\n", shown.to_string_lossy()))?;
            if !warning.is_empty() {
                warnings += 1;
                session.print_error(&format!("  - warning: {warning}\n"))?;
            }
        }
        match warnings {
            0 => {}
            1 => return Err(Error::new("one plugin warning was found")),
            count => return Err(Error::new(format!("{count} plugin warnings were found"))),
        }
        Ok(())
    }
}
