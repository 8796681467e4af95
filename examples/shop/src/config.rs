//! Settings of a service, from its environment.

use std::path::PathBuf;

/// Which service this is, and what it needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// One of [`crate::SERVICES`].
    pub service: String,
    /// `PORT`; 80 where it is not set, as in the user's manifests.
    pub port: u16,
    /// `SHOP_VERSION`: shown by `/actuator/info`, so that a rollout can be seen.
    pub version: String,
    /// `SHOP_USER` and `SHOP_PASSWORD`, which the services ask of each other.
    pub credentials: Option<(String, String)>,
    /// `CATALOG`: the file of products.
    pub catalog: PathBuf,
    /// `PRODUCT_URL` …: where the others are.
    pub urls: Urls,
}

/// Where the other services are.
#[derive(Debug, Clone)]
pub struct Urls {
    /// `PRODUCT_URL`.
    pub product: String,
    /// `REVIEW_URL`.
    pub review: String,
    /// `RECOMMENDATION_URL`.
    pub recommendation: String,
    /// `PRODUCT_COMPOSITE_URL`.
    pub composite: String,
}

/// A setting is missing or wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// No such service.
    #[error(
        "no service {0:?}; there are product, review, recommendation, product-composite, gateway"
    )]
    Service(String),
    /// `PORT` is no port.
    #[error("PORT={0:?} is no port number")]
    Port(String),
    /// One of the pair is missing.
    #[error("SHOP_USER and SHOP_PASSWORD go together; only one is set")]
    Credentials,
}

impl Config {
    /// Reads the settings through `get`, which answers an environment variable.
    pub fn from_environment(
        service: &str,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        if !crate::SERVICES.contains(&service) {
            return Err(ConfigError::Service(service.to_owned()));
        }
        let port = match get("PORT") {
            None => 80,
            Some(text) => text.parse().map_err(|_| ConfigError::Port(text))?,
        };
        let credentials = match (get("SHOP_USER"), get("SHOP_PASSWORD")) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => return Err(ConfigError::Credentials),
        };
        let url = |name: &str, host: &str| get(name).unwrap_or_else(|| format!("http://{host}"));
        Ok(Self {
            service: service.to_owned(),
            port,
            version: get("SHOP_VERSION").unwrap_or_else(|| "v1".to_owned()),
            credentials,
            catalog: get("CATALOG").unwrap_or_else(|| "/config/catalog.json".to_owned()).into(),
            urls: Urls {
                product: url("PRODUCT_URL", "product"),
                review: url("REVIEW_URL", "review"),
                recommendation: url("RECOMMENDATION_URL", "recommendation"),
                composite: url("PRODUCT_COMPOSITE_URL", "product-composite"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_environment("review", |name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_and_faults() {
        let config = read(&[]).unwrap();
        assert_eq!((config.port, config.urls.product.as_str()), (80, "http://product"));
        assert_eq!(read(&[("PORT", "x")]).unwrap_err(), ConfigError::Port("x".into()));
        assert_eq!(read(&[("SHOP_USER", "a")]).unwrap_err(), ConfigError::Credentials);
        let unknown = Config::from_environment("cart", |_| None).unwrap_err();
        assert_eq!(unknown, ConfigError::Service("cart".into()));
    }
}
