//! Pods and levels as tables.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn check(level: Level, minor: Option<u32>, spec: &Value) -> String {
    let version = minor.map_or(Version::Latest, Version::Minor);
    violations(LevelVersion { level, version }, &json!({}), spec).details()
}

#[test]
fn baseline_and_restricted() {
    let with = |context: Value| json!({"containers": [{"name": "c", "securityContext": context}]});
    let good = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    });
    for (level, minor, spec, expected) in [
        (Level::Privileged, None, with(json!({"privileged": true})), ""),
        (Level::Baseline, None, with(json!({})), ""),
        (
            Level::Baseline,
            None,
            with(json!({"privileged": true})),
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            Level::Baseline,
            None,
            json!({"hostNetwork": true, "hostPID": true, "containers": [
                {"name": "c", "ports": [{"hostPort": 80}, {"hostPort": 0}]},
            ]}),
            "host namespaces (hostNetwork=true, hostPID=true), hostPort (container \"c\" uses \
             hostPort 80)",
        ),
        (
            Level::Baseline,
            None,
            with(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}})),
            "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in \
             securityContext.capabilities.add)",
        ),
        (
            Level::Restricted,
            None,
            with(json!({})),
            "allowPrivilegeEscalation != false (container \"c\" must set \
             securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \
             \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod \
             or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or \
             container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
             \"Localhost\")",
        ),
        (Level::Restricted, None, good, ""),
        (
            Level::Baseline,
            None,
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}], "containers": []}),
            "hostPath volumes (volume \"v\")",
        ),
        (
            Level::Restricted,
            Some(7),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}], "containers": []}),
            "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")",
        ),
        (
            Level::Baseline,
            Some(26),
            json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}),
            "forbidden sysctls (net.ipv4.tcp_rmem)",
        ),
        (
            Level::Baseline,
            None,
            json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}),
            "",
        ),
        (
            Level::Baseline,
            None,
            json!({"hostUsers": false, "containers": [
                {"name": "c", "securityContext": {"procMount": "Unmasked"}},
            ]}),
            "",
        ),
    ] {
        assert_eq!(check(level, minor, &spec), expected, "{spec}");
    }
}

#[test]
fn policies() {
    let read = |labels: &[(&str, &str)]| {
        let labels: BTreeMap<String, String> = labels
            .iter()
            .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), (*value).to_owned()))
            .collect();
        let (policy, errors) = Policy::read(&labels);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let modes = [policy.enforce, policy.audit, policy.warn].map(|mode| mode.to_string());
        (modes.join(" "), errors.join("; "))
    };
    let (latest, none) = ("privileged:latest", String::new());
    assert_eq!(read(&[]), (format!("{latest} {latest} {latest}"), none.clone()));
    assert_eq!(
        read(&[("enforce", "restricted"), ("enforce-version", "v1.25")]),
        (format!("restricted:v1.25 {latest} restricted:v1.25"), none.clone())
    );
    assert_eq!(
        read(&[("enforce", "baseline"), ("warn", "privileged")]),
        (format!("baseline:latest {latest} {latest}"), none)
    );
    let (modes, errors) = read(&[("enforce", "strict"), ("audit-version", "1.2")]);
    assert_eq!(modes, format!("restricted:latest {latest} {latest}"));
    assert_eq!(
        errors,
        "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be \
         one of privileged, baseline, restricted; \
         metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"1.2\": must be \
         \"latest\" or \"v1.x\""
    );
}

#[test]
fn updates_that_matter() {
    let pod = |image: &str, more: Value| json!({"spec": {"containers": [{"image": image}], "ephemeralContainers": more}});
    let one = pod("a", json!([]));
    assert!(!is_significant(&one, &one));
    assert!(is_significant(&pod("b", json!([])), &one));
    assert!(is_significant(&pod("a", json!([{"name": "d", "image": "x"}])), &one));
}
