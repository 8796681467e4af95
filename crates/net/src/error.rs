//! Why the network does not do it.

use std::path::PathBuf;

use onggi_sys::{netlink, nft};

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option makes no sense.
    #[error("{option}: {message}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The kernel refused a link, address or route.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The kernel refused a rule or an element.
    #[error(transparent)]
    Nftables(#[from] nft::Error),
    /// It refused an element of a Service.
    #[error("{element}: {source}")]
    Element {
        /// Which, in words.
        element: String,
        /// Why.
        source: nft::Error,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A network namespace cannot be entered or made.
    #[error("network namespace: {0}")]
    Namespace(std::io::Error),
    /// No address is left.
    #[error("no free address in {range}: {used} pods use all of them")]
    Exhausted {
        /// The node's range.
        range: Cidr,
        /// How many are in use.
        used: usize,
    },
    /// A thread of ours ended before its work.
    #[error("the network's worker ended early")]
    Worker,
}

use crate::Cidr;

impl From<Error> for onggi_node_api::NetworkError {
    fn from(error: Error) -> Self {
        match error {
            Error::Exhausted { range, used } => Self::Exhausted { range: range.to_string(), used },
            error => Self::Failed(error.to_string()),
        }
    }
}
