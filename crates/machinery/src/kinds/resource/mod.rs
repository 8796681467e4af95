//! `resource.k8s.io/v1`: devices, classes of them, and claims on them.

use crate::resource::{Resource, Scope};

mod claim;
mod deviceclass;
mod rules;
mod slice;
mod status;
#[cfg(test)]
mod tests;

pub use claim::{RESOURCE_CLAIM, RESOURCE_CLAIM_TEMPLATE};
pub use deviceclass::DEVICE_CLASS;
pub use slice::RESOURCE_SLICE;

const GROUP: &str = "resource.k8s.io";

/// What the rows have in common.
const BASE: Resource = Resource { group: GROUP, ..Resource::BASE };

/// The same for those of the cluster, whose changes are counted.
const CLUSTER: Resource = Resource { scope: Scope::Cluster, has_generation: true, ..BASE };
