//! What the Go types say of fields beyond their shape: which values there are, and what a field is
//! that is not set. A blob of its own, because only OpenAPI says it.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BlobError;

/// The most that is read, in bytes of JSON.
const MAX: u64 = 16 << 20;

/// One of the values of a field, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// As in JSON.
    pub value: String,
    /// In words; may be empty.
    pub meaning: String,
}

/// Of one field. Of a list or map, the values are those of its elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fact<'f> {
    /// Its values (`+enum`), sorted; empty: any.
    pub choices: &'f [Choice],
    /// What it is that is not set (`default`).
    pub default: Option<&'f Value>,
}

/// Facts about the fields of definitions. Made to be dropped, as [`Prose`](super::Prose).
#[derive(Debug, Default, PartialEq)]
pub struct Facts {
    enums: Vec<Vec<Choice>>,
    defaults: Vec<Value>,
    /// By definition and field: numbers from 1, 0 for nothing.
    fields: HashMap<(String, String), (u32, u32)>,
}

/// Fields by their definition, each with the numbers of its values and of its default.
type Fields = BTreeMap<String, BTreeMap<String, (u32, u32)>>;

#[derive(Serialize, Deserialize)]
struct Blob {
    enums: Vec<Vec<Choice>>,
    defaults: Vec<Value>,
    fields: Fields,
}

impl Facts {
    /// Takes up what is known of a field.
    pub fn add(
        &mut self,
        definition: &str,
        field: &str,
        choices: &[Choice],
        default: Option<Value>,
    ) {
        let choices = match choices {
            [] => 0,
            choices => number(&mut self.enums, choices.to_vec()),
        };
        let default = default.map_or(0, |default| number(&mut self.defaults, default));
        if (choices, default) != (0, 0) {
            self.fields.insert((definition.to_owned(), field.to_owned()), (choices, default));
        }
    }

    /// From the bytes that [`Facts::to_blob`] wrote.
    pub fn from_blob(bytes: &[u8]) -> Result<Self, BlobError> {
        let mut json = Vec::new();
        ZlibDecoder::new(bytes).take(MAX).read_to_end(&mut json)?;
        let Blob { enums, defaults, fields } = serde_json::from_slice(&json)?;
        let known = |number: u32, of: usize| number as usize <= of;
        let mut all = HashMap::new();
        for (definition, of) in fields {
            for (field, numbers) in of {
                if !known(numbers.0, enums.len()) || !known(numbers.1, defaults.len()) {
                    return Err(BlobError::Reference);
                }
                all.insert((definition.clone(), field), numbers);
            }
        }
        Ok(Self { enums, defaults, fields: all })
    }

    /// The condensed form, compressed.
    pub fn to_blob(&self) -> Result<Vec<u8>, BlobError> {
        let mut fields = Fields::new();
        for ((definition, field), numbers) in &self.fields {
            fields.entry(definition.clone()).or_default().insert(field.clone(), *numbers);
        }
        let blob = Blob { enums: self.enums.clone(), defaults: self.defaults.clone(), fields };
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&serde_json::to_vec(&blob)?)?;
        Ok(encoder.finish()?)
    }

    /// How many fields something is known of.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// What is known of a field of a definition.
    pub fn of(&self, definition: &str, field: &str) -> Fact<'_> {
        let key = (definition.to_owned(), field.to_owned());
        let (choices, default) = self.fields.get(&key).copied().unwrap_or_default();
        let at = |number: u32| (number as usize).checked_sub(1);
        Fact {
            choices: at(choices).and_then(|at| self.enums.get(at)).map_or(&[], Vec::as_slice),
            default: at(default).and_then(|at| self.defaults.get(at)),
        }
    }
}

/// The number of a value among those that are kept once, from 1.
fn number<T: PartialEq>(all: &mut Vec<T>, value: T) -> u32 {
    let at = all.iter().position(|known| *known == value).unwrap_or_else(|| {
        all.push(value);
        all.len() - 1
    });
    // More than four thousand million do not fit into memory.
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{FACTS, facts, table};
    use super::*;

    #[test]
    fn says_which_values_there_are() {
        let facts = facts();
        let policy = facts.of("io.k8s.api.core.v1.PodSpec", "restartPolicy");
        let values: Vec<&str> = policy.choices.iter().map(|choice| &*choice.value).collect();
        assert_eq!(values, ["Always", "Never", "OnFailure"]);
        assert_eq!(policy.default, None);
        let port = facts.of("io.k8s.api.core.v1.ContainerPort", "protocol");
        assert_eq!(port.default, Some(&json!("TCP")));
        let meaning = |value: &str| {
            port.choices.iter().find(|choice| choice.value == value).map(|c| &*c.meaning)
        };
        assert_eq!(meaning("UDP"), Some("is the UDP protocol."));
        // Of what another struct lends.
        let pull = facts.of("io.k8s.api.core.v1.EphemeralContainer", "imagePullPolicy");
        assert_eq!(pull.choices.len(), 3);
        let name = facts.of("io.k8s.api.core.v1.Container", "name");
        assert_eq!((name.choices.len(), name.default), (0, Some(&json!(""))));
        assert_eq!(facts.of("io.k8s.api.core.v1.Pod", "spec").default, Some(&json!({})));
        assert_eq!(facts.of("io.k8s.api.core.v1.Pod", "nothing").default, None);
    }

    #[test]
    fn speaks_of_fields_that_there_are() {
        for (definition, field) in facts().fields.keys() {
            let schema = table().definition(definition);
            assert!(
                schema.is_some_and(|schema| schema.field(field).is_some()),
                "{definition}.{field}"
            );
        }
    }

    #[test]
    fn the_blob_is_canonical() {
        let read = Facts::from_blob(FACTS).unwrap();
        assert_eq!(Facts::from_blob(&read.to_blob().unwrap()).unwrap(), read);
        assert!(Facts::from_blob(&FACTS[..FACTS.len() / 2]).is_err());
    }
}
