//! The sample application: a shop of five small services.
//!
//! | service | answers | asks |
//! |---|---|---|
//! | `product` | `/product/ID` | its catalogue, a file of the ConfigMap |
//! | `review` | `/review?productId=ID` | |
//! | `recommendation` | `/recommendation?productId=ID` | |
//! | `product-composite` | `/product-composite/ID` | the three above, at once |
//! | `gateway` | everything | `product-composite` |
//!
//! Each answers `/actuator/health` and `/actuator/info` too. Settings come from the environment
//! (a ConfigMap), user and password between the services from a Secret. It is linked into `onggi`,
//! so that one static binary is all that an image needs.

pub mod assets;
mod client;
mod config;
mod server;
mod services;

pub use config::{Config, ConfigError};
pub use server::serve;

/// Names of the services, as `onggi shop NAME` takes them.
pub const SERVICES: [&str; 5] =
    ["product", "review", "recommendation", "product-composite", "gateway"];

/// Why a service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port cannot be used.
    #[error("cannot listen on port {port}: {source}")]
    Listen {
        /// Which.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Runs one service until it is told to end.
pub fn run(service: &str) -> Result<(), Error> {
    let config = Config::from_environment(service, |name| std::env::var(name).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Signals)?;
    runtime.block_on(serve(config))
}
