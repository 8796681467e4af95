//! What can be done where, with which parameters.

use onggi_machinery::resource::{Subresource, Verb};
use serde_json::{Map, Value, json};

use super::{Entry, REF, base, name_of};

/// What queries may ask, by name: each stands once in a document, and operations refer to it.
const PARAMETERS: &[(&str, &str, &str)] = &[
    ("allowWatchBookmarks", "boolean", "Let a watch tell of its progress when nothing changes."),
    ("continue", "string", "Go on with the list that an answer's metadata.continue stands for."),
    ("dryRun", "string", "All: check and answer as usual, and store nothing."),
    ("fieldSelector", "string", "Restrict the list of returned objects by their fields."),
    ("gracePeriodSeconds", "integer", "Seconds that the object has to end; 0 ends it at once."),
    ("labelSelector", "string", "Restrict the list of returned objects by their labels."),
    ("limit", "integer", "Return so many objects at most, and a continue token for the rest."),
    ("orphanDependents", "boolean", "Old form of propagationPolicy."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background, Foreground."),
    ("resourceVersion", "string", "The version that the answer must be of, or not older than."),
    ("resourceVersionMatch", "string", "Exact or NotOlderThan: how resourceVersion is meant."),
    ("sendInitialEvents", "boolean", "Let a watch begin with everything that there is."),
    ("timeoutSeconds", "integer", "End a list or watch after so long."),
    ("watch", "boolean", "Watch for changes to the described resources: a stream of events."),
];
/// What the parameter `namespace` of a path is.
const NAMESPACE: &str = "object name and auth scope, such as for teams and projects";
const LISTING: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const DELETING: &[&str] =
    &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
const DELETING_MANY: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
];

pub(super) fn query_parameters() -> Map<String, Value> {
    let all = PARAMETERS.iter().map(|&(name, kind, description)| {
        let mut parameter = query_parameter(name, kind);
        parameter["description"] = description.into();
        (name.to_owned(), parameter)
    });
    all.collect()
}

pub(super) fn add(entry: &Entry<'_>, paths: &mut Map<String, Value>) {
    let row = entry.row;
    let root = format!("/{}", base(entry.version));
    let collection = if row.namespaced() {
        format!("{root}/namespaces/{{namespace}}/{}", row.plural)
    } else {
        format!("{root}/{}", row.plural)
    };
    let kind = (entry.version.0, entry.version.1, row.kind);
    let schema = entry.schema();
    let strategic = entry.custom.is_none();
    let has = |verb: &Verb| row.verbs.contains(verb);
    let scope = if row.namespaced() { "Namespaced" } else { "" };
    let of = |verbs: &[Verb], scope: &str, end: &str| {
        let operations = verbs.iter().filter(|verb| has(verb));
        operations
            .map(|verb| {
                let said = described(*verb, row.kind, entry.custom.is_some());
                let id = id(*verb, entry.version, &format!("{scope}{}{end}", row.kind));
                operation(*verb, kind, schema.as_deref(), strategic, (id, said))
            })
            .collect::<Map<_, _>>()
    };
    let mut whole = of(&[Verb::List, Verb::Create, Verb::DeleteCollection], scope, "");
    let item = format!("{collection}/{{name}}");
    let mut one = of(&[Verb::Get, Verb::Update, Verb::Patch, Verb::Delete], scope, "");
    let mut parameters = Vec::new();
    if row.namespaced() {
        parameters.push(path_parameter("namespace", NAMESPACE));
        if has(&Verb::List) {
            let all = of(&[Verb::List], "", "ForAllNamespaces");
            paths.insert(format!("{root}/{}", row.plural), Value::Object(all));
        }
    }
    if !parameters.is_empty() {
        whole.insert("parameters".into(), json!(parameters));
    }
    parameters.push(path_parameter("name", &format!("name of the {}", row.kind)));
    one.insert("parameters".into(), json!(parameters));
    paths.insert(collection, Value::Object(whole));
    for part in row.subresources {
        let itself = part.kind == (row.group, row.version, row.kind);
        let own = || name_of(part.kind.0, part.kind.1, part.kind.2);
        let schema = if itself { entry.schema() } else { own() };
        let operation = |verb: &Verb| {
            let said = described_part(*verb, part, row.kind);
            let of = format!("{scope}{}{}", row.kind, capital(part.name));
            let id = if part.kind.2.ends_with("Options") {
                format!("connect{}{}{of}", group(entry.version), capital(method(*verb)))
            } else {
                id(*verb, entry.version, &of)
            };
            operation(*verb, part.kind, schema.as_deref(), strategic, (id, said))
        };
        let mut operations: Map<_, _> = part.verbs.iter().map(operation).collect();
        operations.insert("parameters".into(), json!(parameters));
        paths.insert(format!("{item}/{}", part.name), Value::Object(operations));
    }
    paths.insert(item, Value::Object(one));
}

fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Get | Verb::List | Verb::Watch => "get",
        Verb::Create => "post",
        Verb::Update => "put",
        Verb::Patch => "patch",
        Verb::Delete | Verb::DeleteCollection => "delete",
    }
}

/// The name of an operation, by which generated clients call it: `listCoreV1NamespacedPod`.
fn id(verb: Verb, version: (&str, &str), of: &str) -> String {
    let group = group(version);
    match verb {
        Verb::Get => format!("read{group}{of}"),
        Verb::List | Verb::Watch => format!("list{group}{of}"),
        Verb::Create => format!("create{group}{of}"),
        Verb::Update => format!("replace{group}{of}"),
        Verb::Patch => format!("patch{group}{of}"),
        Verb::Delete => format!("delete{group}{of}"),
        Verb::DeleteCollection => format!("delete{group}Collection{of}"),
    }
}

/// `CoreV1`, `RbacAuthorizationV1`, `StableExampleComV1`.
fn group((group, version): (&str, &str)) -> String {
    let group = if group.is_empty() { "core" } else { group };
    let parts = group.strip_suffix(".k8s.io").unwrap_or(group).split('.').chain([version]);
    parts.map(capital).collect()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// What an operation does, in the words of `apiserver/pkg/endpoints/installer.go`.
fn described(verb: Verb, kind: &str, custom: bool) -> String {
    match verb {
        Verb::Get => format!("read the specified {kind}"),
        Verb::List | Verb::Watch if custom => format!("list objects of kind {kind}"),
        Verb::List | Verb::Watch => format!("list or watch objects of kind {kind}"),
        Verb::Create => format!("create{}{kind}", article(kind)),
        Verb::Update => format!("replace the specified {kind}"),
        Verb::Patch => format!("partially update the specified {kind}"),
        Verb::Delete => format!("delete{}{kind}", article(kind)),
        Verb::DeleteCollection => format!("delete collection of {kind}"),
    }
}

/// The same of a part; `kind` is that of the whole.
fn described_part(verb: Verb, part: &Subresource, kind: &str) -> String {
    let name = part.name;
    if part.kind.2.ends_with("Options") {
        let method = method(verb).to_ascii_uppercase();
        return format!("connect {method} requests to {name} of {kind}");
    }
    match verb {
        Verb::Update => format!("replace {name} of the specified {kind}"),
        Verb::Patch => format!("partially update {name} of the specified {kind}"),
        Verb::Create => format!("create {name} of{}{kind}", article(kind)),
        Verb::Delete => format!("delete {name} of{}{kind}", article(kind)),
        _ => format!("read {name} of the specified {kind}"),
    }
}

/// ` a `, ` an `; nothing before what looks like a plural.
fn article(noun: &str) -> &'static str {
    if noun.ends_with('s') && !noun.ends_with("ss") {
        " "
    } else if noun.starts_with(['A', 'E', 'I', 'O', 'U']) {
        " an "
    } else {
        " a "
    }
}

