//! A container's environment and command line: sources, references, `$(NAME)`.

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_api::core::Container;

use crate::fields::{self, NodeFacts};
use crate::objects::{Data, Kind};
use crate::pod::Pod;
use crate::services::{self, ServiceView};

/// What the sources of variables are read from.
pub(crate) struct Sources<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) facts: &'a NodeFacts,
    /// The ConfigMaps and Secrets that the pod refers to, as far as they exist.
    pub(crate) objects: &'a BTreeMap<(Kind, String), Arc<Data>>,
    /// Services of the pod's namespace, and `kubernetes` of `default`.
    pub(crate) services: &'a [Arc<ServiceView>],
}

/// The variables in their order, with the last value of each. An error is the message of a
/// `CreateContainerConfigError`.
pub(crate) fn variables(
    sources: &Sources<'_>,
    container: &Container,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut env = Variables::default();
    for (name, value) in services::variables(sources.pod, sources.services) {
        env.set(name, value.into_bytes());
    }
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let data = if let Some(map) = &from.config_map_ref {
            sources.object(Kind::ConfigMap, &map.name, map.optional)?
        } else if let Some(secret) = &from.secret_ref {
            sources.object(Kind::Secret, &secret.name, secret.optional)?
        } else {
            None
        };
        for (key, value) in data.iter().flat_map(|data| &data.entries) {
            env.set(format!("{prefix}{key}"), value.clone());
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(source) = &variable.value_from {
            if let Some(value) = sources.value(source, &container.name)? {
                env.set(variable.name.clone(), value);
            }
            continue;
        }
        let text = variable.value.as_deref().unwrap_or_default();
        let value = expand(text, |name| env.text(name));
        env.set(variable.name.clone(), value.into_bytes());
    }
    Ok(env.list)
}

/// `command` or `args` with `$(NAME)` replaced.
pub(crate) fn words(list: Option<&Vec<String>>, env: &[(String, Vec<u8>)]) -> Vec<String> {
    let look_up = |name: &str| {
        let found = env.iter().rev().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    };
    list.into_iter().flatten().map(|word| expand(word, look_up)).collect()
}

/// Replaces `$(NAME)`; `$$` is a dollar, and what is not defined stays as it is written.
pub(crate) fn expand(text: &str, look_up: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match look_up(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// A list that keeps the place of the first and the value of the last.
#[derive(Default)]
struct Variables {
    list: Vec<(String, Vec<u8>)>,
    places: BTreeMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: String, value: Vec<u8>) {
        match self.places.get(&name).and_then(|place| self.list.get_mut(*place)) {
            Some(slot) => slot.1 = value,
            None => {
                self.places.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self.list.get(*self.places.get(name)?)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

impl Sources<'_> {
    fn object(
        &self,
        kind: Kind,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<&Data>, String> {
        match self.objects.get(&(kind, name.to_owned())) {
            Some(data) => Ok(Some(data)),
            None if optional == Some(true) => Ok(None),
            None => Err(format!("{} {name:?} not found", kind.as_str())),
        }
    }

    fn value(
        &self,
        source: &onggi_api::core::EnvVarSource,
        container: &str,
    ) -> Result<Option<Vec<u8>>, String> {
        if let Some(selector) = &source.field_ref {
            return fields::field(self.pod, self.facts, selector).map(|v| Some(v.into_bytes()));
        }
        if let Some(selector) = &source.resource_field_ref {
            let value = fields::resource(self.pod, self.facts, selector, container)?;
            return Ok(Some(value.into_bytes()));
        }
        let (kind, name, key, optional) = if let Some(r) = &source.config_map_key_ref {
            (Kind::ConfigMap, &r.name, &r.key, r.optional)
        } else if let Some(r) = &source.secret_key_ref {
            (Kind::Secret, &r.name, &r.key, r.optional)
        } else {
            return Ok(None);
        };
        let Some(data) = self.object(kind, name, optional)? else { return Ok(None) };
        match data.entries.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None if optional == Some(true) => Ok(None),
            None => {
                let kind = kind.title();
                let namespace = self.pod.namespace();
                Err(format!("couldn't find key {key} in {kind} {namespace}/{name}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::pod;
    use serde_json::{Value, json};

    fn data(kind: Kind, entries: &[(&str, &[u8])]) -> Arc<Data> {
        let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect();
        Arc::new(Data { kind, entries, ..Data::default() })
    }

    fn check(container: Value, expected: Result<&[(&str, &str)], &str>) {
        let pod = pod(json!({"containers": [container]}));
        let objects = [
            ((Kind::ConfigMap, "m".into()), data(Kind::ConfigMap, &[("A", b"1"), ("B", b"2")])),
            ((Kind::Secret, "s".into()), data(Kind::Secret, &[("raw", &[0xff])])),
        ]
        .into();
        let facts = NodeFacts::default();
        let sources = Sources { pod: &pod, facts: &facts, objects: &objects, services: &[] };
        let got = variables(&sources, &pod.spec.containers[0]);
        let got = got.map(|list| {
            list.into_iter()
                .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
                .collect::<Vec<_>>()
        });
        let expected = expected.map_err(str::to_owned).map(|list| {
            list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        });
        assert_eq!(got, expected);
    }

    #[test]
    fn sources() {
        let from = |name: &str, key: &str| json!({"configMapKeyRef": {"name": name, "key": key}});
        check(
            json!({"name": "c", "env": [
                {"name": "X", "value": "x"},
                {"name": "Y", "value": "$(X)-$(Z)-$$(X)"},
                {"name": "X", "value": "last"},
            ]}),
            Ok(&[("X", "last"), ("Y", "x-$(Z)-$(X)")]),
        );
        check(
            json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}],
                "env": [{"name": "P_A", "value": "own"}]}),
            Ok(&[("P_A", "own"), ("P_B", "2")]),
        );
        check(
            json!({"name": "c", "env": [{"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "K", "valueFrom": from("m", "B")}]}),
            Ok(&[("F", "p"), ("K", "2")]),
        );
        check(
            json!({"name": "c", "env": [{"name": "K", "valueFrom": from("gone", "B")}]}),
            Err("configmap \"gone\" not found"),
        );
        check(
            json!({"name": "c", "env": [{"name": "K", "valueFrom": from("m", "k")}]}),
            Err("couldn't find key k in ConfigMap default/m"),
        );
        check(
            json!({"name": "c", "envFrom": [{"secretRef": {"name": "gone"}}]}),
            Err("secret \"gone\" not found"),
        );
        check(
            json!({"name": "c", "envFrom": [{"secretRef": {"name": "gone", "optional": true}}]}),
            Ok(&[]),
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_on() {
        let pod = pod(json!({"containers": [{"name": "c", "env": [{"name": "R",
            "valueFrom": {"secretKeyRef": {"name": "s", "key": "raw"}}}]}]}));
        let objects =
            [((Kind::Secret, "s".into()), data(Kind::Secret, &[("raw", &[0xff])]))].into();
        let facts = NodeFacts::default();
        let sources = Sources { pod: &pod, facts: &facts, objects: &objects, services: &[] };
        let got = variables(&sources, &pod.spec.containers[0]).unwrap();
        assert_eq!(got, [("R".to_owned(), vec![0xff])]);
    }

    #[test]
    fn command_lines() {
        let env = [("A".to_owned(), b"1".to_vec())];
        let given =
            vec!["$(A)".to_owned(), "$(B)".into(), "$$(A)".into(), "$A".into(), "$(".into()];
        assert_eq!(words(Some(&given), &env), ["1", "$(B)", "$(A)", "$A", "$("]);
    }
}
