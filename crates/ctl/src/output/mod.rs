//! What is printed: formats of `-o`, tables, YAML and JSON as Go writes them.

pub mod columns;
pub mod format;
pub mod go_template;
pub mod json;
pub mod kyaml;
pub mod table;
pub mod tabwriter;
pub mod yaml;

pub use format::Format;
