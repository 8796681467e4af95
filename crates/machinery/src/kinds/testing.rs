//! What the tests of the kinds share: objects as YAML, errors as text.

use serde_json::Value;

use crate::resource::Resource;
use crate::schema::{self, FieldValidation};
use crate::validation::Errors;

/// An object from YAML.
pub(crate) fn yaml(text: &str) -> Value {
    crate::yaml::parse(text).unwrap()
}

/// An object on its way to the store: checked against its schema, prepared, defaulted.
#[track_caller]
pub(crate) fn created(resource: &Resource, text: &str) -> Value {
    let mut object = yaml(text);
    admit(resource, &mut object);
    (resource.prepare_create)(&mut object);
    resource.set_defaults(&mut object);
    // What is stored passes unchanged when it comes back in an update.
    let mut again = object.clone();
    admit(resource, &mut again);
    resource.set_defaults(&mut again);
    assert_eq!(object, again, "{object:#}\n{again:#}");
    object
}

#[track_caller]
fn admit(resource: &Resource, object: &mut Value) {
    if let Err(problem) = schema::admit(object, &resource.gvk(), FieldValidation::Strict) {
        panic!("{problem}");
    }
}

/// Compares what was found with the beginnings of the texts expected.
#[track_caller]
pub(crate) fn expect(errors: &Errors, expected: &[&str], case: &str) {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let fits = texts.len() == expected.len()
        && texts.iter().zip(expected).all(|(text, start)| text.starts_with(start));
    assert!(fits, "{case}\nfound: {texts:#?}\nexpected: {expected:#?}");
}

/// Numbers that are the same in every run (a linear congruential generator).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// One below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    /// One of these.
    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    /// Up to so many, as each is made.
    pub(crate) fn list(&mut self, most: usize, mut each: impl FnMut(&mut Self) -> Value) -> Value {
        (0..self.roll(most + 1)).map(|_| each(self)).collect()
    }

    /// `containers` and `initContainers`, some of them sidecars, with requests of few names.
    pub(crate) fn containers(&mut self) -> Value {
        let container = |dice: &mut Self| {
            let mut requests = serde_json::Map::new();
            for _ in 0..dice.roll(4) {
                let name = dice.one(&["cpu", "memory", "a.b/c", "a.b/d"]);
                requests.insert(name.to_owned(), dice.one(&["0", "1", "2", "5", "x"]).into());
            }
            let mut container = serde_json::json!({"resources": {"requests": requests}});
            if dice.roll(2) == 0 {
                container["restartPolicy"] = "Always".into();
            }
            container
        };
        let containers = self.list(3, container);
        serde_json::json!({"containers": containers, "initContainers": self.list(6, container)})
    }
}
