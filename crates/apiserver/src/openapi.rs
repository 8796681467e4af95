//! OpenAPI v3, a document for each group and version, made from what is served and the schemas
//! when first asked for. They describe parameters and lists, and no fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use onggi_api::schema::{self, Field, ListKind, Schema, Shape};
use onggi_machinery::protobuf;
use onggi_machinery::resource::{Resource, Verb};
use serde_json::{Map, Value, json};

use crate::VERSION;
use crate::discovery::Document;
use crate::openapi_v2;
use crate::served::{Custom, Served};

const REF: &str = "#/components/schemas/";
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
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// See the module.
pub(crate) struct OpenApi {
    served: Arc<[Served]>,
    made: OnceLock<Made>,
}

struct Made {
    index: Value,
    documents: BTreeMap<String, Arc<Both>>,
    v2: Document,
    v2_protobuf: OnceLock<Document>,
}

/// A document of v3, and what few clients ask for.
struct Both {
    json: Document,
    protobuf: OnceLock<Document>,
}

/// The documents of groups that no custom kind can be in: made once, whatever comes and goes.
struct Builtin {
    documents: BTreeMap<String, Arc<Both>>,
    v2: openapi_v2::Builder,
}

impl OpenApi {
    pub(crate) fn new(served: Arc<[Served]>) -> Self {
        Self { served, made: OnceLock::new() }
    }

    /// `/openapi/v3`: where the documents are.
    pub(crate) fn index(&self) -> &Value {
        &self.made().index
    }

    /// `/openapi/v3/PLACE`, such as `apis/apps/v1`.
    pub(crate) fn document(&self, place: &str) -> Option<&Document> {
        self.made().documents.get(place).map(|both| &both.json)
    }

    /// The same as a protobuf message, under the same hash.
    pub(crate) fn document_protobuf(&self, place: &str) -> Option<&Document> {
        const TYPE: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
        let both = self.made().documents.get(place)?;
        Some(both.protobuf.get_or_init(|| {
            let document = serde_json::from_slice(&both.json.bytes).unwrap_or_default();
            let mut message = Document::from_bytes(protobuf::openapi::v3(&document).into(), TYPE);
            message.etag = both.json.etag.clone();
            message
        }))
    }

    /// `/openapi/v2`: everything in one document.
    pub(crate) fn v2(&self) -> &Document {
        &self.made().v2
    }

    /// The same as a protobuf message.
    pub(crate) fn v2_protobuf(&self) -> &Document {
        const TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        let made = self.made();
        made.v2_protobuf.get_or_init(|| {
            let document = serde_json::from_slice(&made.v2.bytes).unwrap_or_default();
            Document::from_bytes(protobuf::openapi::v2(&document).into(), TYPE)
        })
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(|| make(&self.served))
    }
}

/// A row under its own version, or another one.
struct Entry<'s> {
    row: &'static Resource,
    version: (&'static str, &'static str),
    custom: Option<&'s Custom>,
}

fn make(served: &[Served]) -> Made {
    static BUILTIN: OnceLock<Builtin> = OnceLock::new();
    let builtin = BUILTIN.get_or_init(|| {
        let (documents, v2) = documents(served.iter().filter(|one| one.custom.is_none()));
        Builtin { documents, v2 }
    });
    let (mut documents, custom) = documents(served.iter().filter(|one| one.custom.is_some()));
    let mut v2 = builtin.v2.clone();
    v2.merge(custom);
    for (place, document) in &builtin.documents {
        documents.entry(place.clone()).or_insert_with(|| Arc::clone(document));
    }
    let index: Map<String, Value> = documents
        .iter()
        .map(|(place, document)| {
            let etag = document.json.etag.to_str().unwrap_or_default().trim_matches('"');
            let url = format!("/openapi/v3/{place}?hash={etag}");
            (place.clone(), json!({"serverRelativeURL": url}))
        })
        .collect();
    let v2 = Document::new(&v2.finish(VERSION), "application/json");
    Made { index: json!({"paths": index}), documents, v2, v2_protobuf: OnceLock::new() }
}

/// A document for each group and version, and all of them for v2.
fn documents<'s>(
    served: impl Iterator<Item = &'s Served>,
) -> (BTreeMap<String, Arc<Both>>, openapi_v2::Builder) {
    let mut places: BTreeMap<String, Vec<Entry<'_>>> = BTreeMap::new();
    for one in served {
        let version = (one.group, one.version);
        let entry = Entry { row: one.row, version, custom: one.custom.as_ref() };
        places.entry(base(version)).or_default().push(entry);
    }
    let mut v2 = openapi_v2::Builder::default();
    let documents = places.into_iter().map(|(place, entries)| {
        let document = document(&entries);
        v2.add(&document);
        let json = Document::new(&document, "application/json");
        (place, Arc::new(Both { json, protobuf: OnceLock::new() }))
    });
    (documents.collect(), v2)
}

