//! The rules of role-based access control: what one allows, and whether some rules hold all that
//! others grant. Pure; the index of who holds which rules is the API server's.

mod covers;
mod rule;

pub use covers::{compact, missing};
pub use rule::PolicyRule;
