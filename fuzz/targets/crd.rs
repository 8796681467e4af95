//! Schemas of custom kinds, and objects beside them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_machinery::crd::schema::{self, Schema, rules, structure};
use onggi_machinery::validation::{At, Errors};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some([definition, object, old]) = onggi_fuzz::parts(data) else { return };
    let Ok(definition) = serde_json::from_slice::<Value>(definition) else { return };
    let mut errors = Errors::new();
    let root = At::root(&definition);
    structure::check(&root, &mut errors);
    rules::check(&root, &mut errors);
    if !errors.is_empty() {
        return;
    }
    let read = Schema::read(&definition);
    let _ = schema::publish_v3(&definition);
    let Ok(mut object) = serde_json::from_slice::<Value>(object) else { return };
    if !object.is_object() {
        return;
    }
    schema::prune(&mut object, &read);
    assert!(schema::prune(&mut object, &read).is_empty(), "pruned twice: {object}");
    schema::drop_nulls(&mut object, &read);
    schema::default(&mut object, &read);
    let once = object.clone();
    schema::drop_nulls(&mut object, &read);
    schema::default(&mut object, &read);
    assert_eq!(object, once, "defaults of defaults");
    let old = serde_json::from_slice::<Value>(old).ok();
    let found = schema::validate(&object, old.as_ref(), &read);
    assert_eq!(found, schema::validate(&object, old.as_ref(), &read));
    if let Some(rules) = rules::compile(&read)
        && !rules::is_blocked(&found)
    {
        let _ = rules::run(&rules, &read, &object, old.as_ref());
    }
});
