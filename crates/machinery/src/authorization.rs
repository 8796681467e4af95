//! `apiserver.config.k8s.io AuthorizationConfiguration`: who decides, in which order, and which
//! requests a webhook is asked about.

use std::time::Duration;

use onggi_api::{FieldError, FieldPath};
use serde_json::Value;

use crate::cel::{Budget, Declarations, Program, Value as Cel, Variables, compile};
use crate::fields::{self, Errors, Fields};

const VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
const KIND: &str = "AuthorizationConfiguration";
/// Versions of SubjectAccessReviews.
pub const REVIEWS: &[&str] = &["v1", "v1beta1"];

/// One of the chain.
#[derive(Debug, Clone)]
pub enum Authorizer {
    /// `Node`, `RBAC`, `AlwaysAllow`, `AlwaysDeny`.
    Own(String),
    /// Asked over HTTPS.
    Webhook(Webhook),
}

/// How a webhook is asked.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// For messages.
    pub name: String,
    /// The kubeconfig with its address.
    pub kubeconfig: String,
    /// How long a yes is kept.
    pub authorized_ttl: Duration,
    /// How long a no is kept.
    pub unauthorized_ttl: Duration,
    /// How long it may take.
    pub timeout: Duration,
    /// What no answer means: a no, or no opinion.
    pub denies_on_failure: bool,
    /// The version of the reviews that it is sent: `v1` or `v1beta1`.
    pub version: String,
    /// All must hold for it to be asked.
    pub conditions: Vec<Program>,
}

impl Webhook {
    /// With Kubernetes' times.
    pub fn new(name: &str, kubeconfig: &str) -> Self {
        Self {
            name: name.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            authorized_ttl: Duration::from_secs(300),
            unauthorized_ttl: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            denies_on_failure: false,
            version: "v1".to_owned(),
            conditions: Vec::new(),
        }
    }

    /// Whether it is to be asked about a request (the `spec` of a SubjectAccessReview).
    pub fn is_for(&self, request: &Value) -> Result<bool, String> {
        let mut budget = Budget::new(Budget::MATCH_CONDITIONS);
        let mut variables = Variables::default();
        variables.set("request", Cel::json(request));
        let mut failed = None;
        for program in &self.conditions {
            match program.evaluate(&variables, &mut budget).map(|value| value.as_bool()) {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Ok(false),
                Ok(None) => failed = Some(format!("{:?} is no bool", program.text())),
                Err(error) => failed = Some(format!("{:?}: {error}", program.text())),
            }
        }
        failed.map_or(Ok(true), Err)
    }
}

/// From YAML or JSON; the error names every field that is wrong.
pub fn read(text: &str) -> Result<Vec<Authorizer>, String> {
    fields::read(text, configuration)
}

fn configuration(value: &Value, errors: &mut Errors) -> Vec<Authorizer> {
    let root = FieldPath::root();
    let fields = Fields::of(value, &root, errors);
    fields.is_a(&VERSIONS, KIND, errors);
    fields.only(&["apiVersion", "kind", "authorizers"], errors);
    let path = root.child("authorizers");
    let list = fields.list("authorizers", errors);
    if list.is_empty() {
        let detail = "at least one authorization mode must be defined";
        errors.push(FieldError::required(&path, detail));
    }
    let mut found: Vec<Authorizer> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (at, value) in list.iter().enumerate() {
        let path = path.index(at);
        let fields = Fields::of(value, &path, errors);
        fields.only(&["type", "name", "webhook"], errors);
        let name = fields.text("name", errors);
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(&path.child("name"), name.as_str()));
        }
        let kind = fields.text("type", errors);
        match kind.as_str() {
            "Node" | "RBAC" | "AlwaysAllow" | "AlwaysDeny" => found.push(Authorizer::Own(kind)),
            "Webhook" => {
                let hook = webhook(&name, fields.get("webhook"), &path.child("webhook"), errors);
                found.push(Authorizer::Webhook(hook));
            }
            _ => {
                let known = ["AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];
                errors.push(FieldError::not_supported(&path.child("type"), kind, &known));
            }
        }
        names.push(name);
    }
    found
}

