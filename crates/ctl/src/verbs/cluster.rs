//! `cluster-info` and `version`.

mod dump;

use onggi_machinery::value::str_at;
use serde_json::json;

use crate::error::Error;
use crate::output::Format;
use crate::session::Session;

/// The Kustomize that ours does as.
const KUSTOMIZE: &str = "v5.8.1";

/// Flags of `cluster-info`.
#[derive(Debug, clap::Args)]
pub struct InfoArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print or write down all that helps to find out what is wrong
    Dump(dump::Dump),
}

/// Flags of `version`.
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// Of the client alone
    #[arg(long)]
    client: bool,
    /// yaml or json
    #[arg(long, short, default_value = "")]
    output: String,
}

impl InfoArgs {
    /// Prints it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        if let Some(What::Dump(dump)) = self.what {
            return dump.run(session).await;
        }
        session.get("/version", "application/json").await?;
        let server = session.connection()?.server.trim_end_matches('/').to_owned();
        session.print(&format!(
            "Kubernetes control plane is running at {server}\n\nTo further debug and diagnose \
             cluster problems, use 'onggi cluster-info dump'.\n"
        ))
    }
}

impl VersionArgs {
    /// Prints them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        if !matches!(self.output.as_str(), "" | "yaml" | "json") {
            return Err(Error::new("--output must be 'yaml' or 'json'"));
        }
        let format = Format::parse(&self.output)?;
        let version = concat!("v", env!("CARGO_PKG_VERSION"));
        if format.is_table() {
            session
                .print(&format!("Client Version: {version}\nKustomize Version: {KUSTOMIZE}\n"))?;
            if !self.client {
                let server = session.get("/version", "application/json").await?;
                session.print(&format!("Server Version: {}\n", str_at(&server, "gitVersion")))?;
            }
            return Ok(());
        }
        let mut both = json!({
            "clientVersion": {"gitVersion": version}, "kustomizeVersion": KUSTOMIZE,
        });
        if !self.client {
            both["serverVersion"] = session.get("/version", "application/json").await?;
        }
        match format {
            // kubectl indents these by two.
            Format::Json => session.print(&crate::output::json::indented(&both, "  ")),
            format => session.print_object(&format, &both),
        }
    }
}
