//! One event, in the order of fields that Kubernetes writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use onggi_api::status::Details;
use onggi_api::{Object, Status};
use onggi_base::clock::rfc3339_micro;
use onggi_client::{ListMeta, Response};
use onggi_machinery::audit::{Level, Stage};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// `audit.k8s.io/v1 Event`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) level: Level,
    #[serde(rename = "auditID")]
    pub(super) audit_id: String,
    pub(super) stage: Stage,
    #[serde(rename = "requestURI")]
    pub(super) request_uri: String,
    pub(super) verb: String,
    pub(super) user: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) impersonated_user: Option<Value>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub(super) source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object_ref: Option<ObjectReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_status: Option<ResponseStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_object: Option<Shown>,
    #[serde(serialize_with = "micro_time")]
    pub(super) request_received_timestamp: Timestamp,
    #[serde(serialize_with = "micro_time")]
    pub(super) stage_timestamp: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(skip)]
    pub(super) omit_managed_fields: bool,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) subresource: String,
}

/// `meta/v1 Status` without kind and version.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ResponseStatus {
    pub(super) metadata: Map<String, Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u16>,
}

impl From<&Status> for ResponseStatus {
    fn from(status: &Status) -> Self {
        Self {
            metadata: Map::new(),
            status: status.status.clone(),
            message: status.message.clone(),
            reason: status.reason.clone(),
            details: status.details.clone(),
            code: (status.code != 0).then_some(status.code),
        }
    }
}

/// What was answered; made into text where it is written, not where the client waits.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    Value(Value),
    /// Shared with the watch cache.
    Object(Arc<Object>, bool),
    List(ListMeta, Vec<Arc<Object>>, bool),
}

impl Shown {
    /// The answer as it is stored, whatever form the client asked for.
    pub(super) fn of(response: &Response, omit_managed_fields: bool) -> Self {
        match response {
            Response::Object { object, .. } => {
                Self::Object(Arc::clone(object), omit_managed_fields)
            }
            Response::List { meta, items, .. } => {
                Self::List(meta.clone(), items.clone(), omit_managed_fields)
            }
            Response::Document { value, .. } => {
                let mut value = value.clone();
                if omit_managed_fields {
                    without_managed_fields(&mut value);
                }
                Self::Value(value)
            }
            Response::Status(status) => Self::status(status),
        }
    }

    pub(super) fn status(status: &Status) -> Self {
        Self::Value(serde_json::to_value(status).unwrap_or_default())
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Value(value) => weight(value),
            Self::Object(object, _) => object.size(),
            Self::List(_, items, _) => items.iter().map(|object| object.size()).sum(),
        }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let read = |object: &Object, omit: bool| {
            let mut value = object.value().map_err(serde::ser::Error::custom)?;
            if omit {
                without_managed_fields(&mut value);
            }
            Ok(value)
        };
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Object(object, omit) => read(object, *omit)?.serialize(serializer),
            Self::List(meta, items, omit) => {
                let mut list = json!({
                    "kind": "List",
                    "apiVersion": "v1",
                    "metadata": {"resourceVersion": meta.resource_version.to_string()},
                });
                if let Some(first) = items.first() {
                    list["kind"] = format!("{}List", first.head().kind).into();
                    list["apiVersion"] = first.head().api_version.as_str().into();
                }
                if !meta.continue_token.is_empty() {
                    list["metadata"]["continue"] = meta.continue_token.as_str().into();
                }
                let items = items.iter().map(|object| read(object, *omit));
                list["items"] = Value::Array(items.collect::<Result<_, S::Error>>()?);
                list.serialize(serializer)
            }
        }
    }
}

impl Event {
    pub(super) fn new(received: Timestamp) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: Level::Metadata,
            audit_id: String::new(),
            stage: Stage::RequestReceived,
            request_uri: String::new(),
            verb: String::new(),
            user: Value::Null,
            impersonated_user: None,
            source_ips: Vec::new(),
            user_agent: String::new(),
            object_ref: None,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: received,
            stage_timestamp: received,
            annotations: BTreeMap::new(),
            omit_managed_fields: false,
        }
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        /// Of an event without objects.
        const HEAD: usize = 1 << 10;
        HEAD + self.request_uri.len()
            + self.request_object.as_ref().map_or(0, weight)
            + self.response_object.as_ref().map_or(0, Shown::weight)
    }
}

pub(super) fn without_managed_fields(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// About how many bytes a value holds.
fn weight(value: &Value) -> usize {
    const NODE: usize = 32;
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        _ => 0,
    }
}

fn micro_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339_micro(*time))
}
