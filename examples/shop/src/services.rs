//! What each service answers.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Config;
use crate::client::{AskError, Client};
use crate::server::{Answer, basic};

/// A running service.
pub(crate) struct Service {
    config: Config,
    client: Client,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Product {
    product_id: u32,
    name: String,
    weight: u32,
}

impl Service {
    pub(crate) fn new(config: Config) -> Self {
        let authorization =
            config.credentials.as_ref().map(|(user, password)| basic(user, password));
        Self { client: Client::new(authorization), config }
    }

    /// What a caller must show; nothing at the gateway.
    pub(crate) fn authorization(&self) -> Option<String> {
        if self.config.service == "gateway" {
            return None;
        }
        self.config.credentials.as_ref().map(|(user, password)| basic(user, password))
    }

    pub(crate) fn info(&self) -> Value {
        json!({
            "service": self.config.service,
            "version": self.config.version,
            "pod": std::env::var("HOSTNAME").unwrap_or_default(),
        })
    }

    pub(crate) async fn answer(&self, path: &str, query: &str) -> Answer {
        match self.config.service.as_str() {
            "product" => self.product(path),
            "review" => self.opinions(path, query, "/review", "reviews"),
            "recommendation" => self.opinions(path, query, "/recommendation", "recommendations"),
            "product-composite" => self.composite(path).await,
            _ => self.gateway(path).await,
        }
    }

    fn product(&self, path: &str) -> Answer {
        let Some(id) = path.strip_prefix("/product/") else { return no_path(path) };
        let Ok(id) = id.parse::<u32>() else { return bad_id(id) };
        match self.catalog() {
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": error})),
            Ok(products) => match products.into_iter().find(|p| p.product_id == id) {
                None => (StatusCode::NOT_FOUND, json!({"error": format!("no product {id}")})),
                Some(Product { product_id, name, weight }) => (
                    StatusCode::OK,
                    json!({
                        "productId": product_id, "name": name, "weight": weight,
                        "service": self.info(),
                    }),
                ),
            },
        }
    }

    /// Read at each request, so that a changed ConfigMap shows.
    fn catalog(&self) -> Result<Vec<Product>, String> {
        let file = &self.config.catalog;
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
    }

    fn opinions(&self, path: &str, query: &str, expected: &str, name: &str) -> Answer {
        if path != expected {
            return no_path(path);
        }
        let id = query.strip_prefix("productId=").unwrap_or_default();
        let Ok(id) = id.parse::<u32>() else { return bad_id(id) };
        let list: Vec<_> = (1..=3)
            .map(|n| json!({"id": n, "author": format!("author {n}"), "text": format!("{name} {n} of product {id}")}))
            .collect();
        (StatusCode::OK, json!({name: list, "service": self.info()}))
    }

    async fn composite(&self, path: &str) -> Answer {
        let Some(id) = path.strip_prefix("/product-composite/") else { return no_path(path) };
        let urls = &self.config.urls;
        let (product_url, review_url, recommendation_url) = (
            format!("{}/product/{id}", urls.product),
            format!("{}/review?productId={id}", urls.review),
            format!("{}/recommendation?productId={id}", urls.recommendation),
        );
        let (product, review, recommendation) = tokio::join!(
            self.client.get(&product_url),
            self.client.get(&review_url),
            self.client.get(&recommendation_url),
        );
        match (product, review, recommendation) {
            (Ok(product), Ok(review), Ok(recommendation)) => (
                StatusCode::OK,
                json!({
                    "productId": product["productId"],
                    "name": product["name"],
                    "weight": product["weight"],
                    "reviews": review["reviews"],
                    "recommendations": recommendation["recommendations"],
                    "services": {
                        "product": product["service"],
                        "review": review["service"],
                        "recommendation": recommendation["service"],
                        "composite": self.info(),
                    },
                }),
            ),
            (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => failed(&error),
        }
    }

    async fn gateway(&self, path: &str) -> Answer {
        if !path.starts_with("/product-composite/") {
            return no_path(path);
        }
        match self.client.get(&format!("{}{path}", self.config.urls.composite)).await {
            Ok(answer) => (StatusCode::OK, answer),
            Err(error) => failed(&error),
        }
    }
}

fn no_path(path: &str) -> Answer {
    let text = format!("nothing at {path}; try /product-composite/1");
    (StatusCode::NOT_FOUND, json!({"error": text}))
}

fn bad_id(id: &str) -> Answer {
    (StatusCode::UNPROCESSABLE_ENTITY, json!({"error": format!("{id:?} is no product number")}))
}

/// The other's refusal is passed on as it is; its silence is a bad gateway.
fn failed(error: &AskError) -> Answer {
    let code = match error {
        AskError::Answer(_, code) if code.is_client_error() => *code,
        AskError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    (code, json!({"error": error.to_string()}))
}
