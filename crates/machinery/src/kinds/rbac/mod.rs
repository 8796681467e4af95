//! `rbac.authorization.k8s.io/v1`: roles and their bindings. Who may hand out what, and what a
//! role allows, are decided in the server's `authz`.

use crate::resource::{NameRule, Resource, Scope};

mod binding;
mod role;
#[cfg(test)]
mod tests;

pub use binding::{CLUSTER_ROLE_BINDING, ROLE_BINDING};
pub use role::{CLUSTER_ROLE, ROLE};

/// The API group.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// What the four rows have in common.
const BASE: Resource = Resource { group: GROUP, name: NameRule::PathSegment, ..Resource::BASE };

/// The same for those of the cluster.
const CLUSTER: Resource = Resource { scope: Scope::Cluster, ..BASE };
