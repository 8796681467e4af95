//! Sets that were written under another schema: who owned parts of what is a whole now owns the
//! whole. The other way round nothing need be done.

use serde_json::{Map, Value};

use super::element::SELF;
use super::entries::Managed;
use super::set::Nodes;
use super::types::Type;
use super::update::Writer;

impl Writer<'_> {
    /// Brings the entries into the form of the present schemas. Only those of custom kinds change.
    pub(super) fn reconcile(&self, managed: &mut Managed) {
        for entry in &mut managed.0 {
            let other = entry.api_version != self.api_version;
            let ty = other.then(|| self.versions.type_of(&entry.api_version)).flatten();
            let ty = ty.unwrap_or(self.ty);
            if matches!(ty, Type::Custom(_)) {
                wholes(ty, &mut entry.fields.0);
            }
        }
    }
}

fn wholes(ty: Type<'_>, nodes: &mut Nodes) {
    for (element, found) in nodes.iter_mut().filter(|(element, _)| *element != SELF) {
        let child = match element.strip_prefix("f:") {
            Some(name) => ty.child(name).ty,
            None => ty.item(),
        };
        let Value::Object(inner) = found else { continue };
        if inner.keys().all(|element| element == SELF) {
            continue;
        }
        if child.is_whole() {
            *found = Value::Object(Map::new());
        } else if matches!(child, Type::Custom(_)) {
            wholes(child, inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Entry, FieldSet, Operation, Structural};
    use super::*;

    #[test]
    fn parts_become_wholes() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
            "map": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {"id": {"type": "string"},
                    "in": {"type": "array", "items": {"type": "string"}}}}}}}}});
        let structural = Structural::of_object(&schema);
        let none = FieldSet::default();
        let writer = Writer {
            manager: "m",
            api_version: "e.com/v1",
            subresource: "",
            now: "2026-01-01T00:00:00Z",
            ty: Type::Custom(&structural),
            reset: &none,
            versions: &|_: &str| true,
        };
        let fields = FieldSet::read(&json!({"f:spec": {
            "f:list": {".": {}, "k:{\"id\":\"a\"}": {".": {}, "f:id": {}}},
            "f:map": {"f:k": {}},
            "f:open": {"f:any": {"f:thing": {}}},
            "f:keyed": {"k:{\"id\":\"a\"}": {".": {}, "f:id": {}, "f:in": {"v:\"x\"": {}}}},
        }}));
        let mut managed = Managed(vec![Entry {
            manager: "m".into(),
            operation: Operation::Apply,
            api_version: "e.com/v1".into(),
            subresource: String::new(),
            time: None,
            fields: fields.unwrap(),
        }]);
        writer.reconcile(&mut managed);
        assert_eq!(
            managed.0.remove(0).fields.into_fields(),
            json!({"f:spec": {
                "f:list": {}, "f:map": {},
                "f:open": {"f:any": {"f:thing": {}}},
                "f:keyed": {"k:{\"id\":\"a\"}": {".": {}, "f:id": {}, "f:in": {}}},
            }})
        );
    }
}
