//! RuntimeClass: the overhead and the placement that a pod's runtime class asks for.

use async_trait::async_trait;
use onggi_api::Status;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::{Registry, text};

pub(super) struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Create, "", "pods")
    }

    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is(Operation::Create, "", "pods")
    }

    async fn mutate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<(), Status> {
        let Some(class) = class_of(registry, attributes, pod).await? else { return Ok(()) };
        set(pod, &class).map_err(|why| attributes.forbidden(pod, &why))
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        pod: &Value,
    ) -> Result<(), Status> {
        if pod["spec"]["overhead"].is_null() {
            return Ok(());
        }
        let class = class_of(registry, attributes, pod).await?.unwrap_or_default();
        check_overhead(pod, &class).map_err(|why| attributes.forbidden(pod, &why))
    }
}

async fn class_of(
    registry: &Registry,
    attributes: &Attributes<'_>,
    pod: &Value,
) -> Result<Option<Value>, Status> {
    let name = text(pod, "/spec/runtimeClassName");
    if name.is_empty() {
        return Ok(None);
    }
    match lookup::find(registry, "node.k8s.io", "runtimeclasses", "", name).await? {
        Some(class) => class.value().map(Some).map_err(Status::internal),
        None => {
            let why = format!("pod rejected: RuntimeClass {name:?} not found");
            Err(attributes.forbidden(pod, &why))
        }
    }
}

fn check_overhead(pod: &Value, class: &Value) -> Result<(), String> {
    let (own, wanted) = (&pod["spec"]["overhead"], &class["overhead"]["podFixed"]);
    if own.is_null() || own == wanted {
        return Ok(());
    }
    Err(if class["overhead"].is_null() {
        "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
    } else {
        "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
    }
    .to_owned())
}

/// Puts in what the class says.
fn set(pod: &mut Value, class: &Value) -> Result<(), String> {
    if class["overhead"]["podFixed"].is_object() {
        check_overhead(pod, class)?;
        pod["spec"]["overhead"] = class["overhead"]["podFixed"].clone();
    }
    let scheduling = &class["scheduling"];
    for (key, wanted) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        let own = &pod["spec"]["nodeSelector"][key.as_str()];
        let (own, theirs) = (own.as_str(), wanted.as_str().unwrap_or_default());
        if let Some(own) = own.filter(|own| *own != theirs) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {theirs}; \
                 pod.spec.nodeSelector[{key}] = {own}"
            ));
        }
        if !pod["spec"]["nodeSelector"].is_object() {
            pod["spec"]["nodeSelector"] = json!({});
        }
        pod["spec"]["nodeSelector"][key.as_str()] = wanted.clone();
    }
    let more = scheduling["tolerations"].as_array().into_iter().flatten();
    for toleration in more {
        if !pod["spec"]["tolerations"].is_array() {
            pod["spec"]["tolerations"] = json!([]);
        }
        if let Some(all) = pod["spec"]["tolerations"].as_array_mut()
            && !all.contains(toleration)
        {
            all.push(toleration.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_class_asks_for() {
        let class = json!({
            "overhead": {"podFixed": {"cpu": "100m"}},
            "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]},
        });
        let mut pod = json!({"spec": {"nodeSelector": {"x": "y"}}});
        set(&mut pod, &class).unwrap();
        set(&mut pod, &class).unwrap();
        assert_eq!(
            pod["spec"],
            json!({
                "overhead": {"cpu": "100m"},
                "nodeSelector": {"a": "b", "x": "y"},
                "tolerations": [{"key": "k"}],
            })
        );
        for (spec, class, part) in [
            (json!({"nodeSelector": {"a": "c"}}), &class, "conflict"),
            (json!({"overhead": {"cpu": "1"}}), &class, "doesn't match"),
        ] {
            let why = set(&mut json!({"spec": spec}), class).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        let alone = json!({"spec": {"overhead": {"cpu": "1"}}});
        assert!(check_overhead(&alone, &Value::Null).unwrap_err().contains("without"));
    }
}