fn base((group, version): (&str, &str)) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn document(entries: &[Entry<'_>]) -> Value {
    let mut paths = Map::new();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut old = Vec::new();
    for entry in entries {
        let row = entry.row;
        add_paths(entry, &mut paths);
        if entry.custom.is_some() {
            wanted.insert(format!("{META}ListMeta"));
            wanted.insert(format!("{META}ObjectMeta"));
            wanted.extend(row.subresources.iter().filter_map(|part| {
                let (group, version, kind) = part.kind;
                name_of(group, version, kind)
            }));
            continue;
        }
        let own = name_of(entry.version.0, entry.version.1, row.kind);
        if own.is_none() {
            old.extend(name_of(row.group, row.version, row.kind).map(|name| (name, entry)));
        }
        if let Some(name) = entry.schema() {
            wanted.insert(format!("{name}List"));
            wanted.insert(name);
        }
        for part in row.subresources {
            let (group, version, kind) = part.kind;
            if part.kind != (row.group, row.version, row.kind) {
                wanted.extend(name_of(group, version, kind));
            }
        }
    }
    wanted.insert(format!("{META}DeleteOptions"));
    wanted.insert(format!("{META}Status"));
    let mut schemas = components(wanted);
    for entry in entries {
        if let Some(custom) = entry.custom {
            add_custom(entry, custom, &mut schemas);
        }
    }
    for entry in entries {
        let list = entry.schema().and_then(|name| schemas.get_mut(&format!("{name}List")));
        if let Some(items) = list.and_then(|list| list.pointer_mut("/properties/items")) {
            items["description"] = format!("List of {}", entry.row.plural).into();
        }
    }
    // Clients look for the schema of an old version by its name.
    for (name, Entry { row, version: (group, version), .. }) in old {
        let kinds = schemas
            .get_mut(&name)
            .and_then(|s| s["x-kubernetes-group-version-kind"].as_array_mut());
        if let Some(kinds) = kinds {
            kinds.push(json!({"group": group, "version": version, "kind": row.kind}));
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas, "parameters": query_parameters()},
    })
}

fn query_parameters() -> Map<String, Value> {
    let all = PARAMETERS.iter().map(|&(name, kind, description)| {
        let mut parameter = query_parameter(name, kind);
        parameter["description"] = description.into();
        (name.to_owned(), parameter)
    });
    all.collect()
}

/// A custom kind and its list.
fn add_custom(entry: &Entry<'_>, custom: &Custom, schemas: &mut Map<String, Value>) {
    let Entry { row, version: (group, version), .. } = entry;
    let name = &custom.definition;
    let kinds = |kind: &str| json!([{"group": group, "version": version, "kind": kind}]);
    let mut schema = Value::clone(&custom.schema);
    if let Value::Object(map) = &mut schema {
        map.insert("x-kubernetes-group-version-kind".into(), kinds(row.kind));
    }
    schemas.insert(name.clone(), schema);
    let text = json!({"type": "string"});
    let list = json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text,
            "kind": text,
            "metadata": {"allOf": [{"$ref": format!("{REF}{META}ListMeta")}]},
            "items": {"type": "array", "items": {"allOf": [{"$ref": format!("{REF}{name}")}]}},
        },
        "x-kubernetes-group-version-kind": kinds(&format!("{}List", row.kind)),
    });
    schemas.insert(format!("{name}List"), list);
}

impl Entry<'_> {
    /// The name of the schema of its version; that of the row for removed versions, of which none
    /// is known.
    fn schema(&self) -> Option<String> {
        let Self { row, version: (group, version), custom } = self;
        if let Some(custom) = custom {
            return Some(custom.definition.clone());
        }
        name_of(group, version, row.kind).or_else(|| name_of(row.group, row.version, row.kind))
    }
}

fn name_of(group: &str, version: &str, kind: &str) -> Option<String> {
    schema::of(group, version, kind)?.name().map(str::to_owned)
}

// === Paths ===

fn add_paths(entry: &Entry<'_>, paths: &mut Map<String, Value>) {
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
    let of = |verbs: &[Verb]| {
        let operations = verbs.iter().filter(|verb| has(verb));
        operations
            .map(|verb| operation(*verb, kind, schema.as_deref(), strategic))
            .collect::<Map<_, _>>()
    };
    let mut whole = of(&[Verb::List, Verb::Create, Verb::DeleteCollection]);
    let item = format!("{collection}/{{name}}");
    let mut one = of(&[Verb::Get, Verb::Update, Verb::Patch, Verb::Delete]);
    let mut parameters = Vec::new();
    if row.namespaced() {
        parameters.push(path_parameter("namespace"));
        if has(&Verb::List) {
            let all = of(&[Verb::List]);
            paths.insert(format!("{root}/{}", row.plural), Value::Object(all));
        }
    }
    whole.insert("parameters".into(), json!(parameters));
    parameters.push(path_parameter("name"));
    one.insert("parameters".into(), json!(parameters));
    paths.insert(collection, Value::Object(whole));
    for part in row.subresources {
        let itself = part.kind == (row.group, row.version, row.kind);
        let own = || name_of(part.kind.0, part.kind.1, part.kind.2);
        let schema = if itself { entry.schema() } else { own() };
        let operation = |verb: &Verb| operation(*verb, part.kind, schema.as_deref(), strategic);
        let mut operations: Map<_, _> = part.verbs.iter().map(operation).collect();
        operations.insert("parameters".into(), json!(parameters));
        paths.insert(format!("{item}/{}", part.name), Value::Object(operations));
    }
    paths.insert(item, Value::Object(one));
}

