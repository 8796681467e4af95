//! Behaviour on objects: the resource table, defaults, validation, patches, selectors, conversion,
//! protobuf, tables. No I/O, no clock.
//!
//! Begin with [`resource::Resource`]: a kind is one row of [`kinds::RESOURCES`].

pub mod conversion;
pub mod kinds;
pub mod patch;
pub mod protobuf;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod table;
pub mod validation;
pub mod value;
pub mod yaml;
