//! The schemas of every kind of Kubernetes v1.36: names, types, list keys, merge keys and protobuf
//! field numbers. One table serves the strict check of fields, patches, server-side apply, protobuf
//! and the OpenAPI documents. What they mean in words stands apart ([`prose()`]), and so does what there
//! is to choose from ([`facts()`]).
//!
//! `schema.bin`, `prose.bin` and `facts.bin` are written by `cargo xtask schemas` from the published
//! definitions (as the PyPI package `kubernetes-validate` carries them) and the `generated.proto` files
//! and Go types of the same version; all come from the Kubernetes project and are under the Apache License 2.0.

mod blob;
mod builder;
mod facts;
mod prose;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

pub use blob::BlobError;
pub use builder::Builder;
pub use facts::{Choice, Fact, Facts};
pub use prose::Prose;

/// The bytes that [`table`] is read from.
pub const BLOB: &[u8] = include_bytes!("schema.bin");

/// The bytes that [`prose()`] reads.
pub const PROSE: &[u8] = include_bytes!("prose.bin");

/// The table of the built-in kinds; read at first use (about 2 ms, half a megabyte).
#[allow(clippy::expect_used, reason = "the blob is part of the program and a test reads it")]
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::from_blob(BLOB).expect("the schemas that were built in are whole"))
}

/// What the definitions of [`table`] and their fields mean; unpacked anew each time (about 4 ms).
#[allow(clippy::expect_used, reason = "the blob is part of the program and a test reads it")]
pub fn prose() -> Prose {
    Prose::from_blob(table(), PROSE).expect("the texts that were built in are whole")
}

/// The bytes that [`facts()`] reads.
pub const FACTS: &[u8] = include_bytes!("facts.bin");

/// The values and defaults of the fields of [`table`]'s definitions; unpacked anew each time.
#[allow(clippy::expect_used, reason = "the blob is part of the program and a test reads it")]
pub fn facts() -> Facts {
    Facts::from_blob(FACTS).expect("the facts that were built in are whole")
}

/// The schema of a built-in kind.
pub fn of(group: &str, version: &str, kind: &str) -> Option<Schema<'static>> {
    table().kind(group, version, kind)
}

/// A name, shared by all fields that bear it.
pub type Name = Arc<str>;

/// The place of a schema in its [`Table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub(crate) u32);

/// Schemas that refer to one another.
#[derive(Debug, Default, PartialEq)]
pub struct Table {
    nodes: Vec<Shape>,
    definitions: BTreeMap<Name, SchemaId>,
    /// Names of the definitions by place; few places are definitions.
    names: BTreeMap<SchemaId, Name>,
    /// Sorted by group, version, kind.
    kinds: Vec<Kind>,
    /// By place: the beginnings ([`first`]) of the names of its fields, in their order. They tell
    /// nearly all names apart, and lie side by side.
    firsts: Vec<Box<[u64]>>,
    /// By place: which of its fields are always written.
    written: Vec<Box<[u16]>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    group: Name,
    version: Name,
    kind: Name,
    id: SchemaId,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Anything: `RawExtension`, `FieldsV1`, JSON. In protobuf a message with the JSON bytes in
    /// field 1.
    Any,
    /// An object with known fields.
    Object(Object),
    /// A map with free keys.
    Map(Map),
    /// A list.
    List(List),
    /// A text.
    String,
    /// A text in base64 (RFC 4648 with padding).
    Bytes,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number of 64 bits with a fraction.
    Double,
    /// `true` or `false`.
    Bool,
    /// A port or count that may be a text (`intstr.IntOrString`).
    IntOrString,
    /// `resource.Quantity`: text or number in JSON.
    Quantity,
    /// `metav1.Time`: RFC 3339, whole seconds.
    Time,
    /// `metav1.MicroTime`: RFC 3339, microseconds.
    MicroTime,
}

