//! `top`: what nodes and pods use, where something measures it (`metrics.k8s.io`).

use onggi_api::Quantity;
use onggi_machinery::value::{at, list_at, str_at};
use serde_json::Value;

use crate::error::Error;
use crate::output::tabwriter::{TABLE, align};
use crate::select::Selectors;
use crate::session::Session;

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

/// Flags of `top`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Of nodes
    #[command(visible_aliases = ["nodes", "no"])]
    Node(Shown),
    /// Of pods
    #[command(visible_aliases = ["pods", "po"])]
    Pod(Pods),
}

#[derive(Debug, clap::Args)]
struct Shown {
    /// Only this one
    name: Option<String>,
    #[command(flatten)]
    selectors: Selectors,
    /// cpu or memory
    #[arg(long, default_value = "", value_parser = ["", "cpu", "memory"])]
    sort_by: String,
    /// Do not print the headings
    #[arg(long)]
    no_headers: bool,
    /// Of all that the machine has, not of what pods may use
    #[arg(long)]
    show_capacity: bool,
    /// Of swap too
    #[arg(long)]
    show_swap: bool,
    /// Answers come as they are; taken and not minded
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set, hide = true)]
    use_protocol_buffers: bool,
}

#[derive(Debug, clap::Args)]
struct Pods {
    #[command(flatten)]
    shown: Shown,
    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Of each container
    #[arg(long)]
    containers: bool,
    /// The sum of all below
    #[arg(long)]
    sum: bool,
}

/// Thousandths of a CPU, and bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    cpu: i128,
    memory: i128,
}

impl Usage {
    fn of(usage: &Value) -> Self {
        let amount = |field: &str| str_at(usage, field).parse::<Quantity>().ok();
        Self {
            cpu: amount("cpu").map_or(0, |q| q.millis().into()),
            memory: amount("memory").map_or(0, |q| q.units().into()),
        }
    }

    fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
    }

    fn cells(self) -> String {
        format!("{}m\t{}Mi", self.cpu, self.memory / (1 << 20))
    }

    fn key(self, by: &str) -> i128 {
        match by {
            "cpu" => -self.cpu,
            "memory" => -self.memory,
            _ => 0,
        }
    }
}

impl Args {
    /// Prints it.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let groups = session.get("/apis", "application/json").await?;
        let serves =
            list_at(&groups, "groups").iter().any(|g| str_at(g, "name") == "metrics.k8s.io");
        if !serves {
            return Err(Error::new("Metrics API not available"));
        }
        match self.what {
            What::Node(shown) => shown.nodes(session).await,
            What::Pod(pods) => pods.run(session).await,
        }
    }
}

impl Shown {
    async fn items(&self, session: &Session, path: &str) -> Result<Vec<Value>, Error> {
        if let Some(name) = &self.name {
            return Ok(vec![session.get(&format!("{path}/{name}"), "application/json").await?]);
        }
        let selector = self.selectors.selector.as_deref().unwrap_or_default();
        let query = if selector.is_empty() {
            String::new()
        } else {
            let text =
                percent_encoding::utf8_percent_encode(selector, percent_encoding::NON_ALPHANUMERIC);
            format!("?labelSelector={text}")
        };
        let list = session.get(&format!("{path}{query}"), "application/json").await?;
        Ok(list_at(&list, "items").to_vec())
    }

    async fn nodes(self, session: &Session) -> Result<(), Error> {
        let mut items = self.items(session, &format!("{METRICS}/nodes")).await?;
        if items.is_empty() {
            return Err(Error::new("metrics not available yet"));
        }
        items.sort_by_key(|item| {
            (Usage::of(&item["usage"]).key(&self.sort_by), str_at(item, "metadata.name").to_owned())
        });
        let mapping = session.mapper().await?.by_name("nodes")?;
        let mut text = String::new();
        if !self.no_headers {
            text += "NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\n";
        }
        for item in &items {
            let name = str_at(item, "metadata.name");
            let node = session.object(mapping, "", name).await?;
            let field = if self.show_capacity { "capacity" } else { "allocatable" };
            let whole = Usage::of(at(&node, &format!("status.{field}")));
            let used = Usage::of(&item["usage"]);
            let share = |used: i128, whole: i128| {
                if whole == 0 { "<unknown>".to_owned() } else { format!("{}%", used * 100 / whole) }
            };
            text += &format!(
                "{name}\t{}m\t{}\t{}Mi\t{}\n",
                used.cpu,
                share(used.cpu, whole.cpu),
                used.memory / (1 << 20),
                share(used.memory, whole.memory)
            );
        }
        session.print(&align(&text, TABLE))
    }
}

impl Pods {
    async fn run(self, session: &Session) -> Result<(), Error> {
        let namespace = session.namespace();
        let path = if self.all_namespaces {
            format!("{METRICS}/pods")
        } else {
            format!("{METRICS}/namespaces/{namespace}/pods")
        };
        let items = self.shown.items(session, &path).await?;
        if items.is_empty() {
            let place = if self.all_namespaces {
                String::new()
            } else {
                format!(" in {namespace} namespace")
            };
            return session.print_error(&format!("No resources found{place}.\n"));
        }
        let mut rows: Vec<(i128, String, Usage)> = Vec::new();
        for item in &items {
            let place = if self.all_namespaces {
                format!("{}\t", str_at(item, "metadata.namespace"))
            } else {
                String::new()
            };
            let name = format!("{place}{}", str_at(item, "metadata.name"));
            let containers = list_at(item, "containers");
            let mut whole = Usage::default();
            containers.iter().for_each(|c| whole.add(Usage::of(&c["usage"])));
            if self.containers {
                for container in containers {
                    let used = Usage::of(&container["usage"]);
                    let name = format!("{name}\t{}", str_at(container, "name"));
                    rows.push((whole.key(&self.shown.sort_by), name, used));
                }
            } else {
                rows.push((whole.key(&self.shown.sort_by), name, whole));
            }
        }
        rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut text = String::new();
        if !self.shown.no_headers {
            let place = if self.all_namespaces { "NAMESPACE\t" } else { "" };
            let names = if self.containers { "POD\tNAME" } else { "NAME" };
            text += &format!("{place}{names}\tCPU(cores)\tMEMORY(bytes)\n");
        }
        let mut sum = Usage::default();
        for (_, name, used) in &rows {
            sum.add(*used);
            text += &format!("{name}\t{}\n", used.cells());
        }
        if self.sum {
            let columns = 1 + usize::from(self.all_namespaces) + usize::from(self.containers);
            let empty = "\t".repeat(columns - 1);
            text += &format!("{empty}\t________\t________\n{empty}\t{}\n", sum.cells());
        }
        session.print(&align(&text, TABLE))
    }
}
