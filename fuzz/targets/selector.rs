//! Selectors of labels and fields: as texts and as objects.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use onggi_machinery::selector::{FieldSelector, LabelSelector};

fuzz_target!(|text: &str| {
    let labels: [BTreeMap<String, String>; 3] = [
        BTreeMap::new(),
        [("a".to_owned(), "b".to_owned())].into(),
        [("app".to_owned(), "web".to_owned()), ("n".to_owned(), "7".to_owned())].into(),
    ];
    if let Ok(selector) = LabelSelector::parse(text) {
        let written = selector.to_string();
        let back = LabelSelector::parse(&written).expect("what was written is read");
        assert_eq!(back.to_string(), written);
        for labels in &labels {
            assert_eq!(selector.matches(labels), back.matches(labels), "{text:?} {written:?}");
        }
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let written = selector.to_string();
        let back = FieldSelector::parse(&written).expect("what was written is read");
        assert_eq!(back.to_string(), written);
        for (name, value) in [("a", "b"), ("metadata.name", "x"), ("", "")] {
            let fields = [(name, value)];
            assert_eq!(selector.matches(&fields), back.matches(&fields), "{text:?} {written:?}");
        }
        let _ = selector.check(&["a"]);
    }
    if let Ok(object) = serde_json::from_str(text)
        && let Ok(selector) = LabelSelector::from_object(&object)
    {
        let written = selector.to_string();
        for labels in &labels {
            let _ = (selector.matches(labels), &written);
        }
    }
});
