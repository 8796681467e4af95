//! Behaviour on objects: the resource table, defaults, validation, patches, selectors, conversion,
//! protobuf, tables, access rules. No I/O, no clock.
//!
//! Begin with [`resource::Resource`]: a kind is one row of [`kinds::RESOURCES`]. A body becomes an
//! object in this order: [`schema::decode`] (or [`patch::apply`] and [`schema::admit`]), the row's
//! `prepare_…`, its `default`, its `validate`. Kinds of old versions pass [`conversion`] first.

pub mod admission;
pub mod audit;
pub mod authentication;
pub mod authorization;
pub mod cel;
pub mod conversion;
pub mod crd;
pub mod cron;
mod fields;
pub mod jsonpath;
pub mod kinds;
pub mod managedfields;
pub mod patch;
pub mod pattern;
pub mod protobuf;
pub mod rbac;
pub mod references;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod table;
pub mod validation;
pub mod value;
pub mod yaml;
