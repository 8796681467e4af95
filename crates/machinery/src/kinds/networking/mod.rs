//! `networking.k8s.io/v1`: what comes in, who may talk to whom, and the addresses of Services.

use crate::resource::Resource;
use crate::validation::{At, Errors, names};

mod addresses;
mod ingress;
mod ingressclass;
mod networkpolicy;
#[cfg(test)]
mod tests;

pub use addresses::{IP_ADDRESS, SERVICE_CIDR};
pub use ingress::INGRESS;
pub use ingressclass::INGRESS_CLASS;
pub use networkpolicy::NETWORK_POLICY;

const GROUP: &str = "networking.k8s.io";

/// What all rows have in common.
const BASE: Resource = Resource { group: GROUP, ..Resource::BASE };

/// A `TypedLocalObjectReference`.
fn typed_reference(reference: &At<'_>, errors: &mut Errors) {
    reference.child("apiGroup").if_set(names::dns1123_subdomain, errors);
    for field in ["kind", "name"] {
        let found = reference.child(field);
        if found.must_be_set(errors) {
            found.must(names::path_segment, errors);
        }
    }
}
