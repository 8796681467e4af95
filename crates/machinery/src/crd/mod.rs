//! Custom kinds: what a CustomResourceDefinition says, and what follows from it.
//!
//! [`Definition`] is the object read once; [`row`] makes the line of the resource table that the
//! generic path works with; [`schema`] checks, prunes and defaults objects; [`names`] decides which
//! names a definition gets.

mod columns;
pub mod costs;
mod definition;
pub mod names;
pub mod review;
mod row;
pub mod schema;
pub mod validate;

pub use columns::Printer;
pub use definition::{Conversion, Definition, Names, ScalePaths, Version, by_priority};
pub use row::{Shape, row};

/// The group of the definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// Holds a deleted definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
