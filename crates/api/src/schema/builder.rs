//! Puts a table together: definitions first get a place, so that they may refer to one another in
//! a circle, then their shape.

use std::collections::{HashMap, HashSet};

use super::{Kind, Name, SchemaId, Shape, Table};

/// A table in the making.
#[derive(Debug, Default)]
pub struct Builder {
    table: Table,
    shared: HashSet<Name>,
    /// Shapes without a name, by their text, so that equal ones share a place.
    anonymous: HashMap<String, SchemaId>,
}

impl Builder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The one copy of a name.
    pub fn name(&mut self, text: &str) -> Name {
        Table::shared(&mut self.shared, text)
    }

    /// Makes a place for a definition; it holds anything until [`Builder::define`].
    pub fn reserve(&mut self, name: &str) -> SchemaId {
        if let Some(id) = self.table.definitions.get(name) {
            return *id;
        }
        let id = self.push(Shape::Any);
        let name = self.name(name);
        self.table.names.insert(id, name.clone());
        self.table.definitions.insert(name, id);
        id
    }

    /// Gives a place its shape.
    pub fn define(&mut self, id: SchemaId, shape: Shape) {
        if let Some(node) = self.table.nodes.get_mut(id.0 as usize) {
            *node = shape;
        }
    }

    /// A shape without a name.
    pub fn anonymous(&mut self, shape: Shape) -> SchemaId {
        let text = format!("{shape:?}");
        if let Some(id) = self.anonymous.get(&text) {
            return *id;
        }
        let id = self.push(shape);
        self.anonymous.insert(text, id);
        id
    }

    /// The shape at a place.
    pub fn shape(&self, id: SchemaId) -> Option<&Shape> {
        self.table.nodes.get(id.0 as usize)
    }

    /// Says that a schema is that of a kind.
    pub fn kind(&mut self, group: &str, version: &str, kind: &str, id: SchemaId) {
        let (group, version, kind) = (self.name(group), self.name(version), self.name(kind));
        self.table.kinds.push(Kind { group, version, kind, id });
    }

    /// The table.
    pub fn finish(self) -> Table {
        self.table.indexed()
    }

    fn push(&mut self, shape: Shape) -> SchemaId {
        // More than four thousand million schemas do not fit into memory.
        let id = SchemaId(u32::try_from(self.table.nodes.len()).unwrap_or(u32::MAX));
        self.table.nodes.push(shape);
        id
    }
}