/// Known fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    /// By name.
    pub fields: Vec<Field>,
    /// Messages that protobuf has and JSON has not: their fields stand among `fields`, without a
    /// number there, and again in the object named here.
    pub inline: Vec<(u32, SchemaId)>,
    /// `x-kubernetes-map-type: atomic`: server-side apply owns it as a whole.
    pub atomic: bool,
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// As in JSON.
    pub name: Name,
    /// What it holds.
    pub schema: SchemaId,
    /// The protobuf field number; 0 where it has none.
    pub tag: u32,
    /// Whether it must be there.
    pub required: bool,
    /// How a strategic merge patch treats it.
    pub patch: PatchStrategy,
    /// What is written of it that holds nothing.
    pub empty: Empty,
}

/// What Go writes of a field that holds nothing; the published definitions do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Empty {
    /// It is left out where it is not set; a zero that is set counts (`*int32` with `omitempty`).
    #[default]
    Counts,
    /// A zero is nothing, and is left out (`int32` with `omitempty`).
    LeftOut,
    /// The zero (`int32`, and every struct).
    Zero,
    /// `null` (`[]string`, `*int32`, a time).
    Null,
}

/// `x-kubernetes-patch-strategy` of a field (`patchStrategy` in Go's tags).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatchStrategy {
    /// Lists are merged: by key where the list has a merge key, as sets where it has none.
    pub merge: bool,
    /// A patch may carry `$retainKeys`.
    pub retain_keys: bool,
    /// The patch's value takes the place of the old one.
    pub replace: bool,
}

/// A map with free keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// What its values are.
    pub value: SchemaId,
    /// Owned as a whole by server-side apply.
    pub atomic: bool,
}

/// A list.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    /// What its items are.
    pub item: SchemaId,
    /// `x-kubernetes-list-type`.
    pub kind: ListKind,
    /// `x-kubernetes-list-map-keys`.
    pub keys: Vec<Name>,
    /// `x-kubernetes-patch-merge-key`.
    pub merge_key: Option<Name>,
    /// Protobuf holds the list in field 1 of a message (`Verbs`, `ExtraValue`).
    pub wrapped: bool,
}

/// How server-side apply merges a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListKind {
    /// As a whole.
    #[default]
    Atomic,
    /// As a set of scalars.
    Set,
    /// By the keys.
    Map,
}

/// A shape and the table that its parts are in. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Schema<'t> {
    table: &'t Table,
    id: SchemaId,
}

// === impl Table ===

impl Table {
    /// From the bytes that [`Table::to_blob`] wrote.
    pub fn from_blob(bytes: &[u8]) -> Result<Self, BlobError> {
        blob::read(bytes)
    }

    /// The condensed form, compressed.
    pub fn to_blob(&self) -> Result<Vec<u8>, BlobError> {
        blob::write(self)
    }

