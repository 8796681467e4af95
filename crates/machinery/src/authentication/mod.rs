//! `apiserver.config.k8s.io AuthenticationConfiguration`: whose tokens count beside our own, and
//! what their claims make of a user.

mod claims;
mod read;

pub use claims::{Claimed, user};
pub use read::read;

use crate::cel::Program;

/// The file.
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// Issuers of JSON web tokens.
    pub jwt: Vec<Jwt>,
    /// Where nothing is said, other options decide.
    pub anonymous: Option<Anonymous>,
}

/// Who has shown nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anonymous {
    /// Whether they are let in.
    pub enabled: bool,
    /// At these paths alone; empty: everywhere.
    pub paths: Vec<String>,
}

/// An issuer, and how its claims are read.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// `iss`, and where its configuration is, unless [`Self::discovery_url`] says otherwise.
    pub url: String,
    /// Where its configuration is; empty: below the URL.
    pub discovery_url: String,
    /// Who vouches for it (PEM); empty: the machine's authorities.
    pub authority: String,
    /// One of them must be in `aud`.
    pub audiences: Vec<String>,
    /// Algorithms that its tokens may be signed with; empty: all that are asymmetric.
    pub signing_algs: Vec<String>,
    /// The user's name.
    pub username: Mapping,
    /// The user's groups.
    pub groups: Option<Mapping>,
    /// The user's uid.
    pub uid: Option<Mapping>,
    /// What else is known of the user.
    pub extra: Vec<(String, Program)>,
    /// What must be true of the claims.
    pub claim_rules: Vec<ClaimRule>,
    /// What must be true of the user.
    pub user_rules: Vec<Rule>,
}

/// Where a value is from.
#[derive(Debug, Clone)]
pub enum Mapping {
    /// A claim, with something before it.
    Claim {
        /// Its name.
        name: String,
        /// Put before the value.
        prefix: String,
    },
    /// What an expression makes of `claims`.
    Expression(Program),
}

/// An expression that must be true.
#[derive(Debug, Clone)]
pub struct Rule {
    /// On `claims` or `user`.
    pub program: Program,
    /// Said where it is not; may be empty.
    pub message: String,
}

/// See [`Jwt::claim_rules`].
#[derive(Debug, Clone)]
pub enum ClaimRule {
    /// A claim has this value.
    Required {
        /// Its name.
        claim: String,
        /// The text that it is.
        value: String,
    },
    /// An expression on `claims`.
    Expression(Rule),
}

#[cfg(test)]
mod tests;
