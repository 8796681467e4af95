//! The owners of a new object as the text that is stored. Most objects are made by one manager, and
//! nobody looks at the list before it is written: then no value is made for each field.

use onggi_api::json;
use serde_json::Value;

use super::entries::Operation;
use super::fields::{is_empty, item_element};
use super::types::{Class, Type};
use super::update::{UNOWNED, UNOWNED_METADATA, Writer};

/// Where a map stands; what it holds there belongs to nobody in part.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// It is the object; these fields are not the writer's.
    Object(&'a [&'a str]),
    Metadata,
    Deeper,
}

impl Writer<'_> {
    /// `metadata.managedFields` after the creation of an object with which no entries came, as
    /// [`Self::created`] has it: JSON. `None`: it owns nothing, or the values are needed to tell.
    pub fn created_text(&self, object: &Value) -> Option<Vec<u8>> {
        let Value::Object(_) = object else { return None };
        let reset: Option<Vec<&str>> =
            self.reset.paths().into_iter().map(|path| path_of_field(&path)).collect();
        let reset = reset?;
        let id = self.id(Operation::Update);
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"[{\"apiVersion\":");
        json::write_text(&mut out, self.api_version);
        out.extend_from_slice(b",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{");
        let start = out.len();
        let class = self.ty.class(object);
        below(&mut out, self.ty, class, object, true, Place::Object(&reset));
        if out.len() == start {
            return None;
        }
        out.extend_from_slice(b"},\"manager\":");
        json::write_text(&mut out, &id.manager);
        out.extend_from_slice(b",\"operation\":\"Update\"");
        if !id.subresource.is_empty() {
            out.extend_from_slice(b",\"subresource\":");
            json::write_text(&mut out, &id.subresource);
        }
        out.extend_from_slice(b",\"time\":");
        json::write_text(&mut out, self.now);
        out.extend_from_slice(b"}]");
        Some(out)
    }
}

/// The name of a field of the object; `None` for what lies deeper.
fn path_of_field<'p>(path: &[&'p str]) -> Option<&'p str> {
    match path {
        [field] => field.strip_prefix("f:"),
        _ => None,
    }
}

impl Place<'_> {
    fn is_unowned(self, key: &str) -> bool {
        match self {
            Self::Object(reset) => UNOWNED.contains(&key) || reset.contains(&key),
            Self::Metadata => UNOWNED_METADATA.contains(&key),
            Self::Deeper => false,
        }
    }

    fn below(self, key: &str) -> Self {
        match self {
            Self::Object(_) if key == "metadata" => Self::Metadata,
            _ => Self::Deeper,
        }
    }
}

/// The node of a value where there was none, as [`super::fields::of_new`] has it; nothing where that
/// is none.
fn node(out: &mut Vec<u8>, ty: Type<'_>, value: &Value, there: bool, place: Place<'_>) {
    let is_empty = is_empty(value);
    let class = if is_empty { Class::Leaf } else { ty.class(value) };
    let member = match (place, class) {
        (Place::Metadata, _) => false,
        (_, Class::Leaf) => !(there && is_empty),
        _ => !there,
    };
    let start = out.len();
    out.extend_from_slice(if member { b"{\".\":{}" } else { b"{" });
    let open = out.len();
    if class != Class::Leaf {
        below(out, ty, class, value, there, place);
    }
    if out.len() > open {
        out.push(b'}');
        return;
    }
    out.truncate(start);
    if member {
        out.extend_from_slice(b"{}");
    }
}

fn below(
    out: &mut Vec<u8>,
    ty: Type<'_>,
    class: Class<'_>,
    value: &Value,
    there: bool,
    place: Place<'_>,
) {
    match (class, value) {
        (Class::Map, Value::Object(map)) => {
            for (key, value) in map {
                if place.is_unowned(key) {
                    continue;
                }
                let child = ty.child(key);
                if there && child.is_zero(value) {
                    continue;
                }
                let before = begin(out);
                out.extend_from_slice(b"\"f:");
                json::write_inside(out, key);
                out.extend_from_slice(b"\":");
                let there = there && child.is_always();
                end(out, before, |out| node(out, child.ty, value, there, place.below(key)));
            }
        }
        (Class::List(_) | Class::Set, Value::Array(items)) => {
            let element = |item| Some((item_element(ty, item).ok()?, item));
            let mut items: Vec<(String, &Value)> = items.iter().filter_map(element).collect();
            items.sort_by(|a, b| a.0.cmp(&b.0));
            for same in items.chunk_by(|a, b| a.0 == b.0) {
                let [(element, item), others @ ..] = same else { continue };
                let before = begin(out);
                json::write_text(out, element);
                out.push(b':');
                end(out, before, |out| match others {
                    [] => node(out, ty.item(), item, false, Place::Deeper),
                    // Items that are the same are owned together.
                    _ => out.extend_from_slice(b"{}"),
                });
            }
        }
        _ => {}
    }
}

