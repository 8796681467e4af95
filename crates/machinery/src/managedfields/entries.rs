//! `metadata.managedFields`: who owns which fields.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use serde_json::{Map, Value};

use super::set::FieldSet;

/// How a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells an entry from the others. The order is that in which conflicts are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Such as `kubectl`.
    pub manager: String,
    /// How.
    pub operation: Operation,
    /// Of an update; who applies has one entry, whatever its version.
    pub api_version: String,
    /// `status`, `scale`; empty for the object.
    pub subresource: String,
}

/// What a manager owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Who.
    pub manager: String,
    /// How.
    pub operation: Operation,
    /// The version that the fields are of.
    pub api_version: String,
    /// Through which subresource.
    pub subresource: String,
    /// When it last took or gave a field; RFC 3339, whole seconds.
    pub time: Option<String>,
    /// What.
    pub fields: FieldSet,
}

/// All entries of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Managed(pub Vec<Entry>);

/// What a client sent as `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// Nothing, or what cannot be read: what the object has stays.
    Nothing,
    /// An empty list or one empty entry: all is to be forgotten.
    Reset,
    /// A list to go on from.
    List(Value),
}

impl Id {
    /// For people: `"kubectl" with subresource "scale" using apps/v1`.
    pub(super) fn show(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

impl Entry {
    /// What tells it from the others.
    pub fn id(&self) -> Id {
        let api_version = match self.operation {
            Operation::Apply => String::new(),
            Operation::Update => self.api_version.clone(),
        };
        Id {
            manager: self.manager.clone(),
            operation: self.operation,
            api_version,
            subresource: self.subresource.clone(),
        }
    }

    fn is(&self, id: &Id) -> bool {
        self.manager == id.manager
            && self.operation == id.operation
            && self.subresource == id.subresource
            && (self.operation == Operation::Apply || self.api_version == id.api_version)
    }

    /// From its JSON; `at` is its place in the list.
    fn read(entry: &Value, at: usize, trusted: bool) -> Result<Self, String> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
            other => {
                return Err(format!("invalid fieldsType {other:?} in managed fields entry {at}"));
            }
        }
        let fields = match entry.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(Value::Object(nodes)) if trusted => FieldSet(nodes.clone()),
            Some(fields) => {
                FieldSet::read(fields).map_err(|error| format!("error decoding set: {error}"))?
            }
        };
        Ok(Self {
            manager: text("manager").to_owned(),
            operation,
            api_version: text("apiVersion").to_owned(),
            subresource: text("subresource").to_owned(),
            time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            fields,
        })
    }

    fn write(self) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
        put("apiVersion", self.api_version.into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", self.fields.into_fields());
        put("manager", self.manager.into());
        put("operation", self.operation.as_str().into());
        if !self.subresource.is_empty() {
            put("subresource", self.subresource.into());
        }
        if let Some(time) = self.time {
            put("time", time.into());
        }
        Value::Object(entry)
    }
}

impl Managed {
    /// From the list of an object that is stored. What cannot be read is forgotten, as Kubernetes
    /// does.
    pub fn of(object: &Value) -> Self {
        Self::read_stored(super::merge::metadata(object).and_then(|of| of.get("managedFields")))
    }

    /// From such a list itself.
    pub(super) fn read_stored(list: Option<&Value>) -> Self {
        Self::read_list(list, true).unwrap_or_default()
    }

    /// From the list that a client sent.
    pub fn read(list: &Value) -> Result<Self, String> {
        Self::read_list(Some(list), false)
    }

    fn read_list(list: Option<&Value>, trusted: bool) -> Result<Self, String> {
        let entries = list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut managed = Self::default();
        let mut places: BTreeMap<Id, usize> = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate() {
            let entry = Entry::read(entry, at, trusted)?;
            // Of two entries with the same identity the last one counts.
            match places.entry(entry.id()) {
                Occupied(place) => managed.0[*place.get()] = entry,
                Vacant(place) => {
                    place.insert(managed.0.len());
                    managed.0.push(entry);
                }
            }
        }
        Ok(managed)
    }

    /// The list as it is stored; `None` where there is nothing to store.
    pub fn write(mut self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by(|a, b| {
            let key = |entry: &Entry| (entry.operation, entry.time.clone().unwrap_or_default());
            key(a).cmp(&key(b)).then_with(|| {
                (&a.manager, &a.api_version, &a.subresource).cmp(&(
                    &b.manager,
                    &b.api_version,
                    &b.subresource,
                ))
            })
        });
        Some(self.0.into_iter().map(Entry::write).collect())
    }