fn path_parameter(name: &str) -> Value {
    let schema = json!({"type": "string", "uniqueItems": true});
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn query_parameter(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn operation(
    verb: Verb,
    (group, version, kind): (&str, &str, &str),
    name: Option<&str>,
    strategic: bool,
) -> (String, Value) {
    let (method, action) = match verb {
        Verb::Get => ("get", "get"),
        Verb::List | Verb::Watch => ("get", "list"),
        Verb::Create => ("post", "post"),
        Verb::Update => ("put", "put"),
        Verb::Patch => ("patch", "patch"),
        Verb::Delete => ("delete", "delete"),
        Verb::DeleteCollection => ("delete", "deletecollection"),
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

// === Schemas ===

/// The definitions and all that they refer to.
fn components(wanted: BTreeSet<String>) -> Map<String, Value> {
    let mut kinds: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (group, version, kind, schema) in schema::table().kinds() {
        if let Some(name) = schema.name() {
            let entry = json!({"group": group, "version": version, "kind": kind});
            kinds.entry(name).or_default().push(entry);
        }
    }
    let mut all = Map::new();
    let mut todo: Vec<String> = wanted.into_iter().collect();
    while let Some(name) = todo.pop() {
        if all.contains_key(&name) {
            continue;
        }
        let Some(schema) = schema::table().definition(&name) else { continue };
        let mut body = inline(schema, &mut todo);
        if let Some(kinds) = kinds.get(name.as_str()) {
            body["x-kubernetes-group-version-kind"] = json!(kinds);
        }
        all.insert(name, body);
    }
    all
}

/// A reference where the schema has a name, else what it is.
fn reference(schema: Schema<'_>, todo: &mut Vec<String>) -> Value {
    match schema.name() {
        Some(name) => {
            todo.push(name.to_owned());
            json!({"allOf": [{"$ref": format!("{REF}{name}")}]})
        }
        None => inline(schema, todo),
    }
}

fn inline(schema: Schema<'_>, todo: &mut Vec<String>) -> Value {
    match schema.shape() {
        Shape::Any => json!({}),
        Shape::String => json!({"type": "string"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Int32 => json!({"type": "integer", "format": "int32"}),
        Shape::Int64 => json!({"type": "integer", "format": "int64"}),
        Shape::Double => json!({"type": "number", "format": "double"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::IntOrString => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::Map(map) => {
            let mut value = json!({
                "type": "object",
                "additionalProperties": reference(schema.at(map.value), todo),
            });
            if map.atomic {
                value["x-kubernetes-map-type"] = "atomic".into();
            }
            value
        }
        Shape::List(list) => {
            let mut value =
                json!({"type": "array", "items": reference(schema.at(list.item), todo)});
            value["x-kubernetes-list-type"] = match list.kind {
                ListKind::Atomic => "atomic",
                ListKind::Set => "set",
                ListKind::Map => "map",
            }
            .into();
            if !list.keys.is_empty() {
                value["x-kubernetes-list-map-keys"] =
                    list.keys.iter().map(|key| key.to_string()).collect();
            }
            if let Some(key) = &list.merge_key {
                value["x-kubernetes-patch-merge-key"] = key.to_string().into();
            }
            value
        }
        Shape::Object(object) => {
            let properties: Map<String, Value> = object
                .fields
                .iter()
                .map(|field| (field.name.to_string(), property(schema, field, todo)))
                .collect();
            let required = object.fields.iter().filter(|field| field.required);
            let required: Vec<String> = required.map(|field| field.name.to_string()).collect();
            let mut value = json!({"type": "object"});
            if !properties.is_empty() {
                value["properties"] = Value::Object(properties);
            }
            if !required.is_empty() {
                value["required"] = json!(required);
            }
            if object.atomic {
                value["x-kubernetes-map-type"] = "atomic".into();
            }
            value
        }
    }
}

fn property(schema: Schema<'_>, field: &Field, todo: &mut Vec<String>) -> Value {
    let mut value = reference(schema.at(field.schema), todo);
    let strategies: Vec<&str> = [
        (field.patch.merge, "merge"),
        (field.patch.retain_keys, "retainKeys"),
        (field.patch.replace, "replace"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    if !strategies.is_empty() {
        value["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    value
}
