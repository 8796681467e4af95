//! What can go wrong with images, in words for the person who asked.

use std::io;
use std::path::Path;

use onggi_node_api::ImageError;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no reference.
    #[error("invalid image reference {reference:?}: {message}")]
    InvalidReference {
        /// The text.
        reference: String,
        /// What is wrong.
        message: String,
    },
    /// The node, or the registry, has no such image.
    #[error("image {0} not found")]
    NotFound(String),
    /// The registry refuses us.
    #[error("not allowed to access {reference}: {message}")]
    Unauthorized {
        /// The image.
        reference: String,
        /// What the registry said, and what to do.
        message: String,
    },
    /// The registry was not reached, broke off, or sent something wrong.
    #[error("{0}")]
    Registry(String),
    /// A layer, archive, manifest or request is not what it should be.
    #[error("{0}")]
    Invalid(String),
    /// A step of a Dockerfile.
    #[error("{file}:{line}: {message}")]
    Build {
        /// Name of the Dockerfile.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The node's disk.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// `Invalid` from anything that can be shown.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Error::Invalid(message.into())
    }
}

impl From<Error> for ImageError {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidReference { reference, message } => {
                ImageError::InvalidReference { reference, message }
            }
            Error::NotFound(name) => ImageError::NotFound(name),
            Error::Unauthorized { reference, message } => {
                ImageError::Unauthorized { reference, message }
            }
            Error::Registry(text) => ImageError::Registry(text),
            other @ (Error::Invalid(_) | Error::Build { .. } | Error::Io { .. }) => {
                ImageError::Storage(other.to_string())
            }
        }
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::InvalidReference { reference, message } => {
                Error::InvalidReference { reference, message }
            }
            ImageError::NotFound(name) => Error::NotFound(name),
            ImageError::Unauthorized { reference, message } => {
                Error::Unauthorized { reference, message }
            }
            ImageError::Registry(text) => Error::Registry(text),
            ImageError::Storage(text) => Error::Invalid(text),
        }
    }
}

/// Says what was being done when a file operation failed.
pub(crate) trait Context<T> {
    /// With a text.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
    /// With the path.
    fn at(self, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| {
            let source: io::Error = e.into();
            let mut context = what();
            if source.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) {
                context.push_str(" (free space, or remove images with `onggi rmi`)");
            }
            Error::Io { context, source }
        })
    }

    fn at(self, path: &Path) -> Result<T> {
        self.context(|| path.display().to_string())
    }
}
