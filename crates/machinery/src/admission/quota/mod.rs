//! ResourceQuota: what an object uses ([`usage`]), which quotas count it ([`scopes`]), and whether
//! there is room for it ([`check`]).

mod check;
mod scopes;
mod usage;

#[cfg(test)]
mod tests;

pub use check::{Charge, Request, charge, recount};
pub use scopes::matches_scopes;
pub(crate) use usage::total;
pub use usage::{counted_by, is_extended_resource, kind_of, usage};
