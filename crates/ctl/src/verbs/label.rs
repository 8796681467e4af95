//! `label`.

use crate::error::Error;
use crate::session::Session;

use super::annotate::Metadata;

/// Flags of `label`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    metadata: Metadata,
}

impl Args {
    /// Sets and removes them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        self.metadata.run(session, "labels", "label").await
    }
}
