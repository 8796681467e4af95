//! The Dockerfile and the manifests, for an installed `onggi` that has no sources beside it.

/// Path below the application's folder, and content.
pub const FILES: &[(&str, &str)] = &[
    ("Dockerfile", include_str!("../Dockerfile")),
    ("kubernetes/base/kustomization.yml", include_str!("../kubernetes/base/kustomization.yml")),
    ("kubernetes/base/catalog.json", include_str!("../kubernetes/base/catalog.json")),
    ("kubernetes/base/product.yml", include_str!("../kubernetes/base/product.yml")),
    ("kubernetes/base/review.yml", include_str!("../kubernetes/base/review.yml")),
    ("kubernetes/base/recommendation.yml", include_str!("../kubernetes/base/recommendation.yml")),
    (
        "kubernetes/base/product-composite.yml",
        include_str!("../kubernetes/base/product-composite.yml"),
    ),
    ("kubernetes/base/gateway.yml", include_str!("../kubernetes/base/gateway.yml")),
    (
        "kubernetes/overlays/dev/kustomization.yml",
        include_str!("../kubernetes/overlays/dev/kustomization.yml"),
    ),
    (
        "kubernetes/overlays/prod/kustomization.yml",
        include_str!("../kubernetes/overlays/prod/kustomization.yml"),
    ),
    (
        "kubernetes/overlays/prod/product-prod.yml",
        include_str!("../kubernetes/overlays/prod/product-prod.yml"),
    ),
    (
        "kubernetes/overlays/prod/gateway-prod.yml",
        include_str!("../kubernetes/overlays/prod/gateway-prod.yml"),
    ),
];

/// The image's name in the manifests.
pub const IMAGE: &str = "onggi/shop";

/// The namespace of the overlays' objects when the demonstration applies them.
pub const NAMESPACE: &str = "shop";

/// Port of the node at which the gateway answers.
pub const NODE_PORT: u16 = 30080;
