//! Go templates of `-o go-template`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_ctl::output::go_template::GoTemplate;
use serde_json::json;

fuzz_target!(|text: &str| {
    let Ok(template) = GoTemplate::parse(text) else { return };
    let object = json!({"items": [{"name": "a", "n": 1, "l": [1, 2]}, {"name": "b", "on": true}]});
    let _ = template.render(&object);
});
