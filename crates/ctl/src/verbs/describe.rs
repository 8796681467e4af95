//! `describe`.

use onggi_machinery::value::str_at;

use crate::describe::{self, Related};
use crate::error::Error;
use crate::gather::{Gathered, Wanted};
use crate::manifest::Files;
use crate::rollout::{pods_of, replica_sets};
use crate::select::{Found, Selectors};
use crate::session::Session;

/// Flags of `describe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TYPE [NAME …], or TYPE/NAME …
    #[arg(value_name = "TYPE[/NAME]")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    selectors: Selectors,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Items of a page; taken and not minded
    #[arg(long, hide = true, allow_negative_numbers = true, default_value_t = 500)]
    chunk_size: i64,
    /// Print events too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    show_events: Option<bool>,
}

impl Args {
    /// Prints them.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let (Gathered { found, mut errors }, by_prefix) = self.found(session).await?;
        if found.is_empty() {
            Error::all(errors)?;
            let text = if self.all_namespaces {
                "No resources found\n".to_owned()
            } else {
                format!("No resources found in {} namespace.\n", session.namespace())
            };
            return session.print_error(&text);
        }
        let now = jiff::Timestamp::now().as_second();
        for (at, one) in found.iter().enumerate() {
            // Those of several objects only where they are asked for.
            let with_events = self.show_events.unwrap_or(found.len() == 1 && !by_prefix);
            let related = match self.related(session, one, with_events).await {
                Ok(related) => related,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let text = describe::object(&one.value, &related, now);
            let before = if at > 0 && !by_prefix { "\n\n" } else { "" };
            let after = if by_prefix { "\n" } else { "" };
            session.print(&format!("{before}{text}{after}"))?;
        }
        Error::all(errors)
    }

    /// As other verbs; a name that is not there may be the beginning of others, as for kubectl,
    /// which the second value says.
    async fn found(&self, session: &Session) -> Result<(Gathered, bool), Error> {
        let find = async |args: &[String]| {
            let wanted = Wanted::new(args, &self.files, &self.selectors).whole_kinds(true);
            session.gather(&wanted.in_all_namespaces(self.all_namespaces)).await
        };
        let gathered = find(&self.args).await?;
        let [kind, prefix] = self.args.as_slice() else { return Ok((gathered, false)) };
        if gathered.errors.is_empty() || !gathered.errors.iter().all(Error::is_not_found) {
            return Ok((gathered, false));
        }
        let mut all = find(std::slice::from_ref(kind)).await?;
        all.found.retain(|one| one.name().starts_with(prefix.as_str()));
        Ok(if all.found.is_empty() { (gathered, false) } else { (all, true) })
    }

    /// The Services of an Ingress that there are, with their addresses.
    async fn backends(
        &self,
        session: &Session,
        one: &Found,
    ) -> Result<Vec<serde_json::Value>, Error> {
        let mapper = session.mapper().await?;
        let namespace = one.namespace();
        let none = Selectors::default();
        let mut services = session.list(mapper.by_name("services")?, namespace, &none).await?;
        let Ok(mapping) = mapper.by_name("endpointslices.discovery.k8s.io") else {
            return Ok(services);
        };
        let slices = session.list(mapping, namespace, &none).await?;
        for service in &mut services {
            let name = str_at(service, "metadata.name");
            let own: Vec<_> = slices
                .iter()
                .filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == name)
                .cloned()
                .collect();
            service["slices"] = serde_json::Value::Array(own);
        }
        Ok(services)
    }

    async fn related(
        &self,
        session: &Session,
        one: &Found,
        with_events: bool,
    ) -> Result<Related, Error> {
        let mut related = Related::default();
        let mapper = session.mapper().await?;
        match one.mapping.kind.as_str() {
            "Deployment" => related.objects = replica_sets(session, &one.value).await?,
            "ReplicaSet" => {
                related.objects = pods_of(session, &one.value).await?;
                let owned =
                    |pod: &serde_json::Value| crate::rollout::is_controlled_by(pod, &one.value);
                related.objects.retain(owned);
            }
            "StatefulSet" | "DaemonSet" | "ReplicationController" => {
                related.objects = pods_of(session, &one.value).await?;
                let owned =
                    |pod: &serde_json::Value| crate::rollout::is_controlled_by(pod, &one.value);
                related.objects.retain(owned);
            }
            "Namespace" => {
                for kind in ["resourcequotas", "limitranges"] {
                    if let Ok(mapping) = mapper.by_name(kind) {
                        let none = Selectors::default();
                        let mut found = session.list(mapping, one.name(), &none).await?;
                        for object in &mut found {
                            object["kind"] = serde_json::json!(mapping.kind);
                        }
                        related.objects.extend(found);
                    }
                }
            }
            "PersistentVolumeClaim" => {
                let pods = mapper.by_name("pods")?;
                related.objects =
                    session.list(pods, one.namespace(), &Selectors::default()).await?;
            }
            "Ingress" => related.objects = self.backends(session, one).await?,
            "Service" => {
                if let Ok(slices) = mapper.by_name("endpointslices.discovery.k8s.io") {
                    let selector = format!("kubernetes.io/service-name={}", one.name());
                    let selectors = Selectors { selector: Some(selector), field_selector: None };
                    related.objects = session.list(slices, one.namespace(), &selectors).await?;
                }
            }
            "Node" => {
                let selector = format!("spec.nodeName={}", one.name());
                let selectors = Selectors { selector: None, field_selector: Some(selector) };
                related.objects = session.list(mapper.by_name("pods")?, "", &selectors).await?;
                if let Ok(leases) = mapper.by_name("leases.coordination.k8s.io") {
                    let lease = session.object(leases, "kube-node-lease", one.name()).await;
                    related.lease = Some(lease.map_err(|error| error.to_string()));
                }
            }
            _ => {}
        }
        if !with_events {
            return Ok(related);
        }
        if let Some(events) = mapper.by_kind("v1", "Event") {
            let uid = str_at(&one.value, "metadata.uid");
            let mut fields = vec![
                format!("involvedObject.name={}", one.name()),
                format!("involvedObject.kind={}", one.mapping.kind),
            ];
            // Events of nodes name the node where others name a uid.
            if one.mapping.kind != "Node" {
                fields.push(format!("involvedObject.uid={uid}"));
            }
            let selectors = Selectors { selector: None, field_selector: Some(fields.join(",")) };
            let namespace = if one.mapping.namespaced { one.namespace() } else { "" };
            related.events = Some(session.list(events, namespace, &selectors).await?);
        }
        Ok(related)
    }
}
