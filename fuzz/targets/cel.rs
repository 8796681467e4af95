//! CEL: whatever compiles runs to an end within its budget, twice the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_machinery::cel::{Budget, Declarations, Value, Variables, compile};
use onggi_machinery::crd::schema::Schema;
use serde_json::json;

fuzz_target!(|text: &str| {
    let declarations = Declarations::new(["self", "oldSelf", "object", "x"]);
    let Ok(program) = compile(text, &declarations) else { return };
    let object = json!({
        "spec": {"replicas": 3, "name": "web", "list": [1, 2, 3, 3], "texts": ["a", "b", ""],
            "ratio": 0.5, "map": {"k": "v", "n": 1}, "on": true, "none": null},
        "big": i64::MAX, "small": i64::MIN, "time": "2024-01-01T00:00:00Z", "quantity": "1500m",
    });
    let schema = Schema::read(&json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"spec": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "name": {"type": "string"},
            "list": {"type": "array", "items": {"type": "integer"}},
        }}},
    }));
    let _ = program.check_types(&schema, false);
    let mut variables = Variables::default();
    for name in ["self", "oldSelf", "object"] {
        variables.set(name, Value::json(&object));
    }
    variables.set("x", Value::json(&object["spec"]["list"]));
    let run = || {
        let mut budget = Budget::new(100_000);
        let result = program.evaluate(&variables, &mut budget).map(|value| value.to_json());
        (result.map_err(|error| error.message), budget.spent())
    };
    let (first, second) = (run(), run());
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "twice the same");
    assert!(first.1 <= 100_000);
});