    pub(super) fn find(&self, id: &Id) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is(id))
    }

    /// Takes an entry out.
    pub(super) fn take(&mut self, id: &Id) -> Option<Entry> {
        let at = self.0.iter().position(|entry| entry.is(id))?;
        Some(self.0.remove(at))
    }
}

impl Sent {
    /// Whether the list in a body, as it came, says that all is to be forgotten. To be asked before
    /// the body is brought into canonical form, which knows no empty lists.
    pub fn is_reset(body: &Value) -> bool {
        let list = super::merge::metadata(body).and_then(|metadata| metadata.get("managedFields"));
        match list.and_then(Value::as_array).map(Vec::as_slice) {
            Some([]) => true,
            Some([only]) => {
                let nothing = |value: &Value| value.is_null() || value == "";
                only.as_object().is_some_and(|entry| entry.values().all(nothing))
            }
            _ => false,
        }
    }

    /// Takes the list out of an object that a client sent.
    pub fn take(object: &mut Value, reset: bool) -> Self {
        let list = object
            .get_mut("metadata")
            .and_then(Value::as_object_mut)
            .and_then(|metadata| metadata.remove("managedFields"));
        if reset {
            return Self::Reset;
        }
        list.map_or(Self::Nothing, Self::List)
    }

    /// The entries to go on from, where they can be read and are not those of `live`.
    pub(super) fn read(self, live: Option<&Value>) -> Option<Managed> {
        let Self::List(list) = self else { return None };
        if Some(&list) == live {
            return None;
        }
        Managed::read(&list).ok().filter(|managed| !managed.0.is_empty())
    }
}

/// Puts the list into an object, or takes it away.
pub fn put(object: &mut Value, list: Option<Value>) {
    let metadata = onggi_api::object::metadata_mut(object);
    match list {
        Some(list) => metadata.insert("managedFields".to_owned(), list),
        None => metadata.remove("managedFields"),
    };
}

/// Whether two lists say the same but for the times.
pub fn same_but_times(a: Option<&Value>, b: Option<&Value>) -> bool {
    let entries = |list: Option<&Value>| -> Vec<Map<String, Value>> {
        let all = list.and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_object)
            .map(|entry| {
                let mut entry = entry.clone();
                entry.remove("time");
                entry
            })
            .collect()
    };
    a == b || entries(a) == entries(b)
}

/// Takes the list out of an object.
pub fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_are_read_and_written() {
        let list = json!([
            {"manager": "b", "operation": "Update", "apiVersion": "v1", "time": "2026-01-02T00:00:00Z",
             "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:k": {}}}},
            {"manager": "a", "operation": "Apply", "apiVersion": "v1",
             "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:l": {}}}},
            {"manager": "c", "operation": "Update", "apiVersion": "v1", "subresource": "status",
             "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {}}, "time": "2026-01-01T00:00:00Z"},
        ]);
        let written = Managed::read(&list).unwrap().write().unwrap();
        let names: Vec<&str> =
            written.as_array().unwrap().iter().map(|e| e["manager"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "c", "b"]);
        assert_eq!(Managed::read(&written).unwrap().write().unwrap(), written);
        assert_eq!(Managed::default().write(), None);
    }

    #[test]
    fn bad_entries_are_told() {
        let good = json!({"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"});
        let with = |name: &str, value: Value| {
            let mut entry = good.clone();
            entry[name] = value;
            Managed::read(&json!([entry])).unwrap_err()
        };
        assert_eq!(with("operation", "X".into()), "operation must be `Apply` or `Update`");
        assert_eq!(with("apiVersion", "".into()), "apiVersion must not be empty");
        assert_eq!(
            with("fieldsType", "V2".into()),
            "invalid fieldsType \"V2\" in managed fields entry 0"
        );
        assert!(with("fieldsV1", json!({"x": {}})).starts_with("error decoding set: "));
    }

    #[test]
    fn what_a_client_may_send() {
        let object = |list: Value| json!({"metadata": {"managedFields": list}});
        for (list, reset) in [
            (json!([]), true),
            (json!([{}]), true),
            (json!([{"manager": ""}]), true),
            (json!([{"manager": "x"}]), false),
            (json!([{}, {}]), false),
            (json!(null), false),
        ] {
            assert_eq!(Sent::is_reset(&object(list.clone())), reset, "{list}");
        }
        let mut sent = object(json!([{"operation": "Nonsense"}]));
        let taken = Sent::take(&mut sent, false);
        assert_eq!((taken.read(None), sent), (None, json!({"metadata": {}})));
    }
}
