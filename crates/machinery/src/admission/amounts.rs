//! Amounts by name (`v1.ResourceList`) and how they are added and compared.

use std::collections::BTreeMap;

use onggi_api::Quantity;
use serde_json::{Map, Value};

/// `{"cpu": "100m", "memory": "1Gi"}`.
pub type Amounts = BTreeMap<String, Quantity>;

/// Reads a list; what is no quantity is left out.
pub fn read(value: &Value) -> Amounts {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter_map(|(name, amount)| {
            let text = match amount {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            Some((name.clone(), text.parse().ok()?))
        })
        .collect()
}

/// As it stands in an object.
pub fn write(amounts: &Amounts) -> Value {
    let entries = amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string().into()));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Adds each of `more`.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let before = sum.get(name).copied();
        sum.insert(name.clone(), before.map_or(*amount, |before| before.plus(amount)));
    }
}

/// Raises each to what the other has, where that is more.
pub fn raise(peak: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        match peak.get(name) {
            Some(before) if before >= amount => {}
            _ => {
                peak.insert(name.clone(), *amount);
            }
        }
    }
}

/// Only those of these names.
pub fn mask<'n>(amounts: &Amounts, names: impl IntoIterator<Item = &'n String>) -> Amounts {
    let kept = names.into_iter().filter_map(|name| amounts.get_key_value(name));
    kept.map(|(name, amount)| (name.clone(), *amount)).collect()
}

/// `cpu=1,memory=1Gi`.
pub fn pretty(amounts: &Amounts) -> String {
    let parts = amounts.iter().map(|(name, amount)| format!("{name}={amount}"));
    parts.collect::<Vec<_>>().join(",")
}
