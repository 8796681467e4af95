//! Who owns what after a create, update or patch: what changed belongs to who changed it.

use std::collections::HashMap;

use serde_json::Value;

use super::compare::{Comparison, compare};
use super::element::field;
use super::entries::{Entry, Id, Managed, Operation, Sent};
use super::fields::of_object;
use super::set::FieldSet;
use super::types::Type;
use super::versions::{Comparisons, Versions};

/// How many entries of updates are kept; older ones are put together.
const MOST_UPDATES: usize = 10;
/// The manager of what was put together.
const ANCIENT: &str = "ancient-changes";

/// Who writes, and what the kind says of its fields.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    /// `fieldManager`, or the first part of the user agent; empty: nobody knows.
    pub manager: &'a str,
    /// The version that is written: `apps/v1`.
    pub api_version: &'a str,
    /// `status`, `scale`; empty for the object.
    pub subresource: &'a str,
    /// RFC 3339, whole seconds.
    pub now: &'a str,
    /// The type of the objects.
    pub ty: Type<'a>,
    /// What a write through this path cannot set, and so cannot own.
    pub reset: &'a FieldSet,
    /// The other versions of the kind, in which others may own fields.
    pub versions: &'a dyn Versions,
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.manager, self.api_version, self.subresource)
    }
}

/// Fields of an object that nobody owns: what it is.
pub(super) const UNOWNED: [&str; 2] = ["apiVersion", "kind"];

/// Fields of its metadata that nobody owns: what names the object and what only the server sets.
pub(super) const UNOWNED_METADATA: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Both.
pub(super) fn unowned() -> &'static FieldSet {
    static SET: std::sync::OnceLock<FieldSet> = std::sync::OnceLock::new();
    SET.get_or_init(|| {
        let mut set = FieldSet::of(&[&["f:metadata"]]);
        for name in UNOWNED {
            set.insert(&[&field(name)]);
        }
        for name in UNOWNED_METADATA {
            set.insert(&["f:metadata", &field(name)]);
        }
        set
    })
}

impl Writer<'_> {
    pub(super) fn id(&self, operation: Operation) -> Id {
        let manager = if self.manager.is_empty() { "unknown" } else { self.manager };
        let api_version = match operation {
            Operation::Apply => "",
            Operation::Update => self.api_version,
        };
        Id {
            manager: manager.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: self.subresource.to_owned(),
        }
    }

    pub(super) fn entry(&self, operation: Operation, fields: FieldSet) -> Entry {
        let id = self.id(operation);
        Entry {
            manager: id.manager,
            operation,
            api_version: self.api_version.to_owned(),
            subresource: id.subresource,
            time: None,
            fields,
        }
    }

    /// Owners after the creation of an object; `sent` may have come with it.
    pub fn created(&self, object: &Value, sent: Sent) -> Managed {
        let mut managed = sent.read(None).unwrap_or_default();
        let comparison = Comparison { added: of_object(self.ty, object), ..Comparison::default() };
        let comparisons = self.comparisons(None, object, comparison, &managed);
        self.took(&mut managed, comparisons);
        managed
    }

    /// Owners after a change. Both objects come without their list. `managed` is what the object
    /// had, or what the client sent in its place.
    ///
    /// An object of which nobody owns anything stays so until it is applied.
    pub fn updated(&self, old: &Value, new: &Value, mut managed: Managed) -> Managed {
        if managed.0.is_empty() {
            return managed;
        }
        managed.0.retain(|entry| self.versions.is_served(&entry.api_version));
        self.reconcile(&mut managed);
        let comparison = compare(self.ty, old, new);
        let comparisons = self.comparisons(Some(old), new, comparison, &managed);
        self.took(&mut managed, comparisons);
        managed
    }

    /// [`Self::updated`] on the lists themselves; nothing is decoded where nothing has changed.
    pub fn updated_list(
        &self,
        old: &Value,
        new: &Value,
        list: Option<&Value>,
        sent: Sent,
    ) -> Option<Value> {
        if sent == Sent::Reset {
            return None;
        }
        let managed = sent.read(list);
        if managed.is_none() && list.is_none() {
            return None;
        }
        if old == new && managed.is_none() {
            return list.cloned();
        }
        let comparison = compare(self.ty, old, new).without(self.reset);
        let one_version = || {
            let entries = list.and_then(Value::as_array).into_iter().flatten();
            entries.into_iter().all(|entry| entry["apiVersion"] == self.api_version)
        };
        if comparison.is_same() && managed.is_none() && one_version() {
            return list.cloned();
        }
        let mut managed = managed.unwrap_or_else(|| Managed::read_stored(list));
        if managed.0.is_empty() {
            return None;
        }
        managed.0.retain(|entry| self.versions.is_served(&entry.api_version));
        self.reconcile(&mut managed);
        let comparisons = self.comparisons(Some(old), new, comparison, &managed);
        self.took(&mut managed, comparisons);
        managed.write()
    }

    fn took(&self, managed: &mut Managed, comparisons: Comparisons) {
        if comparisons.are_same() {
            return;
        }
        lose(managed, &comparisons);
        let mut own = comparisons.own.into_set();
        own.subtract(unowned());
        if own.is_empty() {
            return;
        }
        let id = self.id(Operation::Update);
        let mut entry = self.entry(Operation::Update, own);
        entry.time = Some(self.now.to_owned());
        if let Some(before) = managed.take(&id) {
            entry.fields.unite(before.fields);
        }
        managed.0.push(entry);
        cap(managed);
    }
}

