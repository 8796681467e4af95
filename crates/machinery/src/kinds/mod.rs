//! The table: one line a kind, one file a kind.

use crate::resource::Resource;

/// Every kind that is served. To add one: a file beside this one, and a line here.
pub const RESOURCES: &[&Resource] = &[];
