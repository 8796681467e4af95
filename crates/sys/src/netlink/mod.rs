//! Netlink: sockets that stay open, routes, links and connection tracking.
//!
//! Own encoding of the few messages that a node needs. What is read back is read attribute by
//! attribute and the rest skipped, so that a newer kernel with more of them changes nothing. All
//! calls are synchronous: the kernel has answered when `send` returns (except for dumps), so a call
//! takes microseconds; only the deletion of a link waits (for RCU, about 30 ms).

pub mod attr;
pub mod conntrack;
pub mod message;
pub mod netns;
pub mod route;
pub mod socket;

pub use message::Messages;
pub use netns::NetNs;
pub use socket::{Protocol, Socket};

use std::io;

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket itself failed.
    #[error("netlink: {doing}: {source}")]
    Socket {
        /// What was tried.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The kernel refused a message.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// An answer that cannot be read, or none.
    #[error("netlink: {0}")]
    Protocol(&'static str),
}

/// One message that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {}{}", io::Error::from_raw_os_error(*errno), text(message))]
pub struct Refusal {
    /// Which message of the batch.
    pub index: usize,
    /// What it was to do.
    pub what: String,
    /// The error number, positive.
    pub errno: i32,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`).
    pub message: Option<String>,
    /// Where in the message the offending attribute stands (`NLMSGERR_ATTR_OFFS`).
    pub offset: Option<usize>,
}

fn text(message: &Option<String>) -> String {
    message.as_ref().map(|text| format!(" ({text})")).unwrap_or_default()
}

impl Error {
    /// The error number where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Socket { source, .. } => source.raw_os_error(),
            Self::Refused(refusal) => Some(refusal.errno),
            Self::Protocol(_) => None,
        }
    }
}
