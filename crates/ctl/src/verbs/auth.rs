//! `auth`: who I am, what I may, and roles as files say.

use onggi_machinery::value::{entries_at, list_at, str_at};
use serde_json::{Value, json};

use crate::describe;
use crate::error::Error;
use crate::flags::Printing;
use crate::output::tabwriter::{TABLE, align};
use crate::session::Session;

mod reconcile;

/// Flags of `auth`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Whether an action is allowed
    CanI(CanI),
    /// Who the server takes me for
    Whoami(Whoami),
    /// Add to roles and bindings what files have more
    Reconcile(reconcile::Reconcile),
}

#[derive(Debug, clap::Args)]
struct CanI {
    /// VERB [TYPE | TYPE/NAME | /PATH]
    #[arg(value_name = "VERB TYPE[/NAME]")]
    args: Vec<String>,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Say it by the exit code alone
    #[arg(long, short)]
    quiet: bool,
    /// Part of the objects: log, scale
    #[arg(long, default_value = "")]
    subresource: String,
    /// All that is allowed in the namespace
    #[arg(long)]
    list: bool,
    /// Do not print the headings
    #[arg(long)]
    no_headers: bool,
}

#[derive(Debug, clap::Args)]
struct Whoami {
    #[command(flatten)]
    printing: Printing,
}

impl Args {
    /// Asks the server.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        match self.what {
            What::CanI(can) if can.list => can.list(session).await,
            What::CanI(can) => can.run(session).await,
            What::Whoami(who) => who.run(session).await,
            What::Reconcile(reconcile) => reconcile.run(session).await,
        }
    }
}

impl CanI {
    async fn run(self, session: &Session) -> Result<(), Error> {
        let spec = match self.args.as_slice() {
            [verb, path] if path.starts_with('/') => {
                if !self.subresource.is_empty() {
                    return Err(Error::new("--subresource can not be used with NonResourceURL"));
                }
                json!({"nonResourceAttributes": {"path": path, "verb": verb}})
            }
            [verb, what] => self.attributes(session, verb, what, "").await?,
            [verb, what, name] => self.attributes(session, verb, what, name).await?,
            _ => {
                return Err(Error::new(
                    "you must specify two arguments: verb resource or verb resource/resourceName.\n\
                     See 'onggi auth can-i -h' for help and examples.",
                ));
            }
        };
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec,
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = session.ask(path, &review).await?;
        let allowed = answer["status"]["allowed"] == true;
        if !self.quiet {
            let mut text = if allowed { "yes" } else { "no" }.to_owned();
            let reason = str_at(&answer, "status.reason");
            let fault = str_at(&answer, "status.evaluationError");
            if !allowed && !reason.is_empty() {
                text += &format!(" - {reason}");
            }
            if !allowed && !fault.is_empty() {
                text += &format!(" - {fault}");
            }
            session.print(&(text + "\n"))?;
        }
        if allowed { Ok(()) } else { Err(Error::Exit(1)) }
    }

    async fn attributes(
        &self,
        session: &Session,
        verb: &str,
        what: &str,
        name: &str,
    ) -> Result<Value, Error> {
        const VERBS: &[&str] = &[
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
            "use",
            "bind",
            "impersonate",
            "*",
            "approve",
            "sign",
            "escalate",
            "attest",
        ];
        if !VERBS.contains(&verb) {
            session.warn(&[format!("verb '{verb}' is not a known verb\n")])?;
        }
        let (kind, named) = what.split_once('/').unwrap_or((what, name));
        let mut namespace = if self.all_namespaces { String::new() } else { session.namespace() };
        let (group, resource) = if kind == "*" {
            ("*".to_owned(), "*".to_owned())
        } else {
            match session.mapper().await?.by_name(kind) {
                Ok(mapping) => {
                    if !mapping.namespaced {
                        let mut said =
                            format!("resource '{}' is not namespace scoped", mapping.plural);
                        if !mapping.group.is_empty() {
                            said += &format!(" in group '{}'", mapping.group);
                        }
                        session.warn(&[said + "\n"])?;
                        namespace = String::new();
                    }
                    (mapping.group.clone(), mapping.plural.clone())
                }
                Err(_) => {
                    let (plain, group) = kind.split_once('.').unwrap_or((kind, ""));
                    let said = if group.is_empty() {
                        format!("the server doesn't have a resource type '{plain}'\n")
                    } else {
                        format!(
                            "the server doesn't have a resource type '{plain}' in group '{group}'\n"
                        )
                    };
                    session.warn(&[said])?;
                    (group.to_owned(), plain.to_owned())
                }
            }
        };
        Ok(json!({"resourceAttributes": {
            "group": group, "name": named, "namespace": namespace, "resource": resource,
            "subresource": self.subresource, "verb": verb,
        }}))
    }

    async fn list(self, session: &Session) -> Result<(), Error> {
        if !self.args.is_empty() {
            return Err(Error::new("list option must be specified with no arguments"));
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": session.namespace()},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        let answer = session.ask(path, &review).await?;
        if answer["status"]["incomplete"] == true {
            let why = str_at(&answer, "status.evaluationError");
            session.warn(&[format!("the list may be incomplete: {why}")])?;
        }
        let mut text = String::new();
        if !self.no_headers {
            text += "Resources\tNon-Resource URLs\tResource Names\tVerbs\n";
        }
        let of = |field: &str| list_at(&answer, field).iter();
        let rules = of("status.resourceRules").chain(of("status.nonResourceRules"));
        text.extend(describe::rules(rules).into_iter().map(|row| row + "\n"));
        session.print(&align(&text, TABLE))
    }
}

impl Whoami {
    async fn run(self, session: &Session) -> Result<(), Error> {
        let format = self.printing.format()?;
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
        });
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let answer = session.ask(path, &review).await?;
        if !format.is_table() {
            return session.print_object(&format, &answer);
        }
        let mut text = "ATTRIBUTE\tVALUE\n".to_owned();
        let words = |list: &Value| {
            let items = list.as_array().into_iter().flatten().filter_map(Value::as_str);
            format!("[{}]", items.collect::<Vec<_>>().join(" "))
        };
        for (label, field) in [("Username", "username"), ("UID", "uid")] {
            let value = str_at(&answer, &format!("status.userInfo.{field}"));
            if !value.is_empty() {
                text += &format!("{label}\t{value}\n");
            }
        }
        let user = &answer["status"]["userInfo"];
        if !list_at(user, "groups").is_empty() {
            text += &format!("Groups\t{}\n", words(&user["groups"]));
        }
        for (key, values) in entries_at(user, "extra") {
            text += &format!("Extra: {key}\t{}\n", words(values));
        }
        session.print(&align(&text, TABLE))
    }
}