fn path_parameter(name: &str, said: &str) -> Value {
    let schema = json!({"type": "string", "uniqueItems": true});
    json!({"name": name, "in": "path", "description": said, "required": true, "schema": schema})
}

fn query_parameter(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn operation(
    verb: Verb,
    (group, version, kind): (&str, &str, &str),
    name: Option<&str>,
    strategic: bool,
    (id, said): (String, String),
) -> (String, Value) {
    let method = method(verb);
    let action = match verb {
        Verb::List | Verb::Watch => "list",
        Verb::DeleteCollection => "deletecollection",
        _ => method,
    };
    let reference = |suffix: &str| match name {
        Some(name) => json!({"$ref": format!("{REF}{name}{suffix}")}),
        None => json!({"type": "object"}),
    };
    let answer = match verb {
        Verb::List => reference("List"),
        _ => reference(""),
    };
    let mut operation = json!({
        "description": said,
        "operationId": id,
        "responses": {"200": {
            "description": "OK",
            "content": {"application/json": {"schema": answer}},
        }},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    let asked = match verb {
        Verb::List | Verb::Watch => LISTING,
        Verb::Delete => DELETING,
        Verb::DeleteCollection => DELETING_MANY,
        _ => &[],
    };
    if !asked.is_empty() {
        let refer = |name: &&str| json!({"$ref": format!("#/components/parameters/{name}")});
        operation["parameters"] = asked.iter().map(refer).collect();
    }
    let writes = matches!(verb, Verb::Create | Verb::Update | Verb::Patch);
    if writes {
        let mut parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"]
            .into_iter()
            .map(|name| query_parameter(name, "string"))
            .collect();
        if verb == Verb::Patch {
            parameters.push(query_parameter("force", "boolean"));
        }
        operation["parameters"] = json!(parameters);
        let body = if verb == Verb::Patch {
            let patch = json!({"schema": {"type": "object"}});
            let mut body = json!({
                "application/json-patch+json": patch,
                "application/merge-patch+json": patch,
                "application/apply-patch+yaml": patch,
            });
            // kubectl sends what stands here.
            if strategic {
                body["application/strategic-merge-patch+json"] = patch;
            }
            body
        } else {
            json!({"*/*": {"schema": reference("")}})
        };
        operation["requestBody"] = json!({"content": body, "required": true});
    }
    (method.to_owned(), operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_the_names_that_clients_are_made_of() {
        let core = ("", "v1");
        assert_eq!(id(Verb::List, core, "NamespacedPod"), "listCoreV1NamespacedPod");
        assert_eq!(id(Verb::DeleteCollection, core, "Node"), "deleteCoreV1CollectionNode");
        let rbac = ("rbac.authorization.k8s.io", "v1");
        assert_eq!(id(Verb::Get, rbac, "ClusterRole"), "readRbacAuthorizationV1ClusterRole");
        let custom = ("stable.example.com", "v1beta1");
        let name = id(Verb::Update, custom, "NamespacedVaseStatus");
        assert_eq!(name, "replaceStableExampleComV1beta1NamespacedVaseStatus");
    }

    #[test]
    fn operations_say_what_they_do() {
        assert_eq!(described(Verb::Create, "Pod", false), "create a Pod");
        assert_eq!(described(Verb::Delete, "Ingress", false), "delete an Ingress");
        assert_eq!(described(Verb::Create, "Endpoints", false), "create Endpoints");
        assert_eq!(described(Verb::List, "Pod", false), "list or watch objects of kind Pod");
        assert_eq!(described(Verb::List, "Vase", true), "list objects of kind Vase");
        let part = |name, kind| Subresource { name, kind: ("", "v1", kind), verbs: &[] };
        assert_eq!(
            described_part(Verb::Create, &part("exec", "PodExecOptions"), "Pod"),
            "connect POST requests to exec of Pod"
        );
        assert_eq!(
            described_part(Verb::Patch, &part("status", "Pod"), "Pod"),
            "partially update status of the specified Pod"
        );
    }
}
