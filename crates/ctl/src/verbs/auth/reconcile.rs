//! `auth reconcile`: roles get the rules, bindings the subjects that files have more.

use onggi_client::{Body, Request};
use onggi_machinery::resource::Verb;
use onggi_machinery::value::{list_at, str_at};
use serde_json::{Value, json};

use crate::apply::{Options, modernize, place};
use crate::error::Error;
use crate::flags::{Printing, Writing};
use crate::manifest::Files;
use crate::select::{DryRun, Found};
use crate::session::Session;
use crate::verbs::create::same_subject;

#[derive(Debug, clap::Args)]
pub(super) struct Reconcile {
    #[command(flatten)]
    files: Files,
    /// Take away the rules that a role has more
    #[arg(long)]
    remove_extra_permissions: bool,
    /// Take away the subjects that a binding has more
    #[arg(long)]
    remove_extra_subjects: bool,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    printing: Printing,
}

/// One action on one resource: what rules are compared by.
type Grant = [String; 5];

impl Reconcile {
    pub(super) async fn run(self, session: &Session) -> Result<(), Error> {
        if self.files.is_empty() {
            return Err(Error::new("must specify one of -f and -k"));
        }
        let format = self.printing.format()?;
        let options = Options { namespace: session.namespace(), ..Options::default() };
        for mut manifest in self.files.read(session)? {
            session.warn(&modernize(&mut manifest.value))?;
            let mapping = session.mapper().await?.of_object(&manifest.value, &manifest.source)?;
            if mapping.group != "rbac.authorization.k8s.io" {
                continue;
            }
            let namespace = place(mapping, &mut manifest.value, &options)?;
            let name = str_at(&manifest.value, "metadata.name").to_owned();
            let now = match session.object(mapping, &namespace, &name).await {
                Ok(value) => Some(Found { mapping: mapping.clone(), value }),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error),
            };
            let field = if mapping.kind.ends_with("Binding") { "subjects" } else { "rules" };
            let wanted = list_at(&manifest.value, field).to_vec();
            let have = now.as_ref().map_or(&[][..], |now| list_at(&now.value, field)).to_vec();
            let (added, extra) = if field == "rules" {
                (uncovered(&wanted, &have), uncovered(&have, &wanted))
            } else {
                (missing(&wanted, &have), missing(&have, &wanted))
            };
            let removes = if field == "rules" {
                self.remove_extra_permissions
            } else {
                self.remove_extra_subjects
            };
            let mut said = String::new();
            let object = match now {
                None => {
                    said += "\treconciliation required create\n";
                    let request = Request::new(Verb::Create, mapping.gvr(), &namespace, "");
                    self.written(session, request, manifest.value).await?
                }
                Some(now) => {
                    let changes = !added.is_empty() || (removes && !extra.is_empty());
                    let mut object = now.value.clone();
                    if changes {
                        said += "\treconciliation required update\n";
                        let list = match (removes, field) {
                            (true, _) => wanted.clone(),
                            (false, _) => have.iter().cloned().chain(added.clone()).collect(),
                        };
                        object[field] = Value::Array(list);
                        let request = Request::new(Verb::Update, mapping.gvr(), &namespace, &name);
                        object = self.written(session, request, object).await?;
                    }
                    object
                }
            };
            if !format.is_table() {
                session.print_object(&format, &object)?;
                continue;
            }
            let suffix = self.writing.dry_run.suffix();
            session.print(&format!("{}/{name} reconciled{suffix}\n", mapping.label()))?;
            let what = if field == "rules" { "rules" } else { "subjects" };
            for (list, word) in [
                (&added, format!("missing {what} added")),
                (
                    &extra,
                    format!("extra {what} {}", if removes { "removed" } else { "left in place" }),
                ),
            ] {
                if !list.is_empty() {
                    said += &format!("\t{word}:\n");
                    for one in list {
                        said += &format!("\t\t{}\n", spelled(one));
                    }
                }
            }
            session.print(&said)?;
        }
        Ok(())
    }

    async fn written(
        &self,
        session: &Session,
        mut request: Request,
        object: Value,
    ) -> Result<Value, Error> {
        if self.writing.dry_run == DryRun::Client {
            return Ok(object);
        }
        request.write.dry_run = self.writing.dry_run == DryRun::Server;
        session.call(request.body(Body::Object(object))).await
    }
}

fn missing(wanted: &[Value], have: &[Value]) -> Vec<Value> {
    let is_new = |one: &&Value| !have.iter().any(|other| same_subject(one, other));
    wanted.iter().filter(is_new).cloned().collect()
}

/// The rules with their grants that no rule of the others covers.
fn uncovered(wanted: &[Value], have: &[Value]) -> Vec<Value> {
    let known: Vec<Grant> = have.iter().flat_map(grants).collect();
    let covers = |known: &Grant, grant: &Grant| {
        known.iter().zip(grant).all(|(k, g)| k == g || (k == "*" && !g.is_empty()))
            || (known[3].is_empty()
                && known[..3].iter().zip(&grant[..3]).all(|(k, g)| k == g || k == "*")
                && known[4].is_empty()
                && grant[4].is_empty())
    };
    wanted
        .iter()
        .filter(|rule| grants(rule).iter().any(|grant| !known.iter().any(|k| covers(k, grant))))
        .cloned()
        .collect()
}

/// Verb, group, resource, name, path: each combination that a rule allows.
fn grants(rule: &Value) -> Vec<Grant> {
    let texts = |field: &str| -> Vec<String> {
        list_at(rule, field).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let names = match texts("resourceNames") {
        names if names.is_empty() => vec![String::new()],
        names => names,
    };
    let mut found = Vec::new();
    for verb in texts("verbs") {
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                for name in &names {
                    let (verb, group) = (verb.clone(), group.clone());
                    found.push([verb, group, resource.clone(), name.clone(), String::new()]);
                }
            }
        }
        for path in texts("nonResourceURLs") {
            let none = String::new;
            found.push([verb.clone(), none(), none(), none(), path]);
        }
    }
    found
}

/// A rule or a subject on one line.
fn spelled(one: &Value) -> String {
    json!(one).to_string()
}
