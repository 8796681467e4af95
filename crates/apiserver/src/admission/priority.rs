//! Priority: the number and the preemption policy behind a pod's priority class.

use async_trait::async_trait;
use onggi_api::Status;
use onggi_machinery::kinds::priorityclass;
use serde_json::Value;

use super::{Attributes, Operation, Plugin, lookup};
use crate::registry::{Registry, text};

/// The class that pods without one have. Every pod asks for it: found anew only after a change of
/// a class.
pub(super) struct DefaultClass(lookup::Watched<Option<Class>>);

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";

pub(super) struct Priority;

/// What a class says.
#[derive(Clone)]
pub(super) struct Class {
    name: String,
    value: i64,
    policy: String,
}

impl Class {
    fn of(class: &Value) -> Self {
        let policy = match text(class, "/preemptionPolicy") {
            "" => "PreemptLowerPriority",
            policy => policy,
        };
        Self {
            name: text(class, "/metadata/name").to_owned(),
            value: class["value"].as_i64().unwrap_or(0),
            policy: policy.to_owned(),
        }
    }

    /// The default among classes; the least important one where there are several.
    fn default_of(classes: &[Value]) -> Option<Self> {
        let defaults = classes.iter().filter(|class| class["globalDefault"] == true);
        defaults.map(Self::of).min_by_key(|class| class.value)
    }
}

impl Default for DefaultClass {
    fn default() -> Self {
        Self(lookup::Watched::new(GROUP, CLASSES))
    }
}

impl DefaultClass {
    fn get(&self, registry: &Registry) -> Result<Option<Class>, Status> {
        let found = self.0.get(registry, Class::default_of)?;
        Ok(found.as_ref().clone())
    }
}

/// A manifest that replaces its pod says nothing of what was filled in, which may not change.
fn keep(old: Option<&Value>, pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in ["priority", "preemptionPolicy"] {
        let filled = old.and_then(|old| old["spec"].get(field));
        if let (None, Some(filled)) = (spec.get(field), filled) {
            spec.insert(field.to_owned(), filled.clone());
        }
    }
}

#[async_trait]
impl Plugin for Priority {
    fn mutates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.writes() && attributes.about("", "pods")
    }

    fn validates(&self, attributes: &Attributes<'_>) -> bool {
        attributes.writes() && attributes.about(GROUP, CLASSES)
    }

    async fn mutate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<(), Status> {
        if attributes.operation == Operation::Update {
            keep(attributes.old, pod);
            return Ok(());
        }
        let class = match text(pod, "/spec/priorityClassName") {
            "" => registry.admission.default_priority.get(registry)?,
            name => match named(registry, name).await? {
                Some(class) => Some(class),
                None => {
                    let why = format!("no PriorityClass with name {name} was found");
                    return Err(attributes.forbidden(pod, &why));
                }
            },
        };
        let class = class.unwrap_or(Class {
            name: String::new(),
            value: 0,
            policy: "PreemptLowerPriority".to_owned(),
        });
        if let Some(given) = pod["spec"]["priority"].as_i64().filter(|given| *given != class.value)
        {
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority \
                 admission controller computed {} from the given PriorityClass name",
                class.value
            );
            return Err(attributes.forbidden(pod, &why));
        }
        let given = text(pod, "/spec/preemptionPolicy");
        if !given.is_empty() && given != class.policy {
            let why = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
                 priority admission controller computed {} from the given PriorityClass name",
                class.policy
            );
            return Err(attributes.forbidden(pod, &why));
        }
        let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        if !class.name.is_empty() {
            spec.insert("priorityClassName".into(), class.name.into());
        }
        spec.insert("priority".into(), class.value.into());
        spec.insert("preemptionPolicy".into(), class.policy.into());
        Ok(())
    }

    async fn validate(
        &self,
        registry: &Registry,
        attributes: &Attributes<'_>,
        class: &Value,
    ) -> Result<(), Status> {
        if class["globalDefault"] != true {
            return Ok(());
        }
        let name = text(class, "/metadata/name");
        let present = registry.admission.default_priority.get(registry)?;
        match present.filter(|other| other.name != name) {
            None => Ok(()),
            Some(other) => {
                let why = format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    other.name
                );
                Err(attributes.forbidden(class, &why))
            }
        }
    }
}

async fn named(registry: &Registry, name: &str) -> Result<Option<Class>, Status> {
    if let Some(object) = lookup::find(registry, GROUP, CLASSES, "", name).await? {
        return Ok(Some(Class::of(&object.value().map_err(Status::internal)?)));
    }
    // Those of the system count even before their objects are there.
    let system = priorityclass::SYSTEM.iter().find(|(known, ..)| *known == name);
    Ok(system.map(|(known, value, _)| Class {
        name: (*known).to_owned(),
        value: *value,
        policy: "PreemptLowerPriority".to_owned(),
    }))
}
