//! What the kubelet asks of its node, shaped like CRI (`runtime.v1`), so that containerd could
//! stand in whole: [`RuntimeService`], [`ImageService`], and what a runtime in turn is given:
//! [`PodNetwork`], [`RootFs`].

pub mod fake;
pub mod images;
pub mod network;
pub mod runtime;
pub mod sysctl;

pub use images::{
    Image, ImageConfig, ImageError, ImageService, PullProgress, RegistryAuth, RootFs,
};
pub use network::{NetworkError, PodNetwork, PodNetworkStatus};
pub use runtime::*;
