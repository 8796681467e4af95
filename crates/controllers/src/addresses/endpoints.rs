//! `v1 Endpoints`, as one controller writes and another one reads them.

use std::sync::Arc;

use onggi_api::core::ObjectReference;
use onggi_api::{DecodeError, Object};
use onggi_client::Project;
use serde::{Deserialize, Serialize};

use super::Port;
use crate::view::Meta;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoints {
    pub(crate) metadata: Meta,
    pub(crate) subsets: Vec<Subset>,
}

/// Addresses with the same ports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Subset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_ready_addresses: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<Port>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Address {
    pub(crate) ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_ref: Option<ObjectReference>,
}

impl Project for Endpoints {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}
