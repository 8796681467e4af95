//! EndpointSlices of one address family, with as few writes as possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_api::core::ObjectReference;
use onggi_api::{DecodeError, Object, null_is_default};
use onggi_client::Project;
use onggi_machinery::value::set;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Port;

/// Endpoints in a slice (`--max-endpoints-per-slice`).
pub(crate) const MOST: usize = 100;
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// An EndpointSlice of one of our controllers. It writes all of it but the metadata, so it may be
/// encoded again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Slice {
    pub(crate) metadata: SliceMeta,
    pub(crate) address_type: String,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) endpoints: Vec<Endpoint>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) ports: Vec<Port>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SliceMeta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Endpoint {
    pub(crate) addresses: Vec<String>,
    pub(crate) conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_ref: Option<ObjectReference>,
}

/// Of what is mirrored, nothing but `ready` is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Conditions {
    pub(crate) ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serving: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) terminating: Option<bool>,
}

impl Project for Slice {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}

impl Endpoint {
    /// Who it is, from one plan to the next: the uid of its pod, and its address.
    pub(crate) fn identity(&self) -> Identity {
        let uid = self.target_ref.as_ref().and_then(|target| target.uid.clone());
        (uid.unwrap_or_default(), self.addresses.first().cloned().unwrap_or_default())
    }
}

pub(crate) type Identity = (String, String);
/// Those with the same ports share slices.
pub(crate) type Groups = BTreeMap<Vec<Port>, BTreeMap<Identity, Endpoint>>;

/// What to do. Slices to be made have no name yet.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) create: Vec<Slice>,
    pub(crate) update: Vec<Slice>,
    /// Names.
    pub(crate) delete: Vec<String>,
}

/// What the slices of a family should be.
pub(crate) struct Wanted<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// `None`: as they are.
    pub(crate) annotations: Option<&'a BTreeMap<String, String>>,
    pub(crate) family: &'a str,
    pub(crate) groups: Groups,
    /// Whether an empty slice stands for nothing at all.
    pub(crate) keep_empty: bool,
}

/// Adds to the plan what makes the slices of a family what they should be.
pub(crate) fn pack<'a>(
    wanted: Wanted<'_>,
    slices: impl Iterator<Item = &'a Slice>,
    plan: &mut Plan,
) {
    let Wanted { namespace, labels, annotations, family, groups, keep_empty } = wanted;
    let before: Vec<&Slice> = slices.collect();
    let mut after: Vec<Slice> = before.iter().map(|slice| (*slice).clone()).collect();
    let mut spare: Vec<usize> = Vec::new();
    let mut left = groups;
    // What is there stays in its place.
    for (place, slice) in after.iter_mut().enumerate() {
        slice.metadata.labels.clone_from(labels);
        if let Some(annotations) = annotations {
            slice.metadata.annotations.clone_from(annotations);
        }
        let Some(group) = left.get_mut(&slice.ports) else {
            slice.endpoints.clear();
            spare.push(place);
            continue;
        };
        slice.endpoints = std::mem::take(&mut slice.endpoints)
            .iter()
            .filter_map(|endpoint| group.remove(&endpoint.identity()))
            .collect();
    }
    let empty = |ports: &[Port]| Slice {
        metadata: SliceMeta {
            namespace: namespace.to_owned(),
            labels: labels.clone(),
            annotations: annotations.cloned().unwrap_or_default(),
            ..SliceMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Vec::new(),
        ports: ports.to_vec(),
    };
    for (ports, group) in left {
        let mut rest: Vec<Endpoint> = group.into_values().collect();
        // Slices that are written anyway come first, then the fullest.
        let mut places: Vec<usize> = (0..after.len())
            .filter(|place| after[*place].ports == ports && !spare.contains(place))
            .collect();
        places.sort_by_key(|&place| {
            let untouched = before.get(place).is_some_and(|slice| **slice == after[place]);
            (untouched, std::cmp::Reverse(after[place].endpoints.len()))
        });
        for place in places {
            put(&mut after[place], &mut rest);
        }
        while !rest.is_empty() {
            let place = match spare.pop() {
                Some(place) => {
                    after[place].ports.clone_from(&ports);
                    place
                }
                None => {
                    after.push(empty(&ports));
                    after.len() - 1
                }
            };
            put(&mut after[place], &mut rest);
        }
    }
    if keep_empty && after.iter().all(|slice| slice.endpoints.is_empty()) {
        let mut all = after.into_iter();
        let mut only = all.next().unwrap_or_else(|| empty(&[]));
        only.ports.clear();
        plan.delete.extend(all.map(|slice| slice.metadata.name));
        after = vec![only];
    } else {
        let (full, empty): (Vec<_>, Vec<_>) =
            after.into_iter().partition(|slice| !slice.endpoints.is_empty());
        plan.delete.extend(empty.into_iter().map(|slice| slice.metadata.name));
        after = full;
    }
    for slice in after {
        match before.iter().find(|before| before.metadata.name == slice.metadata.name) {
            Some(before) if **before == slice => {}
            Some(_) => plan.update.push(slice),
            None => plan.create.push(slice),
        }
    }
}

fn put(slice: &mut Slice, rest: &mut Vec<Endpoint>) {
    let room = MOST.saturating_sub(slice.endpoints.len()).min(rest.len());
    slice.endpoints.extend(rest.drain(..room));
}

/// Writes a slice into its object.
pub(crate) fn fill(value: &mut Value, slice: &Slice) {
    set(value, "metadata.labels", json!(slice.metadata.labels));
    set(value, "metadata.annotations", json!(slice.metadata.annotations));
    set(value, "endpoints", json!(slice.endpoints));
    set(value, "ports", json!(slice.ports));
}
