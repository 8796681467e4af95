//! Server-side apply beside a simple model: flat leaves with owners.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use serde_json::json;

/// A leaf: a label, an entry of data, or a field of an item of a list.
type Leaf = Vec<String>;

#[derive(Default, Clone, Debug, PartialEq)]
struct Model {
    live: BTreeMap<Leaf, String>,
    owners: BTreeMap<(String, Operation), BTreeSet<Leaf>>,
}

fn item(leaf: &Leaf) -> Option<Leaf> {
    (leaf[0] == "c").then(|| leaf[..2].to_vec())
}

/// The leaves and the items they are in.
fn with_items(leaves: impl IntoIterator<Item = Leaf>) -> BTreeSet<Leaf> {
    leaves.into_iter().flat_map(|leaf| item(&leaf).into_iter().chain([leaf])).collect()
}

impl Model {
    fn take(&mut self, keep: Option<&(String, Operation)>, changed: &BTreeSet<Leaf>) {
        for (owner, owned) in &mut self.owners {
            if Some(owner) != keep {
                owned.retain(|leaf| !changed.contains(leaf));
            }
        }
        self.owners.retain(|_, owned| !owned.is_empty());
    }

    /// The conflicts, or done.
    fn apply(
        &mut self,
        manager: &str,
        config: &BTreeMap<Leaf, String>,
        force: bool,
    ) -> Result<(), BTreeSet<(String, Leaf)>> {
        let id = (manager.to_owned(), Operation::Apply);
        let new = with_items(config.keys().cloned());
        let last = self.owners.remove(&id).unwrap_or_default();
        let others: BTreeSet<&Leaf> = self.owners.values().flatten().collect();
        let mut after = self.live.clone();
        after.extend(config.clone());
        let dead =
            |leaf: &Leaf| last.contains(leaf) && !new.contains(leaf) && !others.contains(leaf);
        after.retain(|leaf, _| !dead(leaf) && !item(leaf).is_some_and(|item| dead(&item)));
        let items = with_items(self.live.keys().cloned());
        let changed: BTreeSet<Leaf> = with_items(after.keys().cloned())
            .into_iter()
            .filter(|leaf| !items.contains(leaf) || after.get(leaf) != self.live.get(leaf))
            .collect();
        let conflicts: BTreeSet<(String, Leaf)> = self
            .owners
            .iter()
            .flat_map(|((name, _), owned)| {
                owned.intersection(&changed).map(|leaf| (name.clone(), leaf.clone()))
            })
            .collect();
        if !conflicts.is_empty() && !force {
            self.owners.insert(id, last);
            self.owners.retain(|_, owned| !owned.is_empty());
            return Err(conflicts);
        }
        let gone: BTreeSet<Leaf> =
            items.difference(&with_items(after.keys().cloned())).cloned().collect();
        self.take(None, &changed.union(&gone).cloned().collect());
        self.live = after;
        if !new.is_empty() {
            self.owners.insert(id, new);
        }
        Ok(())
    }

    fn update(&mut self, manager: &str, after: BTreeMap<Leaf, String>) {
        let (was, is) = (with_items(self.live.keys().cloned()), with_items(after.keys().cloned()));
        let changed: BTreeSet<Leaf> = is
            .iter()
            .filter(|leaf| !was.contains(*leaf) || after.get(*leaf) != self.live.get(*leaf))
            .cloned()
            .collect();
        let gone: BTreeSet<Leaf> = was.difference(&is).cloned().collect();
        let tracked = !self.owners.is_empty();
        self.take(None, &changed.union(&gone).cloned().collect());
        self.live = after;
        if tracked && !changed.is_empty() {
            let id = (manager.to_owned(), Operation::Update);
            self.owners.entry(id).or_default().extend(changed);
        }
    }
}

/// The object of the leaves: a pod whose labels and containers they are.
fn object(leaves: &BTreeMap<Leaf, String>, order: &[usize]) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}});
    let mut containers: BTreeMap<&str, Value> = BTreeMap::new();
    for (leaf, value) in leaves {
        match leaf.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["l", key] => object["metadata"]["labels"][*key] = value.clone().into(),
            ["c", name, field] => {
                containers.entry(name).or_insert_with(|| json!({"name": name}))[*field] =
                    value.clone().into();
            }
            other => panic!("{other:?}"),
        }
    }
    if !containers.is_empty() {
        let mut list: Vec<Value> = containers.into_values().collect();
        let place = |c: &Value| order.iter().position(|n| c["name"] == format!("n{n}"));
        list.sort_by_key(place);
        object["spec"]["containers"] = list.into();
    }
    object
}

/// And back.
fn leaves(object: &Value) -> BTreeMap<Leaf, String> {
    let mut out = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        out.insert(vec!["l".to_owned(), key.clone()], text(value));
    }
    for container in object["spec"]["containers"].as_array().into_iter().flatten() {
        for (field, value) in container.as_object().unwrap() {
            out.insert(vec!["c".to_owned(), text(&container["name"]), field.clone()], text(value));
        }
    }
    out
}

