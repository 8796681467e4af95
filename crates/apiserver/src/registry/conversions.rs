//! Objects of a custom kind in its other versions, for who owns what in them.
//!
//! Ownership is settled by pure functions, and a conversion may ask a webhook. So what they ask for
//! and is not known yet is noted, fetched, and they are asked again.

use onggi_api::Status;
use onggi_machinery::resource::Resource;
use parking_lot::Mutex;
use serde_json::Value;

use super::Registry;

/// What is known, and what is wanted.
#[derive(Default)]
pub(super) struct Conversions(Mutex<State>);

#[derive(Default)]
struct State {
    known: Vec<Known>,
    wanted: Vec<(Value, String)>,
}

struct Known {
    object: Value,
    api_version: String,
    made: Value,
}

impl Conversions {
    /// An object in another version; as it is where that is to be found out first.
    pub(super) fn get(&self, object: &Value, api_version: &str) -> Option<Value> {
        let mut state = self.0.lock();
        let of = |known: &&Known| known.api_version == api_version && known.object == *object;
        if let Some(known) = state.known.iter().find(of) {
            return Some(known.made.clone());
        }
        if !state.wanted.iter().any(|(of, version)| version == api_version && of == object) {
            state.wanted.push((object.clone(), api_version.to_owned()));
        }
        None
    }

    /// Finds out what is wanted; whether anything was.
    pub(super) async fn fetch(
        &self,
        registry: &Registry,
        row: &'static Resource,
    ) -> Result<bool, Status> {
        let mut wanted = std::mem::take(&mut self.0.lock().wanted);
        if wanted.is_empty() {
            return Ok(false);
        }
        while let Some((_, version)) = wanted.first() {
            let version = version.clone();
            let of_version = wanted.extract_if(.., |(_, other)| *other == version);
            let objects: Vec<Value> = of_version.map(|(object, _)| object).collect();
            let made = registry.converter().in_version(row, objects.clone(), &version).await?;
            let known = objects.into_iter().zip(made).map(|(object, made)| Known {
                object,
                api_version: version.clone(),
                made,
            });
            self.0.lock().known.extend(known);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_wanted_once() {
        let conversions = Conversions::default();
        let object = json!({"apiVersion": "e.com/v1"});
        assert_eq!(conversions.get(&object, "e.com/v2"), None);
        assert_eq!(conversions.get(&object, "e.com/v2"), None);
        assert_eq!(conversions.0.lock().wanted.len(), 1);
        let made = json!({"apiVersion": "e.com/v2"});
        let known = Known { object: object.clone(), api_version: "e.com/v2".into(), made };
        conversions.0.lock().known.push(known);
        assert!(conversions.get(&object, "e.com/v2").is_some());
        assert_eq!(conversions.get(&object, "e.com/v3"), None);
    }
}