/// The comma before the next element; where it stands.
fn begin(out: &mut Vec<u8>) -> usize {
    let before = out.len();
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    before
}

/// Writes the node of an element; takes the element back where there is none.
fn end(out: &mut Vec<u8>, before: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let name = out.len();
    write(out);
    if out.len() == name {
        out.truncate(before);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::entries::Sent;
    use super::super::set::FieldSet;
    use super::super::types::Structural;
    use super::*;

    #[track_caller]
    fn same(ty: Type<'_>, reset: &FieldSet, object: &Value) {
        let writer = Writer {
            manager: "kube\"ctl",
            api_version: "v1",
            subresource: "",
            now: "2026-01-02T03:04:05Z",
            ty,
            reset,
            versions: &|_: &str| true,
        };
        let text = writer.created_text(object);
        let list = writer.created(object, Sent::Nothing).write();
        assert_eq!(
            text.map(|text| String::from_utf8(text).unwrap()),
            list.map(|list| list.to_string()),
            "{object}"
        );
    }

    #[test]
    fn is_what_the_values_are_written_as() {
        let status = FieldSet::of(&[&["f:status"]]);
        let none = FieldSet::default();
        let metadata = json!({
            "name": "a", "namespace": "n", "uid": "u", "generation": 1, "labels": {"a\"/b": "c"},
            "annotations": {}, "creationTimestamp": null, "finalizers": ["z", "a", "z"],
            "ownerReferences": [{"uid": "2", "name": "x"}, {"uid": "1", "name": "y"}],
        });
        let spec = json!({
            "containers": [
                {"name": "b", "image": "i", "resources": {}, "env": [], "ports": [
                    {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 7},
                    {"containerPort": 80, "protocol": "TCP", "name": "twice"},
                ]},
                {"name": "a", "resources": {"limits": {"cpu": "1"}}, "command": ["x"]},
                {"image": "nameless"}, 7,
            ],
            "securityContext": {}, "nodeSelector": {"z": "", "b": ""}, "volumes": [],
            "tolerations": [{"key": "k"}], "affinity": {"nodeAffinity": {}},
        });
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec,
            "status": {"phase": "Pending", "conditions": [{"type": "Ready"}]}, "odd": [1, {}],
        });
        let root = Structural::of_object(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "containers": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object"}},
                "affinity": {"type": "object", "x-kubernetes-map-type": "atomic"},
            }},
        }}));
        let pod = Type::of("", "v1", "Pod");
        for ty in [pod, Type::Deduced, Type::Whole, Type::Custom(&root)] {
            for reset in [&none, &status] {
                same(ty, reset, &object);
                same(ty, reset, &json!({"apiVersion": "v1", "kind": "Pod"}));
                same(ty, reset, &json!({"kind": "Pod", "metadata": {}, "spec": {}}));
                same(ty, reset, &json!({"metadata": {"name": "x"}, "status": {"phase": "x"}}));
                same(ty, reset, &json!({"metadata": null, "spec": {"containers": null}}));
            }
        }
        let deeper = FieldSet::of(&[&["f:spec", "f:replicas"]]);
        let writer = Writer {
            manager: "",
            api_version: "v1",
            subresource: "",
            now: "",
            ty: pod,
            reset: &deeper,
            versions: &|_: &str| true,
        };
        assert_eq!(writer.created_text(&object), None);
    }

    #[test]
    fn of_every_kind() {
        for (group, version, kind, _) in onggi_api::schema::table().kinds() {
            let field = |name: &str| (name.to_owned(), json!({"a": [{"name": "b"}], "c": {}}));
            let mut object: serde_json::Map<String, Value> =
                ["spec", "status", "data", "metadata", "subsets"].map(field).into_iter().collect();
            object.insert("rules".to_owned(), json!([{"verbs": ["get"]}]));
            let ty = Type::of(group, version, kind);
            same(ty, &FieldSet::default(), &Value::Object(object));
        }
    }
}
