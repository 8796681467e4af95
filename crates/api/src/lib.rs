//! The kinds of the API: typed views, the object as it is kept in memory, quantities, `Status`,
//! field errors and schemas. No I/O, no clock.
//!
//! Everybody uses this crate, so it changes seldom. Begin with [`Object`]: what the store, the
//! watch cache and every informer hold. Typed views ([`core`], [`apps`] …) are for code that
//! reads or plans; what went through a typed view is never stored, because decoding and encoding
//! again loses explicit nulls, empty objects and unknown fields.

pub mod cidr;
mod decimal;
pub mod field;
mod fields;
pub mod json;
pub mod names;
pub mod object;
pub mod quantity;
pub mod schema;
pub mod status;

pub use cidr::{Cidr, CidrError};
pub use field::{FieldError, FieldErrorKind, FieldPath, sought};
pub use fields::name as field_name;
pub use names::{GroupVersion, GroupVersionKind, GroupVersionResource};
pub use object::{DecodeError, Head, Object, OwnerReference, null_is_default};
pub use quantity::Quantity;
pub use status::{Reason, Status};

pub use k8s_openapi;
/// `apps/v1`.
pub use k8s_openapi::api::apps::v1 as apps;
/// `coordination.k8s.io/v1`.
pub use k8s_openapi::api::coordination::v1 as coordination;
/// The core group, `v1`.
pub use k8s_openapi::api::core::v1 as core;
/// `discovery.k8s.io/v1`.
pub use k8s_openapi::api::discovery::v1 as discovery;
/// `meta.k8s.io/v1`.
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
/// An integer or a string, as in a target port.
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
/// The time type of the typed views.
pub use k8s_openapi::jiff;