    /// The schema of a kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<Schema<'_>> {
        let at = self
            .kinds
            .binary_search_by(|k| (&*k.group, &*k.version, &*k.kind).cmp(&(group, version, kind)));
        at.ok().map(|at| Schema { table: self, id: self.kinds[at].id })
    }

    /// Every group, version, kind and its schema. One schema may serve several (`DeleteOptions`).
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &str, &str, Schema<'_>)> {
        self.kinds
            .iter()
            .map(|k| (&*k.group, &*k.version, &*k.kind, Schema { table: self, id: k.id }))
    }

    /// A definition by its name in the OpenAPI documents: `io.k8s.api.core.v1.PodSpec`.
    pub fn definition(&self, name: &str) -> Option<Schema<'_>> {
        self.definitions.get(name).map(|id| Schema { table: self, id: *id })
    }

    /// Every definition, by name.
    pub fn definitions(&self) -> impl Iterator<Item = (&str, Schema<'_>)> {
        self.definitions.iter().map(|(name, id)| (&**name, Schema { table: self, id: *id }))
    }

    /// How many schemas there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Sorts the kinds, and makes fields quick to find: the last step of whoever makes a table.
    fn indexed(mut self) -> Self {
        self.kinds.sort();
        let firsts = |shape: &Shape| match shape {
            Shape::Object(object) => object.fields.iter().map(|field| first(&field.name)).collect(),
            _ => Box::default(),
        };
        self.firsts = self.nodes.iter().map(firsts).collect();
        let is_written = |field: &Field| matches!(field.empty, Empty::Zero | Empty::Null);
        let written = |shape: &Shape| match shape {
            Shape::Object(object) => (0..)
                .zip(&object.fields)
                .filter_map(|(place, field)| is_written(field).then_some(place))
                .collect(),
            _ => Box::default(),
        };
        self.written = self.nodes.iter().map(written).collect();
        self
    }

    /// The same table, which knows of the fields of its definitions what is written of them when
    /// they hold nothing.
    pub fn with_empties(self, of: impl Fn(&str, &Field, Schema<'_>) -> Empty) -> Self {
        let mut nodes = self.nodes.clone();
        for (id, name) in &self.names {
            if let Some(Shape::Object(object)) = nodes.get_mut(id.0 as usize) {
                for field in &mut object.fields {
                    let schema = Schema { table: &self, id: field.schema };
                    field.empty = of(name, field, schema);
                }
            }
        }
        Self { nodes, ..self }.indexed()
    }

    /// Whether every reference leads somewhere; then [`Schema`]'s methods cannot fail.
    fn is_whole(&self) -> bool {
        let end = self.nodes.len() as u64;
        let inside = |id: SchemaId| u64::from(id.0) < end;
        self.kinds.iter().all(|k| inside(k.id))
            && self.definitions.values().all(|id| inside(*id))
            && self.nodes.iter().all(|shape| match shape {
                Shape::Object(o) => {
                    o.fields.iter().all(|f| inside(f.schema))
                        && o.inline.iter().all(|(_, id)| inside(*id))
                        && o.fields.is_sorted_by(|a, b| a.name < b.name)
                }
                Shape::Map(m) => inside(m.value),
                Shape::List(l) => inside(l.item),
                _ => true,
            })
    }

    fn shared(names: &mut HashSet<Name>, text: &str) -> Name {
        if let Some(name) = names.get(text) {
            return Arc::clone(name);
        }
        let name: Name = text.into();
        names.insert(Arc::clone(&name));
        name
    }
}

/// The first eight bytes of a name, so that they are in the order of the names.
fn first(name: &str) -> u64 {
    let name = name.as_bytes();
    match name.first_chunk::<8>() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let bytes = name.iter().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte));
            // Nothing at all is first of all.
            bytes.checked_shl(8 * (8 - name.len() as u32)).unwrap_or(0)
        }
    }
}

// === impl Schema ===

impl<'t> Schema<'t> {
    /// What a value may be.
    pub fn shape(self) -> &'t Shape {
        static ANY: Shape = Shape::Any;
        self.table.nodes.get(self.id.0 as usize).unwrap_or(&ANY)
    }

    /// Its fields that are always written.
    pub fn written(self) -> impl Iterator<Item = &'t Field> {
        let places = self.table.written.get(self.id.0 as usize).map_or(&[][..], |places| places);
        let fields = self.fields();
        places.iter().filter_map(|place| fields.get(usize::from(*place)))
    }

    /// Its place, to compare with others of the same table.
    pub fn id(self) -> SchemaId {
        self.id
    }

    /// The schema at a place of the same table.
    pub fn at(self, id: SchemaId) -> Self {
        Self { table: self.table, id }
    }

    /// `io.k8s.api.core.v1.PodSpec`, where it is a definition.
    pub fn name(self) -> Option<&'t str> {
        self.table.names.get(&self.id).map(|name| &**name)
    }

    /// The known fields, where it is an object.
    pub fn fields(self) -> &'t [Field] {
        match self.shape() {
            Shape::Object(object) => &object.fields,
            _ => &[],
        }
    }

    /// A known field.
    pub fn field(self, name: &str) -> Option<&'t Field> {
        let firsts = self.table.firsts.get(self.id.0 as usize)?;
        let wanted = first(name);
        let from = firsts.partition_point(|first| *first < wanted);
        let same = firsts[from..].iter().take_while(|first| **first == wanted).count();
        self.fields().get(from..from + same)?.iter().find(|field| &*field.name == name)
    }

    /// The schema behind a key: a field's, or that of a map's values.
    pub fn child(self, key: &str) -> Option<Self> {
        match self.shape() {
            Shape::Map(map) => Some(self.at(map.value)),
            _ => self.field(key).map(|field| self.at(field.schema)),
        }
    }

    /// The list that it is.
    pub fn list(self) -> Option<&'t List> {
        match self.shape() {
            Shape::List(list) => Some(list),
            _ => None,
        }
    }

    /// The schema of a list's items.
    pub fn item(self) -> Option<Self> {
        self.list().map(|list| self.at(list.item))
    }

    /// The schema at a dotted path; `[]` goes into lists: `spec.containers[].ports`.
    pub fn path(self, path: &str) -> Option<Self> {
        path.split('.').try_fold(self, |schema, part| match part.strip_suffix("[]") {
            Some(name) => schema.child(name)?.item(),
            None => schema.child(part),
        })
    }
}

