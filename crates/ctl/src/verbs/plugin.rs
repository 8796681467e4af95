//! `plugin`.

use crate::error::Error;
use crate::plugin::all;
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
        let found = all(&std::env::var_os("PATH").unwrap_or_default());
        if found.is_empty() {
            return Err(Error::new("unable to find any kubectl plugins in your PATH"));
        }
        session.print("The following compatible plugins are available:\n\n")?;
        for file in found {
            let name = file.file_name().map_or(file.as_os_str(), |name| name);
            let shown = if name_only { name } else { file.as_os_str() };
            session.print(&format!("{}\n", shown.to_string_lossy()))?;
        }
        Ok(())
    }
}
