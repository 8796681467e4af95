//! The reference table: names → manifests, one small file, replaced whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{State, Store};
use crate::error::Context;
use crate::spec::{parse_json, to_json};
use crate::{Digest, Reference, Result};

const FILE: &str = "refs.json";

#[derive(Default, Serialize, Deserialize)]
struct Table {
    refs: BTreeMap<String, Digest>,
}

/// The table of a store.
pub(super) fn load(root: &Path) -> Result<BTreeMap<String, Digest>> {
    let path = root.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(parse_json::<Table>(&path.display().to_string(), &bytes)?.refs),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(e).at(&path),
    }
}

impl Store {
    /// Points names at a manifest. What was there before loses the name.
    pub fn set_refs(&self, names: &[Reference], manifest: &Digest) -> Result<()> {
        let mut state = self.state.lock();
        let mut refs = state.refs.clone();
        for name in names {
            refs.insert(name.key(), manifest.clone());
        }
        self.replace(&mut state, refs)
    }

    /// Removes names by their keys.
    pub(super) fn remove_refs(&self, keys: &[String]) -> Result<()> {
        let mut state = self.state.lock();
        let mut refs = state.refs.clone();
        for key in keys {
            refs.remove(key);
        }
        self.replace(&mut state, refs)
    }

    /// Every name.
    pub fn refs(&self) -> BTreeMap<String, Digest> {
        self.state.lock().refs.clone()
    }

    fn replace(&self, state: &mut State, refs: BTreeMap<String, Digest>) -> Result<()> {
        if refs == state.refs {
            return Ok(());
        }
        let table = Table { refs };
        self.write_atomic(&self.root.join(FILE), &to_json("the reference table", &table)?)?;
        state.refs = table.refs;
        Ok(())
    }
}
