//! What is sealed at rest: Secrets always, and the kinds that an `EncryptionConfiguration` names.

use onggi_machinery::value::list_at;
use onggi_machinery::yaml;

use crate::cache::REGISTRY;

/// The beginnings of the store's keys whose values are sealed: those of Secrets, and of `resources`
/// (`configmaps`, `deployments.apps`, `*.apps`, `*.*`).
pub fn sealed_prefixes(resources: &[String]) -> Vec<String> {
    let mut prefixes = vec![prefix("secrets")];
    for resource in resources {
        let prefix = prefix(resource);
        if !prefixes.contains(&prefix) {
            prefixes.push(prefix);
        }
    }
    prefixes
}

fn prefix(resource: &str) -> String {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let group = if group.is_empty() { "core" } else { group };
    match (plural, group) {
        ("*", "*") => REGISTRY.to_owned(),
        ("*", group) => format!("{REGISTRY}{group}/"),
        (plural, group) => format!("{REGISTRY}{group}/{plural}/"),
    }
}

/// The resources that an `apiserver.config.k8s.io/v1 EncryptionConfiguration` wants encrypted: those
/// of the entries whose first provider is not `identity`. The keys in the file are not used: the
/// store has its own, which lie apart and can be changed at any time.
pub fn sealed_resources(text: &str) -> Result<Vec<String>, String> {
    let config = yaml::parse(text).map_err(|error| error.to_string())?;
    if config["kind"] != "EncryptionConfiguration" {
        return Err(format!("kind: expected EncryptionConfiguration, found {}", config["kind"]));
    }
    if config["apiVersion"] != "apiserver.config.k8s.io/v1" {
        let found = &config["apiVersion"];
        return Err(format!("apiVersion: expected apiserver.config.k8s.io/v1, found {found}"));
    }
    let mut found = Vec::new();
    for (at, entry) in list_at(&config, "resources").iter().enumerate() {
        let providers = list_at(entry, "providers");
        let Some(first) = providers.first() else {
            return Err(format!("resources[{at}].providers: Required value"));
        };
        if first.get("identity").is_some() {
            continue;
        }
        let names = list_at(entry, "resources").iter().filter_map(|name| name.as_str());
        found.extend(names.map(str::to_owned));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configuration_names() {
        let text = "
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, configmaps, widgets.example.com, '*.apps']
  providers:
  - aescbc: {keys: [{name: key1, secret: c2VjcmV0IGlzIHNlY3VyZQ==}]}
  - identity: {}
- resources: [events]
  providers: [{identity: {}}]
";
        let resources = sealed_resources(text).unwrap();
        assert_eq!(
            sealed_prefixes(&resources),
            [
                "/registry/core/secrets/",
                "/registry/core/configmaps/",
                "/registry/example.com/widgets/",
                "/registry/apps/",
            ]
        );
        assert_eq!(sealed_prefixes(&["*.*".into()])[1], "/registry/");
        assert!(sealed_resources("kind: Pod").unwrap_err().contains("EncryptionConfiguration"));
    }
}
