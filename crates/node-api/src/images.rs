//! `ImageService` (CRI `runtime.v1.ImageService`) and the root file systems made from images.

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// The images of a node.
#[async_trait]
pub trait ImageService: Send + Sync + 'static {
    /// Every image.
    async fn list_images(&self) -> Result<Vec<Image>, ImageError>;

    /// An image by reference (`nginx`, `host/name:tag`, `name@sha256:…`) or id; none when it is not
    /// on the node.
    async fn image_status(&self, reference: &str) -> Result<Option<Image>, ImageError>;

    /// Pulls unless every part is here. Concurrent pulls of one image become one. Answers the image.
    async fn pull_image(
        &self,
        reference: &str,
        auth: Vec<RegistryAuth>,
        progress: Option<mpsc::Sender<PullProgress>>,
    ) -> Result<Image, ImageError>;

    /// Removes a reference, and the image when it was the last; removing what is gone succeeds.
    async fn remove_image(&self, reference: &str) -> Result<(), ImageError>;
}

/// Root file systems of containers; handed to the runtime.
#[async_trait]
pub trait RootFs: Send + Sync + 'static {
    /// What the image says about its process.
    async fn image_config(&self, image: &str) -> Result<ImageConfig, ImageError>;

    /// Directories of unpacked layers, uppermost first, as overlayfs' `lowerdir` takes them. They
    /// stay until `release`.
    async fn layers(&self, image: &str, container: &str) -> Result<Vec<PathBuf>, ImageError>;

    /// The container no longer needs them.
    async fn release(&self, container: &str) -> Result<(), ImageError>;
}

/// An image on the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of its configuration: `sha256:…`.
    pub id: String,
    /// `docker.io/library/nginx:1.27`.
    pub repo_tags: Vec<String>,
    /// `docker.io/library/nginx@sha256:…`.
    pub repo_digests: Vec<String>,
    /// Bytes of its layers as they are stored.
    pub size: u64,
    /// Nanoseconds since 1970; 0: not said.
    pub created_at: i128,
}

/// What an image says about its process (OCI image configuration, `config`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`, `NAME=value`.
    pub env: Vec<String>,
    /// `WorkingDir`.
    pub working_dir: String,
    /// `User`: `user[:group]`, names or numbers.
    pub user: String,
    /// `StopSignal`.
    pub stop_signal: String,
    /// `ExposedPorts`, such as `8080/tcp`.
    pub exposed_ports: Vec<String>,
    /// `Volumes`.
    pub volumes: Vec<String>,
}

/// How to log in to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryAuth {
    /// User and password.
    Basic(String, String),
    /// A bearer token.
    Bearer(String),
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullProgress {
    /// Digest of the part.
    pub digest: String,
    /// Bytes that are here.
    pub received: u64,
    /// Bytes in all.
    pub total: u64,
    /// `downloading`, `verifying`, `unpacking`, `exists`, `done`.
    pub phase: String,
}

/// Why an image is not to be had. The texts end up in events and statuses.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    /// The text is no reference: `InvalidImageName`.
    #[error("invalid image reference {reference:?}: {message}")]
    InvalidReference {
        /// The text.
        reference: String,
        /// What is wrong.
        message: String,
    },
    /// The registry, or the node, has no such image.
    #[error("image {0} not found")]
    NotFound(String),
    /// The registry refuses us.
    #[error("not allowed to pull {reference}: {message}")]
    Unauthorized {
        /// The image.
        reference: String,
        /// What the registry said.
        message: String,
    },
    /// Not reached, broken off, wrong digest.
    #[error("{0}")]
    Registry(String),
    /// The node's disk.
    #[error("{0}")]
    Storage(String),
}