fn leaf(path: &[&str]) -> Option<Leaf> {
    match path {
        ["f:metadata", "f:labels", key] => Some(vec!["l".to_owned(), key[2..].to_owned()]),
        ["f:spec", "f:containers", key, rest @ ..] => {
            let key: Value = serde_json::from_str(key.strip_prefix("k:")?).unwrap();
            let mut leaf = vec!["c".to_owned(), key["name"].as_str().unwrap().to_owned()];
            leaf.extend(rest.iter().map(|field| field[2..].to_owned()));
            Some(leaf)
        }
        // Maps that were made on the way.
        _ => None,
    }
}

fn owners(managed: &Managed) -> BTreeMap<(String, Operation), BTreeSet<Leaf>> {
    let each = managed.0.iter().map(|entry| {
        let owned = entry.fields.paths().iter().filter_map(|path| leaf(path)).collect();
        ((entry.manager.clone(), entry.operation), owned)
    });
    each.filter(|(_, owned): &(_, BTreeSet<Leaf>)| !owned.is_empty()).collect()
}

#[test]
fn any_writers_agree_with_the_model() {
    let mut state = 11_u64;
    let mut next = move |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let reset = FieldSet::of(&[&["f:status"]]);
    let mut conflicts_seen = 0;
    for round in 0..300 {
        let mut model = Model::default();
        let (mut live, mut managed) = (json!({}), Managed::default());
        for step in 0..12 {
            let mut wanted: BTreeMap<Leaf, String> = BTreeMap::new();
            for n in 0..3 {
                if next(3) == 0 {
                    wanted.insert(vec!["l".into(), format!("k{n}")], next(2).to_string());
                }
                if next(3) == 0 {
                    let name = format!("n{n}");
                    let at = |field: &str| vec!["c".into(), name.clone(), field.into()];
                    wanted.insert(at("name"), name.clone());
                    for field in ["image", "workingDir"] {
                        if next(2) == 0 {
                            wanted.insert(at(field), next(2).to_string());
                        }
                    }
                }
            }
            let order: Vec<usize> = if next(2) == 0 { vec![0, 1, 2] } else { vec![2, 0, 1] };
            let manager = ["a", "b", "c"][next(3)];
            let writer = Writer {
                manager,
                api_version: "v1",
                subresource: "",
                now: "2026-01-01T00:00:00Z",
                ty: Type::of("", "v1", "Pod"),
                reset: &reset,
                versions: &|_: &str| true,
            };
            let told = format!("round {round}, step {step}: {manager} {wanted:?}");
            if step > 0 && next(3) == 0 {
                let mut new = object(&wanted, &order);
                new["metadata"]["uid"] = "u".into();
                managed = writer.updated(&live, &new, managed);
                live = new;
                model.update(manager, wanted);
            } else {
                let force = next(2) == 0;
                let config = object(&wanted, &order);
                // An object that nobody owns any more is told to belong to somebody first.
                if managed.0.is_empty() && step > 0 {
                    break;
                }
                let done = writer.applied(("v1", "Pod"), &live, managed.clone(), &config, force);
                match (done, model.apply(manager, &wanted, force)) {
                    (Ok(applied), Ok(())) => {
                        live = applied.object;
                        live["metadata"]["uid"] = "u".into();
                        managed = applied.managed;
                    }
                    (Err(ApplyError::Conflicts { conflicts, .. }), Err(expected)) => {
                        conflicts_seen += 1;
                        let found: BTreeSet<&str> =
                            conflicts.iter().map(|c| c.path.as_str()).collect();
                        let names: BTreeSet<String> =
                            expected.iter().map(|(_, leaf)| shown(leaf)).collect();
                        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
                        assert!(names.is_subset(&found), "{told}: {found:?} {names:?}");
                    }
                    (found, expected) => panic!("{told}: {found:?} {expected:?} {model:?}"),
                }
            }
            assert_eq!(leaves(&live), model.live, "{told}");
            assert_eq!(owners(&managed), model.owners, "{told} {managed:?}");
            // The list is the same after being stored.
            let stored = managed.clone().write().unwrap_or(json!([]));
            assert_eq!(owners(&Managed::read(&stored).unwrap()), model.owners);
        }
    }
    assert!(conflicts_seen > 100, "{conflicts_seen}");
}

fn shown(leaf: &Leaf) -> String {
    match leaf.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["l", key] => format!(".metadata.labels.{key}"),
        ["c", name] => format!(".spec.containers[name=\"{name}\"]"),
        ["c", name, field] => format!(".spec.containers[name=\"{name}\"].{field}"),
        other => panic!("{other:?}"),
    }
}
