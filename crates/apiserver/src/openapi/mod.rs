//! OpenAPI v3, a document for each group and version, and v2; made from what is served, the schemas
//! and their prose when first asked for, and kept compressed.

mod paths;
mod schemas;
mod v2;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use onggi_api::schema::{self, Prose};
use onggi_machinery::protobuf;
use onggi_machinery::resource::Resource;
use serde_json::{Map, Value, json};

use crate::VERSION;
use crate::discovery::JSON;
use crate::document::Document;
use crate::served::{Custom, Served};
use schemas::Said;

const REF: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const CONVENTIONS: &str =
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";

/// See the module.
pub(crate) struct OpenApi {
    served: Arc<[Served]>,
    made: OnceLock<Made>,
    v2: OnceLock<Document>,
    v2_protobuf: OnceLock<Document>,
}

struct Made {
    index: Value,
    documents: BTreeMap<String, Arc<Both>>,
}

/// A document of v3, and what few clients ask for.
struct Both {
    json: Document,
    protobuf: OnceLock<Document>,
}

impl OpenApi {
    pub(crate) fn new(served: Arc<[Served]>) -> Self {
        let (made, v2, v2_protobuf) = Default::default();
        Self { served, made, v2, v2_protobuf }
    }

    /// Whether the documents of v3 are made: it takes a while.
    pub(crate) fn has_v3(&self) -> bool {
        self.made.get().is_some()
    }

