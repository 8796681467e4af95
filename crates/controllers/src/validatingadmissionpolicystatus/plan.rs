//! What is wrong with the expressions of a ValidatingAdmissionPolicy, as far as the types of what
//! it looks at are known. It counts all the same: this is advice.

use std::collections::BTreeSet;

use onggi_api::{GroupVersion, GroupVersionKind};
use onggi_machinery::admission::environment;
use onggi_machinery::cel::{self, Node, PolicyTypes};
use onggi_machinery::crd::schema::Schema;
use onggi_machinery::value::{at, list_at, str_at};
use serde_json::{Value, json};

/// So many kinds of a rule are looked at.
const MOST: usize = 10;

/// The schema of a kind.
pub(super) enum Known {
    BuiltIn(onggi_api::schema::Schema<'static>),
    Custom(Box<Schema>),
}

/// What is served.
pub(super) trait Kinds {
    /// The kind behind a path.
    fn kind(&self, group: &str, version: &str, plural: &str) -> Option<String>;
    /// What objects of a kind are.
    fn schema(&self, group: &str, version: &str, kind: &str) -> Option<Known>;
}

impl Known {
    fn node(&self) -> Node<'_> {
        match self {
            Self::BuiltIn(schema) => Node::BuiltIn(*schema),
            Self::Custom(schema) => Node::Custom(schema),
        }
    }
}

/// `status.typeChecking`.
pub(super) fn type_checking(policy: &Value, kinds: &impl Kinds) -> Value {
    let schema = |kind: &GroupVersionKind| kinds.schema(&kind.group, &kind.version, &kind.kind);
    let known: Vec<(GroupVersionKind, Known)> = matched(policy, kinds)
        .into_iter()
        .filter_map(|kind| schema(&kind).map(|schema| (kind, schema)))
        .collect();
    let params = params(policy).and_then(|kind| schema(&kind));
    let types: Vec<(&GroupVersionKind, PolicyTypes<'_>)> = known
        .iter()
        .map(|(kind, known)| (kind, types(policy, known.node(), params.as_ref().map(Known::node))))
        .collect();
    let mut warnings = Vec::new();
    for (place, validation) in list_at(policy, "spec.validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = str_at(validation, field);
            let found: Vec<String> = types
                .iter()
                .filter_map(|(kind, types)| Some(told(kind, &wrong(text, types)?)))
                .collect();
            if !text.is_empty() && !found.is_empty() {
                warnings.push(json!({
                    "fieldRef": format!("spec.validations[{place}].{field}"),
                    "warning": found.join("\n"),
                }));
            }
        }
    }
    // An empty list is taken away by a patch.
    let warnings = if warnings.is_empty() { Value::Null } else { warnings.into() };
    json!({"expressionWarnings": warnings})
}

/// In the form of Kubernetes.
fn told(kind: &GroupVersionKind, error: &str) -> String {
    let GroupVersionKind { group, version, kind } = kind;
    format!("{group}/{version}, Kind={kind}: {error}\n")
}

fn wrong(text: &str, types: &PolicyTypes<'_>) -> Option<String> {
    let program = match cel::compile(text, &environment::of_policies()) {
        Ok(program) => program,
        Err(error) => return Some(error.to_string()),
    };
    program.check_policy_types(types).err().map(|error| error.to_string())
}

/// Variables are of the types of their expressions, the earlier ones known to the later.
fn types<'s>(policy: &Value, object: Node<'s>, params: Option<Node<'s>>) -> PolicyTypes<'s> {
    let mut types = PolicyTypes::new(Some(object), params);
    for variable in list_at(policy, "spec.variables") {
        let text = str_at(variable, "expression");
        if let Ok(program) = cel::compile(text, &environment::of_policies()) {
            program.declare(str_at(variable, "name"), &mut types);
        }
    }
    types
}

fn params(policy: &Value) -> Option<GroupVersionKind> {
    let kind = at(policy, "spec.paramKind");
    let GroupVersion { group, version } = GroupVersion::parse(str_at(kind, "apiVersion"))?;
    Some(GroupVersionKind { group, version, kind: str_at(kind, "kind").to_owned() })
}

