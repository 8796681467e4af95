//! Sets of fields. A set is the trie that `fieldsV1` spells out, and it is kept as that JSON: reading
//! and writing it costs nothing, and most of an entry is never looked at when an object changes.
//!
//! A node is a map from path elements to nodes. An empty map is a member of the set; a member with
//! nodes below it has the element `.` besides them. A node that is no member has something below.

use serde_json::{Map, Value};

use super::element::{Element, SELF, show};

/// The nodes below a place.
pub(super) type Nodes = Map<String, Value>;

/// A set of fields, as in `fieldsV1`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSet(pub(super) Nodes);

/// Whether the place itself is in the set.
pub(super) fn is_member(node: &Value) -> bool {
    match node {
        Value::Object(nodes) => nodes.is_empty() || nodes.contains_key(SELF),
        _ => true,
    }
}

/// What lies below a node; `.` may be among it.
pub(super) fn below(node: &Value) -> Option<&Nodes> {
    node.as_object().filter(|nodes| !nodes.is_empty())
}

/// A node of these parts; `None` where it would be nothing.
pub(super) fn node(member: bool, mut nodes: Nodes) -> Option<Value> {
    if nodes.is_empty() {
        return member.then_some(Value::Object(nodes));
    }
    if member {
        nodes.insert(SELF.to_owned(), Value::Object(Map::new()));
    }
    Some(Value::Object(nodes))
}

/// Takes a node apart.
fn take(node: &mut Value) -> (bool, Nodes) {
    let member = is_member(node);
    let Value::Object(nodes) = node else { return (member, Map::new()) };
    let mut nodes = std::mem::take(nodes);
    nodes.remove(SELF);
    (member, nodes)
}

/// Adds the nodes of another set.
pub(super) fn unite(into: &mut Nodes, from: Nodes) {
    for (element, mut new) in from {
        if element == SELF {
            continue;
        }
        match into.get_mut(&element) {
            None => {
                into.insert(element, new);
            }
            Some(old) => {
                let (was, mut nodes) = take(old);
                let (is, more) = take(&mut new);
                unite(&mut nodes, more);
                *old = node(was || is, nodes).unwrap_or_default();
            }
        }
    }
}

/// Takes out what is in another set: of places that both have, what lies below stays unless it is
/// in the other one too.
pub(super) fn subtract(from: &mut Nodes, other: &Nodes) {
    filter(from, other, &|kept, gone| {
        let (member, mut nodes) = take(kept);
        if let Some(gone) = below(gone) {
            subtract(&mut nodes, gone);
        }
        node(member && !is_member(gone), nodes)
    });
}

/// Takes out what is in another set, with everything below it.
pub(super) fn subtract_all(from: &mut Nodes, other: &Nodes) {
    filter(from, other, &|kept, gone| {
        if is_member(gone) {
            return None;
        }
        let (member, mut nodes) = take(kept);
        if let Some(gone) = below(gone) {
            subtract_all(&mut nodes, gone);
        }
        node(member, nodes)
    });
}

fn filter(from: &mut Nodes, other: &Nodes, both: &dyn Fn(&mut Value, &Value) -> Option<Value>) {
    // The smaller one is walked: a change is small beside what somebody owns.
    for (element, gone) in other.iter().filter(|(element, _)| *element != SELF) {
        let Some(kept) = from.get_mut(element) else { continue };
        match both(kept, gone) {
            Some(rest) => *kept = rest,
            None => {
                from.remove(element);
            }
        }
    }
}

/// What is in both.
pub(super) fn intersect(a: &Nodes, b: &Nodes) -> Nodes {
    let mut out = Map::new();
    for (element, theirs) in b.iter().filter(|(element, _)| *element != SELF) {
        let Some(ours) = a.get(element) else { continue };
        let nodes = match (below(ours), below(theirs)) {
            (Some(ours), Some(theirs)) => intersect(ours, theirs),
            _ => Map::new(),
        };
        if let Some(found) = node(is_member(ours) && is_member(theirs), nodes) {
            out.insert(element.clone(), found);
        }
    }
    out
}

impl FieldSet {
    /// A set of these paths.
    pub fn of(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    /// From `fieldsV1` that a client sent: elements are brought into the one form in which they are
    /// compared, those that nobody knows are left out.
    pub fn read(fields: &Value) -> Result<Self, String> {
        read(fields).map(Self)
    }

    /// As `fieldsV1`.
    pub fn into_fields(self) -> Value {
        Value::Object(self.0)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[&str]) {
        let Some((last, above)) = path.split_last() else { return };
        let mut nodes = &mut self.0;
        for element in above {
            nodes = descend(nodes, element);
        }
        add(nodes, last);
    }

    /// Whether the path is in it.
    pub fn has(&self, path: &[&str]) -> bool {
        let Some((last, above)) = path.split_last() else { return false };
        let mut nodes = &self.0;
        for element in above {
            match nodes.get(*element).and_then(below) {
                Some(next) => nodes = next,
                None => return false,
            }
        }
        nodes.get(*last).is_some_and(is_member)
    }

    /// Adds what is in the other one.
    pub fn unite(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
        } else {
            unite(&mut self.0, other.0);
        }
    }

    /// Takes out what is in the other one.
    pub fn subtract(&mut self, other: &Self) {
        subtract(&mut self.0, &other.0);
    }

    /// Takes out what is in the other one and all that lies below that.
    pub fn subtract_all(&mut self, other: &Self) {
        subtract_all(&mut self.0, &other.0);
    }