    /// Whether this form of v2 is made.
    pub(crate) fn has_v2(&self, protobuf: bool) -> bool {
        if protobuf { &self.v2_protobuf } else { &self.v2 }.get().is_some()
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
            let document = serde_json::from_slice(&both.json.bytes()).unwrap_or_default();
            let bytes = protobuf::openapi::v3(&document).into();
            let mut message = Document::compact_bytes(bytes, TYPE);
            message.etag = both.json.etag.clone();
            message
        }))
    }

    /// `/openapi/v2`: everything in one document, as JSON or as a protobuf message.
    pub(crate) fn v2(&self, protobuf: bool) -> &Document {
        if protobuf { self.v2_protobuf() } else { self.v2_json() }
    }

    fn v2_json(&self) -> &Document {
        self.v2.get_or_init(|| {
            // No custom kind can be in these groups: made once, whatever comes and goes.
            static BUILTIN: OnceLock<v2::Packed> = OnceLock::new();
            let builtin = BUILTIN.get_or_init(|| {
                let mut whole = v2::Builder::default();
                each_document(&self.served, false, |_, document| whole.add(&document));
                whole.pack()
            });
            let mut custom = builtin.more();
            each_document(&self.served, true, |_, document| custom.add(&document));
            Document::compact_bytes(builtin.with(&custom, VERSION).into(), JSON)
        })
    }

    fn v2_protobuf(&self) -> &Document {
        const TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        self.v2_protobuf.get_or_init(|| {
            let document = serde_json::from_slice(&self.v2_json().bytes()).unwrap_or_default();
            Document::compact_bytes(protobuf::openapi::v2(&document).into(), TYPE)
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
    // No custom kind can be in these groups: made once, whatever comes and goes.
    static BUILTIN: OnceLock<BTreeMap<String, Arc<Both>>> = OnceLock::new();
    let builtin = BUILTIN.get_or_init(|| documents(served, false));
    let mut documents = documents(served, true);
    for (place, document) in builtin {
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
    Made { index: json!({"paths": index}), documents }
}

fn documents(served: &[Served], custom: bool) -> BTreeMap<String, Arc<Both>> {
    let mut documents = BTreeMap::new();
    each_document(served, custom, |place, document| {
        let both = Both { json: Document::compact(&document, JSON), protobuf: OnceLock::new() };
        documents.insert(place, Arc::new(both));
    });
    documents
}

/// Makes a document for each group and version of the custom kinds, or of the others; one at a
/// time, because they are large.
fn each_document(served: &[Served], custom: bool, mut take: impl FnMut(String, Value)) {
    let mut places: BTreeMap<String, Vec<Entry<'_>>> = BTreeMap::new();
    for one in served.iter().filter(|one| one.custom.is_some() == custom) {
        let version = (one.group, one.version);
        let entry = Entry { row: one.row, version, custom: one.custom.as_ref() };
        places.entry(base(version)).or_default().push(entry);
    }
    if places.is_empty() {
        return;
    }
    let said = Said::read();
    for (place, entries) in places {
        take(place, document(&entries, &said));
    }
}

fn base((group, version): (&str, &str)) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn document(entries: &[Entry<'_>], said: &Said) -> Value {
    let mut paths = Map::new();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut old = Vec::new();
    for entry in entries {
        let row = entry.row;
        paths::add(entry, &mut paths);
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
    let mut schemas = schemas::components(wanted, said);
    for entry in entries {
        if let Some(custom) = entry.custom {
            add_custom(entry, custom, &mut schemas, &said.prose);
        }
    }
    for entry in entries {
        let list = entry.schema().and_then(|name| schemas.get_mut(&format!("{name}List")));
        if let Some(items) = list.and_then(|list| list.pointer_mut("/properties/items")) {
            // Clients look for these words.
            if items["description"].is_null() {
                items["description"] = format!("List of {}", entry.row.plural).into();
            }
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
        "components": {"schemas": schemas, "parameters": paths::query_parameters()},
    })
}

/// A custom kind and its list, in the words of `apiextensions-apiserver`: what every object and
/// list has is said as for a built-in kind.
fn add_custom(entry: &Entry<'_>, custom: &Custom, schemas: &mut Map<String, Value>, prose: &Prose) {
    let Entry { row, version: (group, version), .. } = entry;
    let name = &custom.definition;
    let kinds = |kind: &str| json!([{"group": group, "version": version, "kind": kind}]);
    let mut schema = Value::clone(&custom.schema);
    if let Value::Object(map) = &mut schema {
        map.insert("x-kubernetes-group-version-kind".into(), kinds(row.kind));
    }
    describe_common(&mut schema, "Pod", prose);
    schemas.insert(name.clone(), schema);
    let list_kind = row.list_kind();
    let mut list = json!({
        "description": format!("{list_kind} is a list of {}", row.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": format!("{REF}{META}ListMeta")}]},
            "items": {
                "description": format!("List of {}. More info: {CONVENTIONS}", row.plural),
                "type": "array",
                "items": {"allOf": [{"$ref": format!("{REF}{name}")}]},
            },
        },
        "x-kubernetes-group-version-kind": kinds(&list_kind),
    });
    describe_common(&mut list, "PodList", prose);
    schemas.insert(format!("{name}List"), list);
}

/// Takes the words for what all have from a built-in kind.
fn describe_common(schema: &mut Value, like: &str, prose: &Prose) {
    let Some(like) = schema::of("", "v1", like) else { return };
    for name in ["apiVersion", "kind", "metadata"] {
        let said = like.field(name).and_then(|field| prose.of_field(like, field));
        if let (Some(said), Some(property)) = (said, schema["properties"].get_mut(name)) {
            property["description"] = said.into();
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::served::Catalog;

    #[test]
    fn documents_say_what_things_are() {
        let catalog = Catalog::new(Vec::new());
        let openapi = catalog.openapi();
        let document: Value =
            serde_json::from_slice(&openapi.document("apis/apps/v1").unwrap().bytes()).unwrap();
        let schemas = &document["components"]["schemas"];
        let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
        let enables = "Deployment enables declarative updates for Pods and ReplicaSets.";
        assert_eq!(deployment["description"], enables);
        assert_eq!(
            deployment["properties"]["spec"],
            json!({
                "allOf": [{"$ref": format!("{REF}io.k8s.api.apps.v1.DeploymentSpec")}],
                "description": "Specification of the desired behavior of the Deployment.",
                "default": {},
            })
        );
        let kind = &schemas["io.k8s.api.apps.v1.DeploymentStrategy"]["properties"]["type"];
        assert_eq!(kind["enum"], json!(["Recreate", "RollingUpdate"]));
        assert_eq!(kind["default"], Value::Null);
        let said = kind["description"].as_str().unwrap();
        let values = "\n\nPossible enum values:\n - `\"Recreate\"` Kill all existing pods before creating \
                      new ones.\n - `\"RollingUpdate\"` Replace";
        assert!(said.contains(values), "{said}");
        let command = &schemas["io.k8s.api.core.v1.Container"]["properties"]["command"];
        assert_eq!(command["items"], json!({"type": "string", "default": ""}));
        let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        assert_eq!(path["get"]["description"], "read the specified Deployment");
        let v2: Value = serde_json::from_slice(&openapi.v2(false).bytes()).unwrap();
        assert_eq!(v2["definitions"]["io.k8s.api.apps.v1.Deployment"]["description"], enables);
        let spec = &v2["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(spec["restartPolicy"]["enum"], json!(["Always", "Never", "OnFailure"]));
        assert_eq!(
            v2["definitions"]["io.k8s.api.core.v1.Container"]["properties"]["name"]["default"],
            Value::Null
        );
        let port = &v2["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
        assert_eq!((&port["type"], port["description"].is_string()), (&json!("string"), true));
    }
}
