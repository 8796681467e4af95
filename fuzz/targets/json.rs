//! JSON bodies: of every kind, and as bare JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_machinery::schema::{self, FieldValidation};

fuzz_target!(|data: &[u8]| {
    let Some((row, body)) = onggi_fuzz::kind(data) else { return };
    let Ok(parsed) = schema::json::parse(body) else { return };
    assert!(parsed.duplicates.len() <= 100, "a flood of duplicates");
    let text = serde_json::to_vec(&parsed.value).expect("a value is JSON");
    let again = schema::json::parse(&text).expect("what was written is read");
    assert_eq!(again.value, parsed.value);
    assert!(again.duplicates.is_empty());
    let decoded = schema::decode(body, "application/json", &row.gvk(), FieldValidation::Warn);
    if let Ok(decoded) = decoded {
        onggi_fuzz::admitted(row, &decoded.value);
    }
});
