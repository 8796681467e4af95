//! YAML: several documents, aliases, tags.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_machinery::yaml;
use serde_json::Value;

/// Aliases repeat what was written, within bounds.
const REPEATED: usize = 200_000;

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(|value| 1 + size(value)).sum::<usize>(),
        _ => 1,
    }
}

fuzz_target!(|text: &str| {
    let _ = yaml::documents_of_kustomize(text);
    let documents = match yaml::documents(text) {
        Ok(documents) => documents,
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1);
            return;
        }
    };
    let lines = text.split('\n').count();
    for document in documents {
        assert!((1..=lines).contains(&document.line));
        assert!(size(&document.value) <= text.len() + REPEATED, "an alias bomb");
        let written = yaml::to_string(&document.value);
        let back = yaml::parse(&written).unwrap_or_else(|error| panic!("{error}:\n{written}"));
        assert_eq!(back, document.value, "{written}");
    }
});