fn webhook(name: &str, value: &Value, path: &FieldPath, errors: &mut Errors) -> Webhook {
    let fields = Fields::of(value, path, errors);
    let known = [
        "authorizedTTL",
        "unauthorizedTTL",
        "cacheAuthorizedRequests",
        "cacheUnauthorizedRequests",
        "timeout",
        "subjectAccessReviewVersion",
        "matchConditionSubjectAccessReviewVersion",
        "failurePolicy",
        "connectionInfo",
        "matchConditions",
    ];
    fields.only(&known, errors);
    let mut hook = Webhook::new(name, "");
    for (field, to) in [
        ("authorizedTTL", &mut hook.authorized_ttl),
        ("unauthorizedTTL", &mut hook.unauthorized_ttl),
        ("timeout", &mut hook.timeout),
    ] {
        match (fields.text(field, errors).as_str(), field) {
            ("", "timeout") => errors.push(FieldError::required(&path.child(field), "")),
            ("", _) => {}
            (text, _) => match seconds(text) {
                Some(time) => *to = time,
                None => {
                    let detail = "must be a duration such as 30s or 5m";
                    errors.push(FieldError::invalid(&path.child(field), text, detail));
                }
            },
        }
    }
    if fields.flag("cacheAuthorizedRequests", errors) == Some(false) {
        hook.authorized_ttl = Duration::ZERO;
    }
    if fields.flag("cacheUnauthorizedRequests", errors) == Some(false) {
        hook.unauthorized_ttl = Duration::ZERO;
    }
    hook.version = version(&fields, path, "subjectAccessReviewVersion", REVIEWS, errors);
    if hook.version.is_empty() {
        errors.push(FieldError::required(&path.child("subjectAccessReviewVersion"), ""));
    }
    // Conditions see the review as v1 has it.
    let field = "matchConditionSubjectAccessReviewVersion";
    let seen = version(&fields, path, field, &REVIEWS[..1], errors);
    if seen.is_empty() && !fields.list("matchConditions", errors).is_empty() {
        let detail = "required if match conditions are specified";
        errors.push(FieldError::required(&path.child(field), detail));
    }
    let policy = fields.text("failurePolicy", errors);
    match policy.as_str() {
        "NoOpinion" => {}
        "Deny" => hook.denies_on_failure = true,
        _ => {
            let path = path.child("failurePolicy");
            errors.push(FieldError::not_supported(&path, policy, &["NoOpinion", "Deny"]));
        }
    }
    let place = path.child("connectionInfo");
    let connection = Fields::of(fields.get("connectionInfo"), &place, errors);
    connection.only(&["type", "kubeConfigFile"], errors);
    let kind = connection.text("type", errors);
    if kind != "KubeConfigFile" {
        errors.push(FieldError::not_supported(&place.child("type"), kind, &["KubeConfigFile"]));
    }
    hook.kubeconfig = connection.text("kubeConfigFile", errors);
    if hook.kubeconfig.is_empty() {
        errors.push(FieldError::required(&place.child("kubeConfigFile"), ""));
    }
    let place = path.child("matchConditions");
    for (at, value) in fields.list("matchConditions", errors).iter().enumerate() {
        let path = place.index(at);
        let fields = Fields::of(value, &path, errors);
        fields.only(&["expression"], errors);
        let text = fields.text("expression", errors);
        match compile(&text, &Declarations::new(["request"])) {
            Ok(program) => hook.conditions.push(program),
            Err(error) => {
                let detail = format!("compilation failed: {error}");
                errors.push(FieldError::invalid(&path.child("expression"), text, detail));
            }
        }
    }
    hook
}

fn version(
    fields: &Fields<'_>,
    path: &FieldPath,
    field: &str,
    known: &[&str],
    errors: &mut Errors,
) -> String {
    let version = fields.text(field, errors);
    if !version.is_empty() && !known.contains(&version.as_str()) {
        errors.push(FieldError::not_supported(&path.child(field), version.as_str(), known));
    }
    version
}

/// Hours, minutes, seconds and milliseconds, as Go writes them: `1m30s`.
pub fn seconds(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let unit = &rest[end..];
        let (factor, length) = match unit {
            _ if unit.starts_with("ms") => (1, 2),
            _ if unit.starts_with('s') => (1000, 1),
            _ if unit.starts_with('m') => (60_000, 1),
            _ if unit.starts_with('h') => (3_600_000, 1),
            _ => return None,
        };
        total += Duration::from_millis(number.checked_mul(factor)?);
        rest = &unit[length..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: first
  webhook:
    authorizedTTL: 1m30s
    cacheUnauthorizedRequests: false
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: /k}
    matchConditions:
    - expression: has(request.resourceAttributes)
    - expression: request.resourceAttributes.namespace == 'a'
- {type: RBAC, name: rbac}
"#;

    #[test]
    fn a_file() {
        let found = read(FILE).unwrap();
        let [Authorizer::Webhook(hook), Authorizer::Own(own)] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(own, "RBAC");
        assert_eq!(hook.authorized_ttl, Duration::from_secs(90));
        assert_eq!((hook.unauthorized_ttl, hook.denies_on_failure), (Duration::ZERO, true));
        let about = |namespace: &str| json!({"resourceAttributes": {"namespace": namespace}});
        assert_eq!(hook.is_for(&about("a")), Ok(true));
        assert_eq!(hook.is_for(&about("b")), Ok(false));
        assert_eq!(hook.is_for(&json!({"nonResourceAttributes": {}})), Ok(false));
        assert!(hook.is_for(&json!({"resourceAttributes": {}})).is_err());
    }

    #[test]
    fn odd_files() {
        for (from, to, problem) in [
            ("name: first", "name: rbac", "authorizers[1].name: Duplicate value"),
            ("failurePolicy: Deny", "failurePolicy: X", "failurePolicy: Unsupported value"),
            ("timeout: 3s", "timeout: x", "webhook.timeout: Invalid value"),
            (
                "subjectAccessReviewVersion: v1",
                "subjectAccessReviewVersion: v2",
                "webhook.subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\"",
            ),
            (
                "    subjectAccessReviewVersion: v1\n",
                "",
                "webhook.subjectAccessReviewVersion: Required value",
            ),
            (
                "matchConditionSubjectAccessReviewVersion: v1",
                "matchConditionSubjectAccessReviewVersion: v1beta1",
                "supported values: \"v1\"",
            ),
            ("type: RBAC", "type: Odd", "authorizers[1].type: Unsupported value"),
            ("has(request.resourceAttributes)", "a.b", "matchConditions[0].expression"),
        ] {
            let error = read(&FILE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
