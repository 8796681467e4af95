//! A pod's `resolv.conf` and `/etc/hosts`.

use std::fmt::Write;
use std::net::IpAddr;

use onggi_node_api::DnsConfig;

use crate::pod::Pod;

/// What glibc and Kubernetes allow.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// What the names in a cluster need.
#[derive(Debug, Clone)]
pub(crate) struct ClusterDns {
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) domain: String,
    /// `resolv.conf` of the node.
    pub(crate) host: DnsConfig,
}

/// By `dnsPolicy` and `dnsConfig`.
pub(crate) fn resolv_conf(pod: &Pod, cluster: &ClusterDns) -> DnsConfig {
    let policy = pod.spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let mut config = match policy {
        "None" => DnsConfig::default(),
        "ClusterFirst" if pod.is_host_network() => cluster.host.clone(),
        "ClusterFirst" | "ClusterFirstWithHostNet" => cluster_first(pod, cluster),
        _ => cluster.host.clone(),
    };
    if let Some(own) = &pod.spec.dns_config {
        extend(&mut config.servers, own.nameservers.iter().flatten());
        extend(&mut config.searches, own.searches.iter().flatten());
        for option in own.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            let text = match option.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name.to_owned(),
            };
            config.options.retain(|old| old.split(':').next() != Some(name));
            config.options.push(text);
        }
    }
    config.servers.truncate(MAX_SERVERS);
    config.searches.truncate(MAX_SEARCHES);
    config
}

fn cluster_first(pod: &Pod, cluster: &ClusterDns) -> DnsConfig {
    let (namespace, domain) = (pod.namespace(), &cluster.domain);
    let mut searches =
        vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    extend(&mut searches, &cluster.host.searches);
    DnsConfig {
        servers: cluster.servers.iter().map(ToString::to_string).collect(),
        searches,
        options: vec!["ndots:5".to_owned()],
    }
}

fn extend<'a>(list: &mut Vec<String>, more: impl IntoIterator<Item = &'a String>) {
    for text in more {
        if !list.contains(text) {
            list.push(text.clone());
        }
    }
}

/// Reads a `resolv.conf`; what is not understood is left out.
pub(crate) fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search") => config.searches = words.map(str::to_owned).collect(),
            Some("options") => config.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    config
}

/// `spec.hostname`, else the pod's name, cut to what a host name may be.
pub(crate) fn hostname(pod: &Pod) -> String {
    let own = pod.spec.hostname_override.as_deref().or(pod.spec.hostname.as_deref());
    let name = own.filter(|name| !name.is_empty()).unwrap_or(pod.name());
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The pod's `/etc/hosts`, without the node's names.
pub(crate) fn hosts(pod: &Pod, domain: &str, ips: &[IpAddr]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         fe00::\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let hostname = hostname(pod);
    let subdomain = pod.spec.subdomain.as_deref().filter(|name| !name.is_empty());
    for ip in ips {
        // Writing to a text cannot fail.
        let _ = match subdomain {
            Some(subdomain) => writeln!(
                text,
                "{ip}\t{hostname}.{subdomain}.{}.svc.{domain}\t{hostname}",
                pod.namespace()
            ),
            None => writeln!(text, "{ip}\t{hostname}"),
        };
    }
    let aliases = pod.spec.host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
            let _ = writeln!(text, "{}\t{names}", alias.ip);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::pod;
    use serde_json::json;

    fn cluster() -> ClusterDns {
        ClusterDns {
            servers: vec!["10.96.0.10".parse().unwrap()],
            domain: "cluster.local".into(),
            host: parse_resolv_conf("# x\nnameserver 192.0.2.1\nsearch lan\noptions edns0\n"),
        }
    }

    #[test]
    fn policies() {
        let inside = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan"];
        for (spec, server, searches) in [
            (json!({}), "10.96.0.10", inside.to_vec()),
            (json!({"dnsPolicy": "Default"}), "192.0.2.1", vec!["lan"]),
            (json!({"hostNetwork": true}), "192.0.2.1", vec!["lan"]),
            (
                json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                "10.96.0.10",
                inside.to_vec(),
            ),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x"]}}),
                "1.1.1.1",
                vec!["x"],
            ),
        ] {
            let config = resolv_conf(&pod(spec.clone()), &cluster());
            assert_eq!(config.servers, [server], "{spec}");
            assert_eq!(config.searches, searches, "{spec}");
        }
        let own = json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}});
        assert_eq!(resolv_conf(&pod(own), &cluster()).options, ["ndots:2"]);
    }

    #[test]
    fn hosts_of_a_pod_with_subdomain() {
        let pod = pod(json!({"hostname": "h", "subdomain": "s",
            "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["a", "b"]}]}));
        let text = hosts(&pod, "cluster.local", &["10.0.0.1".parse().unwrap()]);
        assert!(text.contains("10.0.0.1\th.s.default.svc.cluster.local\th\n"));
        assert!(text.ends_with("192.0.2.9\ta\tb\n"));
    }
}
