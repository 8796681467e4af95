//! What a machine must have, and what must be free: `up` looks before it starts anything, `doctor`
//! explains all of it.

use std::net::{SocketAddr, TcpListener};

use onggi_machinery::validation::names;
use onggi_net::Instance;
use serde::Serialize;

use crate::options::Options;
use crate::paths::Paths;

mod advice;

/// How a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it must be.
    Ok,
    /// It runs, and something will be missed.
    Warning,
    /// Nothing starts before it is mended.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it weighs.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do; empty where nothing is.
    pub fix: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>, why: &'static str) -> Self {
        Self { check, severity: Severity::Ok, found: found.into(), why, fix: String::new() }
    }

    fn error(
        check: &'static str,
        found: impl Into<String>,
        why: &'static str,
        fix: impl Into<String>,
    ) -> Self {
        let (found, fix) = (found.into(), fix.into());
        Self { check, severity: Severity::Error, found, why, fix }
    }

    fn warning(
        check: &'static str,
        found: impl Into<String>,
        why: &'static str,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(check, found, why, fix) }
    }

    /// The problem in one sentence.
    fn sentence(&self) -> String {
        if self.fix.is_empty() {
            self.found.clone()
        } else {
            format!("{}; {}", self.found, self.fix)
        }
    }
}

/// Everything that stands in the way, in words that say what to do. Empty: go ahead.
pub fn check(options: &Options, paths: &Paths) -> Vec<String> {
    let user = user();
    if user.severity == Severity::Error {
        return vec![user.sentence()];
    }
    let mut findings = needed();
    findings.push(node_name(&options.node_name));
    findings.push(listener(options.listen));
    findings.extend(network(options, paths));
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(Finding::sentence).collect()
}

/// Everything that was looked at. `running`: the process of the cluster of this data directory,
/// which uses its own addresses.
pub fn examine(options: &Options, paths: &Paths, running: Option<i32>) -> Vec<Finding> {
    let mut findings = vec![user(), advice::kernel()];
    findings.extend(needed());
    findings.push(advice::controllers());
    findings.push(node_name(&options.node_name));
    findings.push(match running {
        Some(pid) => Finding::ok(
            "listen address",
            format!("{} is used by this cluster (process {pid})", options.listen),
            LISTEN,
        ),
        None => listener(options.listen),
    });
    if findings[0].severity == Severity::Ok {
        findings.extend(network(options, paths));
    } else {
        findings.push(Finding::warning(
            "network",
            "was not tried: that needs root",
            NETWORK,
            "run `sudo onggi doctor`",
        ));
    }
    findings.push(advice::disk(&paths.data));
    findings.push(advice::memory());
    findings.push(advice::name_servers());
    findings.push(advice::watches());
    findings
}

const LISTEN: &str = "kubectl and everything else talks to the API server there";
const NETWORK: &str = "pods get their addresses, and Services their routes, from the kernel";

fn user() -> Finding {
    let (check, why) = ("user", "namespaces, mounts and cgroups are made by root alone");
    if rustix::process::geteuid().is_root() {
        return Finding::ok(check, "root", why);
    }
    let found = "onggi needs root to make namespaces, mounts and cgroups";
    Finding::error(check, found, why, "run it with sudo")
}

/// What the kernel must have.
fn needed() -> Vec<Finding> {
    let why = "containers are limited and counted by cgroups";
    let cgroups = match onggi_sys::cgroups::Cgroups::detect() {
        Ok(cgroups) => {
            let version = if cgroups.is_v2() { "version 2" } else { "version 1" };
            Finding::ok("cgroups", version, why)
        }
        Err(error) => Finding::error("cgroups", format!("cgroups: {error}"), why, ""),
    };
    let why = "a container sees its image and what it writes as one file system";
    // Opened, not looked up: the kernel loads its module at the first use.
    let overlay = match onggi_sys::mounts::has_filesystem("overlay") {
        Ok(()) => Finding::ok("overlayfs", "the kernel has it", why),
        Err(error) => {
            let found = format!("overlayfs: {error}");
            Finding::error("overlayfs", found, why, "try `modprobe overlay`")
        }
    };
    vec![cgroups, overlay]
}

/// The node's object bears it, and its label `kubernetes.io/hostname`.
fn node_name(name: &str) -> Finding {
    let (check, why) = ("node name", "the node is an object of the API and needs a name there");
    if names::dns1123_subdomain(name).is_empty() && names::label_value(name).is_empty() {
        return Finding::ok(check, name, why);
    }
    let found = format!(
        "{name:?} cannot be a node's name: it must have 1 to 63 lower case letters, digits, '-' \
         and '.', and begin and end with a letter or digit"
    );
    Finding::error(check, found, why, "choose another with --node-name")
}

fn listener(address: SocketAddr) -> Finding {
    let check = "listen address";
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(check, format!("{address} is free"), LISTEN),
        Err(error) => {
            let found = format!("the API server cannot listen on {address}: {error}");
            let fix = if error.kind() == std::io::ErrorKind::AddrInUse {
                "end the other program, or choose another address with --listen"
            } else {
                "choose an address of this machine with --listen"
            };
            Finding::error(check, found, LISTEN, fix)
        }
    }
}

/// Kernel features of the network, tried in a namespace of their own, and the ranges.
fn network(options: &Options, paths: &Paths) -> Vec<Finding> {
    let failed = |text: String| Finding::error("network", text, NETWORK, "");
    match network_options(options, paths) {
        Ok(network) => {
            let problems = onggi_net::check(&network);
            if problems.is_empty() {
                let found = format!(
                    "namespaces, veth, routes and nftables work; {} and {} are free",
                    options.pod_cidr, options.service_cidr
                );
                return vec![Finding::ok("network", found, NETWORK)];
            }
            problems.iter().map(|problem| failed(problem.to_string())).collect()
        }
        Err(error) => vec![failed(error.to_string())],
    }
}

/// The node's network as the options ask for it.
pub(crate) fn network_options(
    options: &Options,
    paths: &Paths,
) -> Result<onggi_net::Options, onggi_net::Error> {
    let instance = Instance::new(&paths.instance)?;
    Ok(onggi_net::Options::new(
        instance,
        options.pod_cidr,
        options.service_cidr,
        options.node_cidr(),
        paths.run.join("net"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes() {
        for name in ["node", "a-1.example.com", "vm2"] {
            assert_eq!(node_name(name).severity, Severity::Ok, "{name}");
        }
        for name in ["", "my_laptop", "Node", "a b", "-a", &"a".repeat(64)] {
            let sentence = node_name(name).sentence();
            assert!(sentence.contains("--node-name") && sentence.contains(name), "{sentence}");
        }
    }
}