    /// What is in both.
    pub fn intersect(&self, other: &Self) -> Self {
        Self(intersect(&self.0, &other.0))
    }

    /// Every path, in the order of Kubernetes: at each place first its members, then what is below.
    pub fn paths(&self) -> Vec<Vec<&str>> {
        let mut out = Vec::new();
        walk(&self.0, &mut Vec::new(), &mut out);
        out
    }
}

impl std::fmt::Display for FieldSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.paths().iter().map(|path| show(path)).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The nodes below an element, made where there are none; the element does not become a member by
/// that.
pub(super) fn descend<'n>(nodes: &'n mut Nodes, element: &str) -> &'n mut Nodes {
    let member = nodes.get(element).is_some_and(is_member);
    let node = nodes.entry(element).or_insert_with(|| Value::Object(Map::new()));
    if member && let Value::Object(below) = &mut *node {
        below.insert(SELF.to_owned(), Value::Object(Map::new()));
    }
    as_nodes(node)
}

fn as_nodes(node: &mut Value) -> &mut Nodes {
    if !node.is_object() {
        *node = Value::Object(Map::new());
    }
    match node {
        Value::Object(nodes) => nodes,
        _ => unreachable!("made an object above"),
    }
}

/// Makes an element a member.
pub(super) fn add(nodes: &mut Nodes, element: &str) {
    match nodes.get_mut(element) {
        None => {
            nodes.insert(element.to_owned(), Value::Object(Map::new()));
        }
        Some(Value::Object(below)) if !below.is_empty() => {
            below.insert(SELF.to_owned(), Value::Object(Map::new()));
        }
        Some(_) => {}
    }
}

fn read(fields: &Value) -> Result<Nodes, String> {
    let Value::Object(found) = fields else {
        return Err("fieldsV1 is not made of JSON objects".to_owned());
    };
    let mut nodes = Map::new();
    for (text, value) in found {
        if text == SELF {
            nodes.insert(text.clone(), Value::Object(Map::new()));
            continue;
        }
        let Some(element) = Element::parse(text)? else { continue };
        let text = if matches!(element, Element::Field(_)) { text.clone() } else { element.text() };
        let mut one = Map::new();
        one.insert(text, Value::Object(read(value)?));
        unite(&mut nodes, one);
    }
    Ok(nodes)
}

fn walk<'n>(nodes: &'n Nodes, path: &mut Vec<&'n str>, out: &mut Vec<Vec<&'n str>>) {
    let mut elements: Vec<(Element<'n>, &'n str, &'n Value)> = nodes
        .iter()
        .filter_map(|(text, node)| Some((Element::parse(text).ok()??, text.as_str(), node)))
        .collect();
    elements.sort_by(|a, b| a.0.order(&b.0));
    for (_, text, node) in &elements {
        if is_member(node) {
            let mut full = path.clone();
            full.push(text);
            out.push(full);
        }
    }
    for (_, text, node) in elements {
        if let Some(below) = below(node) {
            path.push(text);
            walk(below, path, out);
            path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(fields: Value) -> FieldSet {
        FieldSet::read(&fields).unwrap()
    }

    #[test]
    fn the_algebra() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {"f:d": {}}}, "f:e": {}}));
        let b = set(json!({"f:a": {"f:b": {}, "f:c": {}}, "f:e": {"f:x": {}}}));
        let mut united = a.clone();
        united.unite(b.clone());
        assert_eq!(
            united.into_fields(),
            json!({"f:a": {".": {}, "f:b": {}, "f:c": {".": {}, "f:d": {}}}, "f:e": {".": {}, "f:x": {}}})
        );
        let mut less = a.clone();
        less.subtract(&b);
        assert_eq!(less.into_fields(), json!({"f:a": {".": {}, "f:c": {"f:d": {}}}, "f:e": {}}));
        let mut less = a.clone();
        less.subtract_all(&b);
        assert_eq!(less.into_fields(), json!({"f:a": {}, "f:e": {}}));
        assert_eq!(a.intersect(&b).into_fields(), json!({"f:a": {"f:b": {}}}));
        assert!(a.has(&["f:a"]) && a.has(&["f:a", "f:c", "f:d"]) && !a.has(&["f:a", "f:c"]));
        assert_eq!(a.to_string(), ".a\n.e\n.a.b\n.a.c.d");
        let mut nothing = a.clone();
        nothing.subtract(&a);
        assert!(nothing.is_empty());
    }

    #[test]
    fn paths_make_the_set_again() {
        let a =
            set(json!({"f:a": {".": {}, "k:{\"n\":1}": {".": {}, "v:2": {}}}, "f:b": {"i:0": {}}}));
        let mut again = FieldSet::default();
        for path in a.paths() {
            again.insert(&path);
        }
        assert_eq!(again, a);
    }

    #[test]
    fn what_a_client_writes_is_brought_into_form() {
        let read = set(json!({"k:{\"b\": 1, \"a\":2}": {}, "z:new": {}, "f:x": {"f:y": {}}}));
        assert_eq!(read.into_fields(), json!({"k:{\"a\":2,\"b\":1}": {}, "f:x": {"f:y": {}}}));
        for bad in [json!([]), json!({"f:a": 1}), json!({"name": {}}), json!({"k:{": {}})] {
            assert!(FieldSet::read(&bad).is_err(), "{bad}");
        }
    }
}
