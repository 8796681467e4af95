//! The patches of the API: JSON patch (RFC 6902), JSON merge patch (RFC 7386) and strategic merge
//! patch, and the making of strategic patches as `kubectl apply` sends them.

mod diff;
mod directive;
mod json;
mod lists;
mod strategic;

use onggi_api::schema::Schema;
use serde_json::Value;

pub use diff::{three_way_merge, two_way_merge};
pub use strategic::strategic_merge;

/// What a PATCH request carries, by its `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`; for kinds with a schema alone.
    Strategic,
    /// `application/apply-patch+yaml`: server-side apply, which is not done here.
    Apply,
}

/// A patch cannot be applied. `Display` is the message of the `Status`, [`PatchError::code`] its
/// code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is no JSON, or not of the form that its type wants.
    #[error("error decoding patch: {0}")]
    Decode(String),
    /// A strategic merge patch that contradicts itself or the schema.
    #[error("{0}")]
    Format(String),
    /// The patch is well-formed and does not fit the object (a missing path). The real server does
    /// not tell why ([`Self::reason`]), and clients compare the text.
    #[error("the server rejected our request due to an error in our request")]
    Unfit(String),
    /// The same of a `test` that does not hold.
    #[error("the server rejected our request due to an error in our request")]
    Test(String),
    /// A list of a strategic merge patch cannot be merged: for the real server a fault of its own.
    #[error("{0}")]
    Lists(String),
    /// More operations than a JSON patch may have, or more data than they may make.
    #[error("{0}")]
    TooLarge(String),
}

impl PatchError {
    /// 400, 413, 422 or 500.
    pub fn code(&self) -> u16 {
        match self {
            Self::Decode(_) | Self::Format(_) => 400,
            Self::TooLarge(_) => 413,
            Self::Unfit(_) | Self::Test(_) => 422,
            Self::Lists(_) => 500,
        }
    }

    /// Why, also where the real server does not tell who sent the patch.
    pub fn reason(&self) -> String {
        match self {
            Self::Unfit(why) | Self::Test(why) => why.clone(),
            told => told.to_string(),
        }
    }
}

impl PatchType {
    /// What a 415 lists.
    pub const ACCEPTED: &'static str = "application/json-patch+json, application/merge-patch+json, \
         application/strategic-merge-patch+json, application/apply-patch+yaml";
    /// What it lists for custom kinds, which say nothing of strategic merges.
    pub const ACCEPTED_FOR_CUSTOM: &'static str = "application/json-patch+json, \
         application/merge-patch+json, application/apply-patch+yaml";

    /// Reads a `Content-Type`.
    pub fn parse(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// Applies a patch as it came. The result still has to be admitted against its schema
/// ([`crate::schema::admit`]): a patch may bring unknown fields and wrong types. When it fails, the
/// object may be half changed: patch a copy.
///
/// The second value lists the keys that stood twice in the patch, for field validation.
pub fn apply(
    kind: PatchType,
    schema: Option<Schema<'_>>,
    object: &mut Value,
    body: &[u8],
) -> Result<Vec<String>, PatchError> {
    let parsed =
        crate::schema::json::parse(body).map_err(|error| PatchError::Decode(error.to_string()))?;
    match kind {
        PatchType::Json => json::apply(object, parsed.value)?,
        PatchType::Merge => {
            if !parsed.value.is_object() {
                return Err(PatchError::Decode("a merge patch is a JSON object".to_owned()));
            }
            json_patch::merge(object, &parsed.value);
        }
        PatchType::Strategic => strategic_merge(schema, object, parsed.value)?,
        PatchType::Apply => {
            let text = "an apply patch is merged by its field owners";
            return Err(PatchError::Decode(text.to_owned()));
        }
    }
    Ok(parsed.duplicates)
}

#[cfg(test)]
mod tests;
