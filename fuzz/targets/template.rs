//! JSONPath in kubectl's dialect.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_machinery::jsonpath::Template;
use serde_json::json;

fuzz_target!(|text: &str| {
    let object = json!({
        "kind": "List",
        "items": [
            {"metadata": {"name": "a", "labels": {"x.y/z": "1"}}, "n": 1, "l": [1, 2, 3]},
            {"metadata": {"name": "b"}, "n": -2.5, "l": [], "on": true, "none": null},
        ],
    });
    for template in [Template::parse(text), Template::relaxed(text)].into_iter().flatten() {
        let rendered = template.render(&object);
        assert_eq!(rendered, template.render(&object), "twice the same");
        let _ = template.find(&object);
    }
});
