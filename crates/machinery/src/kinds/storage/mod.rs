//! `storage.k8s.io/v1`: classes of volumes, and what the drivers of volumes say of themselves.

use onggi_api::FieldError;

use crate::resource::{Resource, Scope};
use crate::validation::{At, Errors, names};

mod capacity;
mod class;
mod driver;
mod node;
#[cfg(test)]
mod tests;
mod volumeattachment;

pub use capacity::CSI_STORAGE_CAPACITY;
pub use class::{STORAGE_CLASS, VOLUME_ATTRIBUTES_CLASS};
pub use driver::CSI_DRIVER;
pub use node::CSI_NODE;
pub use volumeattachment::VOLUME_ATTACHMENT;

const GROUP: &str = "storage.k8s.io";

/// What the rows have in common.
const BASE: Resource = Resource { group: GROUP, scope: Scope::Cluster, ..Resource::BASE };

const DRIVER_NAME_MAX: usize = 63;
/// Bytes of all parameters together, keys and values.
const PARAMETERS_SIZE_MAX: usize = 256 * 1024;
const PARAMETERS_MAX: usize = 512;

/// The name of a driver that must be there.
pub(super) fn driver_name(name: &At<'_>, errors: &mut Errors) {
    if !name.must_be_set(errors) {
        return;
    }
    name.at_most(DRIVER_NAME_MAX, errors);
    let wrong = names::dns1123_subdomain(&name.text().to_lowercase());
    errors.extend(wrong.into_iter().map(|detail| name.invalid(detail)));
}

/// What a driver is told.
fn parameters(parameters: &At<'_>, errors: &mut Errors) {
    if parameters.entries().count() > PARAMETERS_MAX {
        return errors.push(FieldError::too_long(&parameters.path, PARAMETERS_MAX));
    }
    if parameters.entries().any(|(key, _)| key.is_empty()) {
        errors.push(FieldError::invalid(&parameters.path, "", "field can not be empty."));
    }
    size(parameters, errors);
}

/// Keys and values of a map must not be larger than that of parameters.
fn size(map: &At<'_>, errors: &mut Errors) {
    let size: usize = map.entries().map(|(key, value)| key.len() + value.text().len()).sum();
    if size > PARAMETERS_SIZE_MAX {
        errors.push(FieldError::too_long(&map.path, PARAMETERS_SIZE_MAX));
    }
}