/// The kinds that rules without wildcards name, in order.
fn matched(policy: &Value, kinds: &impl Kinds) -> BTreeSet<GroupVersionKind> {
    let mut found = BTreeSet::new();
    for rule in list_at(policy, "spec.matchConstraints.resourceRules") {
        let sorted = |field: &str| -> Vec<&str> {
            let mut texts: Vec<&str> =
                list_at(rule, field).iter().filter_map(Value::as_str).collect();
            texts.sort_unstable();
            texts
        };
        let (groups, versions) = (sorted("apiGroups"), sorted("apiVersions"));
        if groups.iter().chain(&versions).any(|text| text.contains('*')) {
            continue;
        }
        let plurals: Vec<&str> =
            sorted("resources").into_iter().filter(|text| !text.contains(['*', '/'])).collect();
        let paths = groups.iter().flat_map(|group| {
            let plurals = &plurals;
            versions
                .iter()
                .flat_map(move |version| plurals.iter().map(move |p| (*group, *version, *p)))
        });
        let of = |(group, version, plural): (&str, &str, &str)| {
            let kind = kinds.kind(group, version, plural)?;
            Some(GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind })
        };
        found.extend(paths.filter_map(of).take(MOST));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Served(Value);

    impl Kinds for Served {
        fn kind(&self, group: &str, _: &str, plural: &str) -> Option<String> {
            let kinds = [("apps", "deployments", "Deployment"), ("example.com", "pots", "Pot")];
            let found = kinds.iter().find(|(g, p, _)| *g == group && *p == plural)?;
            Some(found.2.to_owned())
        }

        fn schema(&self, group: &str, version: &str, kind: &str) -> Option<Known> {
            let custom = || Known::Custom(Box::new(Schema::read(&self.0)));
            match onggi_api::schema::of(group, version, kind) {
                Some(schema) => Some(Known::BuiltIn(schema)),
                None => (group == "example.com").then(custom),
            }
        }
    }

    fn checked(groups: &[&str], plurals: &[&str], spec: Value) -> Vec<(String, String)> {
        let rule = json!({"apiGroups": groups, "apiVersions": ["v1"], "resources": plurals});
        let mut policy = json!({"spec": {"matchConstraints": {"resourceRules": [rule]}}});
        policy["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let served = Served(json!({"type": "object", "properties": {"spec": {
            "type": "object", "properties": {"size": {"type": "integer"}}}}}));
        let found = type_checking(&policy, &served);
        let text = |warning: &Value, field: &str| warning[field].as_str().unwrap().to_owned();
        let warnings = found["expressionWarnings"].as_array().into_iter().flatten();
        warnings.map(|warning| (text(warning, "fieldRef"), text(warning, "warning"))).collect()
    }

    #[test]
    fn types_of_built_in_and_custom_kinds() {
        let of = |plurals: &[&str], expression: &str| {
            let spec = json!({"validations": [{"expression": expression}]});
            checked(&["apps", "example.com"], plurals, spec)
        };
        assert_eq!(
            of(&["deployments"], "object.spec.replicas > '1'"),
            [(
                "spec.validations[0].expression".to_owned(),
                "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for \
                 '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'\n \
                 | .....................^\n"
                    .to_owned()
            )]
        );
        for (plurals, expression, expected) in [
            (&["deployments"][..], "object.spec.replicas > 1", ""),
            (
                &["deployments"],
                "object.spec.template.spec.containers.all(c, c.imag != '')",
                "'imag'",
            ),
            (&["deployments"], "object.metadata.labels['a'] == 'b'", ""),
            (&["deployments"], "object.metadata.labels.a == 1", "(string, int)"),
            (&["pots"], "object.spec.size == 'a'", "example.com/v1, Kind=Pot"),
            (&["pots"], "object.spec.height == 1", "undefined field 'height'"),
            (&["pots"], "object.metadata.name == 'a'", ""),
            (&["pots", "deployments"], "object.spec.replicas == 1", "Kind=Pot"),
            (&["*"], "object.spec.height == 1", ""),
            (&["pots/status"], "object.spec.height == 1", ""),
        ] {
            let found = of(plurals, expression);
            let text = found.first().map_or("", |(_, text)| text);
            assert_eq!(text.is_empty(), expected.is_empty(), "{expression}: {text}");
            assert!(text.contains(expected), "{expression}: {text}");
        }
    }

    #[test]
    fn parameters_variables_and_messages() {
        let spec = json!({
            "paramKind": {"apiVersion": "example.com/v1", "kind": "Pot"},
            "variables": [{"name": "size", "expression": "params.spec.size"},
                          {"name": "double", "expression": "variables.size * 2"}],
            "validations": [
                {"expression": "variables.double > object.spec.replicas",
                 "messageExpression": "'got ' + object.spec.replicas"},
                {"expression": "variables.double == 'x'"},
                {"expression": "variables.half == 1"},
            ],
        });
        let found = checked(&["apps"], &["deployments"], spec);
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(
            places,
            [
                "spec.validations[0].messageExpression",
                "spec.validations[1].expression",
                "spec.validations[2].expression",
            ]
        );
        assert!(found[2].1.contains("undefined field 'half'"), "{found:?}");
    }
}