impl std::fmt::Debug for Schema<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:?}", self.shape()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blob_is_canonical() {
        let table = Table::from_blob(BLOB).unwrap();
        let again = Table::from_blob(&table.to_blob().unwrap()).unwrap();
        assert_eq!(table.nodes, again.nodes);
        assert_eq!(table.kinds, again.kinds);
        assert_eq!(table.definitions, again.definitions);
        assert!(Table::from_blob(&BLOB[..BLOB.len() / 2]).is_err());
        assert!(Table::from_blob(b"not a table").is_err());
    }

    #[test]
    fn knows_what_patches_and_apply_need() {
        let pod = of("", "v1", "Pod").unwrap();
        assert_eq!(pod.name(), Some("io.k8s.api.core.v1.Pod"));
        let ports = pod.path("spec.containers[].ports").unwrap();
        let list = ports.list().unwrap();
        assert_eq!(list.kind, ListKind::Map);
        assert_eq!(list.keys, ["containerPort".into(), "protocol".into()] as [Name; 2]);
        assert_eq!(list.merge_key.as_deref(), Some("containerPort"));
        assert!(
            of("apps", "v1", "Deployment")
                .and_then(|d| d.path("spec"))
                .and_then(|s| s.field("strategy"))
                .is_some_and(|f| f.patch.retain_keys)
        );
        let finalizers = pod.path("metadata").unwrap().field("finalizers").unwrap();
        assert!(finalizers.patch.merge);
        assert_eq!(of("", "v1", "Secret").unwrap().path("data.x").unwrap().shape(), &Shape::Bytes);
        assert_eq!(pod.path("metadata.creationTimestamp").unwrap().shape(), &Shape::Time);
        assert!(matches!(
            pod.path("spec.containers[].resources.limits.cpu").unwrap().shape(),
            Shape::Quantity
        ));
        assert!(of("apps", "v1", "DeleteOptions").is_some());
        assert!(of("apps", "v1", "Nothing").is_none());
    }

    #[test]
    fn knows_the_numbers_of_protobuf() {
        let config_map = of("", "v1", "ConfigMap").unwrap();
        let tag = |name| config_map.field(name).unwrap().tag;
        assert_eq!(
            (tag("metadata"), tag("data"), tag("binaryData"), tag("immutable")),
            (1, 2, 3, 4)
        );
        let volume = table().definition("io.k8s.api.core.v1.Volume").unwrap();
        let Shape::Object(object) = volume.shape() else { panic!("a volume is an object") };
        let (tag, source) = object.inline[0];
        assert_eq!(tag, 2);
        assert!(volume.at(source).field("emptyDir").is_some_and(|field| field.tag == 2));
    }
}
