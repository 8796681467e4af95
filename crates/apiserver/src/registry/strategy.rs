//! Where kinds differ in how they are written (`pkg/registry/*/strategy.go`).

use onggi_machinery::resource::Resource;

/// Whether a PUT of an object that is not there makes it (`AllowCreateOnUpdate`).
pub(crate) fn creates_on_update(row: &Resource) -> bool {
    matches!(
        (row.group, row.plural),
        ("", "services" | "endpoints" | "events" | "limitranges")
            | ("events.k8s.io", "events")
            | ("coordination.k8s.io", "leases" | "leasecandidates")
            | ("node.k8s.io", "runtimeclasses")
            | (
                "rbac.authorization.k8s.io",
                "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings"
            )
    )
}

/// Whether a PUT without a `resourceVersion` replaces whatever is there
/// (`AllowUnconditionalUpdate`). Custom kinds never do.
pub(crate) fn updates_blindly(row: &Resource) -> bool {
    let never = matches!(
        (row.group, row.plural),
        ("coordination.k8s.io" | "admissionregistration.k8s.io" | "apiextensions.k8s.io", _)
            | ("apiregistration.k8s.io" | "node.k8s.io", _)
            | ("policy", "poddisruptionbudgets")
            | ("storage.k8s.io", "csidrivers" | "csinodes" | "volumeattachments")
            | ("certificates.k8s.io", "clustertrustbundles" | "podcertificaterequests")
    );
    !never && onggi_api::schema::of(row.group, row.version, row.kind).is_some()
}
