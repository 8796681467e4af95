//! Behaviour on objects: the resource table, defaults, validation, patches, selectors, conversion,
//! protobuf, tables. No I/O, no clock.
//!
//! Begin with [`resource::Resource`]: a kind is one row of [`kinds::RESOURCES`].

pub mod kinds;
pub mod protobuf;
pub mod resource;
pub mod schema;
pub mod table;
pub mod value;
pub mod yaml;
