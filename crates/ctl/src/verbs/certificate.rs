//! `certificate approve` and `certificate deny`.

use onggi_machinery::value::{list_at, str_at};
use serde_json::{Value, json};

use crate::error::Error;
use crate::flags::Printing;
use crate::gather::{Gathered, Wanted};
use crate::manifest::Files;
use crate::select::{Found, Selectors};
use crate::session::Session;

/// Flags of `certificate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Let the request be signed
    Approve(Which),
    /// Refuse the request
    Deny(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Names of the requests, or csr/NAME
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// Again, where it was decided already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    printing: Printing,
}

impl Args {
    /// Decides.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        match self.what {
            What::Approve(which) => which.decide(session, "Approved", "approved", "approve").await,
            What::Deny(which) => which.decide(session, "Denied", "denied", "deny").await,
        }
    }
}

impl Which {
    async fn decide(
        self,
        session: &Session,
        condition: &str,
        said: &str,
        verb: &str,
    ) -> Result<(), Error> {
        if self.names.is_empty() && self.files.is_empty() && self.selectors.is_empty() {
            return Err(Error::new(
                "one or more CSRs must be specified as <name> or -f <filename>",
            ));
        }
        let format = self.printing.format()?;
        let mut args = vec!["certificatesigningrequests.certificates.k8s.io".to_owned()];
        let only_files = self.names.is_empty() && !self.files.is_empty();
        if only_files || self.names.iter().any(|name| name.contains('/')) {
            args.clear();
        }
        args.extend(self.names.iter().cloned());
        let wanted = Wanted::new(&args, &self.files, &self.selectors);
        let Gathered { found, mut errors } = session.gather(&wanted).await?;
        for one in &found {
            if one.mapping.kind != "CertificateSigningRequest" {
                errors.push(Error::new(format!(
                    "can only handle certificates.k8s.io/v1 certificate signing requests, not {}",
                    one.mapping.kind
                )));
                continue;
            }
            let object = match self.condition(session, one.clone(), condition, verb).await {
                Ok(object) => object,
                Err(error) => {
                    Error::note(&mut errors, error)?;
                    continue;
                }
            };
            if format.is_table() {
                session.print(&format!("{} {said}\n", one.label()))?;
            } else {
                session.print_object(&format, &object)?;
            }
        }
        Error::all(errors)
    }

    /// Writes the decision; anew when somebody else wrote meanwhile.
    async fn condition(
        &self,
        session: &Session,
        mut one: Found,
        kind: &str,
        verb: &str,
    ) -> Result<Value, Error> {
        const TRIES: u32 = 10;
        for tried in 1.. {
            let conditions = list_at(&one.value, "status.conditions").to_vec();
            let opposite = if kind == "Approved" { "Denied" } else { "Approved" };
            if conditions.iter().any(|c| str_at(c, "type") == opposite) {
                return Err(Error::new(format!(
                    "certificate signing request {:?} is already {}",
                    one.name(),
                    opposite.to_lowercase()
                )));
            }
            let there = conditions.iter().any(|c| str_at(c, "type") == kind);
            if there && !self.force {
                return Ok(one.value);
            }
            let now = jiff::Timestamp::now();
            let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
            let word = if verb == "deny" { "denied" } else { "approved" };
            let reason = if verb == "deny" { "KubectlDeny" } else { "KubectlApprove" };
            let mut list: Vec<Value> =
                conditions.into_iter().filter(|c| str_at(c, "type") != kind).collect();
            list.push(json!({
                "type": kind, "status": "True", "reason": reason, "lastUpdateTime": now,
                "message": format!("This CSR was {word} by kubectl certificate {verb}."),
            }));
            let mut object = one.value.clone();
            object["status"]["conditions"] = Value::Array(list);
            match session.replace(&one, "approval", object, "").await {
                Err(Error::Api(error)) if error.is_conflict() && tried < TRIES => {
                    one.value = session.object(&one.mapping, "", one.name()).await?;
                }
                result => return result,
            }
        }
        Ok(one.value)
    }
}