/// Everybody loses what was changed or removed, as it is in the version of the entry.
pub(super) fn lose(managed: &mut Managed, comparisons: &Comparisons) {
    for entry in &mut managed.0 {
        let comparison = comparisons.of(&entry.api_version);
        for gone in [&comparison.modified, &comparison.added, &comparison.removed] {
            entry.fields.subtract(gone);
        }
    }
    managed.0.retain(|entry| !entry.fields.is_empty());
}

/// Puts the oldest updates of a version together while there are too many.
fn cap(managed: &mut Managed) {
    let is_update = |entry: &Entry| entry.operation == Operation::Update;
    let mut count = managed.0.iter().filter(|entry| is_update(entry)).count();
    if count <= MOST_UPDATES {
        return;
    }
    // The entries of one version: where the first of them stands, and where what was put together
    // does. The first is left as it is until a second one joins it.
    #[derive(Default)]
    struct Group {
        first: Option<usize>,
        bucket: Option<usize>,
        /// Where it stood at the beginning, if it was there.
        bucket_was: Option<usize>,
    }
    let is_bucket = |entry: &Entry| entry.manager == ANCIENT && entry.subresource.is_empty();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    // Where the updates stand, each with its group; the oldest first.
    let mut updates: Vec<(usize, usize)> = Vec::with_capacity(count);
    for (place, entry) in managed.0.iter().enumerate().filter(|(_, entry)| is_update(entry)) {
        let group = *names.entry(&entry.api_version).or_insert_with(|| {
            groups.push(Group::default());
            groups.len() - 1
        });
        if is_bucket(entry) {
            groups[group].bucket = Some(place);
            groups[group].bucket_was = Some(place);
        }
        updates.push((place, group));
    }
    let age = |place: usize| {
        let entry = &managed.0[place];
        (&entry.time, &entry.manager, &entry.api_version, &entry.subresource)
    };
    updates.sort_by(|a, b| age(a.0).cmp(&age(b.0)));
    let times: Vec<Option<String>> =
        updates.iter().map(|(place, _)| managed.0[*place].time.clone()).collect();
    let mut entries: Vec<Option<Entry>> =
        std::mem::take(&mut managed.0).into_iter().map(Some).collect();
    for ((place, group), time) in updates.into_iter().zip(times) {
        if count <= MOST_UPDATES {
            break;
        }
        let group = &mut groups[group];
        let Some(first) = group.first else {
            group.first = Some(place);
            continue;
        };
        // What was put together may come up itself, by the time that it had.
        let from = if group.bucket_was == Some(place) { group.bucket.take() } else { Some(place) };
        let Some(mut joined) = from.and_then(|from| entries[from].take()) else { continue };
        let old = group.bucket.take().and_then(|bucket| entries[bucket].take());
        if let Some(mut old) = old.or_else(|| entries[first].take()) {
            // What comes is added to what has come together: that one is the larger.
            old.fields.unite(joined.fields);
            joined.fields = old.fields;
        }
        joined.manager = ANCIENT.to_owned();
        joined.subresource = String::new();
        joined.time = time;
        group.bucket = Some(entries.len());
        entries.push(Some(joined));
        count -= 1;
    }
    managed.0 = entries.into_iter().flatten().collect();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::Dice;

    /// The rule as it reads, one entry after the other.
    fn model(managed: &mut Managed) {
        let updates = managed.0.iter().filter(|entry| entry.operation == Operation::Update);
        let mut updates: Vec<(Option<String>, Id)> =
            updates.map(|entry| (entry.time.clone(), entry.id())).collect();
        updates.sort();
        let mut count = updates.len();
        let mut firsts: Vec<Id> = Vec::new();
        for (time, id) in updates {
            if count <= MOST_UPDATES {
                return;
            }
            let Some(first) = firsts.iter().find(|first| first.api_version == id.api_version)
            else {
                firsts.push(id);
                continue;
            };
            let bucket =
                Id { manager: ANCIENT.to_owned(), subresource: String::new(), ..id.clone() };
            let Some(mut joined) = managed.take(&id) else { continue };
            if let Some(old) = managed.take(&bucket).or_else(|| managed.take(first)) {
                joined.fields.unite(old.fields);
            }
            joined.manager = bucket.manager;
            joined.subresource = bucket.subresource;
            joined.time = time;
            managed.0.push(joined);
            count -= 1;
        }
    }

    #[test]
    fn the_oldest_are_put_together() {
        let mut dice = Dice(8);
        let mut joined = 0;
        for _ in 0..500 {
            let list = dice.list(30, |dice| {
                let manager = match dice.roll(6) {
                    0 => ANCIENT.to_owned(),
                    _ => format!("m{}", dice.roll(12)),
                };
                let mut entry = json!({
                    "manager": manager,
                    "operation": dice.one(&["Update", "Update", "Update", "Apply"]),
                    "apiVersion": dice.one(&["a/v1", "a/v1", "a/v2", "a/v3"]),
                    "subresource": dice.one(&["", "", "status"]),
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:data": {
                        format!("f:k{}", dice.roll(20)): {}, format!("f:k{}", dice.roll(20)): {},
                    }},
                });
                if dice.roll(5) > 0 {
                    entry["time"] = format!("2026-01-01T00:00:0{}Z", dice.roll(9)).into();
                }
                entry
            });
            let mut found = Managed::read(&list).unwrap();
            let mut expected = found.clone();
            cap(&mut found);
            model(&mut expected);
            assert_eq!(found, expected, "{list}");
            joined += usize::from(found.0.iter().any(|entry| entry.manager == ANCIENT));
        }
        assert!(joined > 100, "{joined}");
    }
}
