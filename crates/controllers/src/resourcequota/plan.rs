//! What a quota's status should say, and which changes of it ask for a recount.

use onggi_machinery::admission::amounts::{self, Amounts};
use onggi_machinery::admission::quota::kind_of;
use onggi_machinery::value::{at, set};
use serde_json::Value;

/// Group and plural of the kinds whose objects the quota counts, each once.
pub(super) fn kinds(quota: &Value) -> Vec<(String, String)> {
    let hard = amounts::read(at(quota, "spec.hard"));
    let mut found: Vec<(String, String)> = hard
        .keys()
        .filter_map(|name| kind_of(name))
        .map(|(group, plural)| (group.to_owned(), plural.to_owned()))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The quota with the status that it should have; `None` where it has it.
pub(super) fn status(quota: &Value, used: &Amounts) -> Option<Value> {
    let read = |path| amounts::read(at(quota, path));
    let hard = read("spec.hard");
    if read("status.hard") == hard && read("status.used") == *used {
        return None;
    }
    let mut new = quota.clone();
    set(&mut new, "status.hard", amounts::write(&hard));
    set(&mut new, "status.used", amounts::write(used));
    Some(new)
}

/// Whether a change of a quota asks for a recount. What admission has charged does not: it counts
/// objects that may not be stored yet.
pub(super) fn asks(before: Option<&Value>, after: &Value) -> bool {
    let hard = |path| amounts::read(at(after, path));
    before.is_none_or(|before| at(before, "spec") != at(after, "spec"))
        || hard("spec.hard") != hard("status.hard")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn quota(hard: Value, status: Value) -> Value {
        json!({"spec": {"hard": hard}, "status": status})
    }

    #[test]
    fn kinds_are_named_once() {
        let hard = json!({"pods": "1", "requests.cpu": "1", "count/jobs.batch": "1", "no": "1"});
        let owned = |(group, plural): (&str, &str)| (group.to_owned(), plural.to_owned());
        assert_eq!(kinds(&quota(hard, json!({}))), [("", "pods"), ("batch", "jobs")].map(owned));
    }

    #[test]
    fn the_status_follows() {
        let used: Amounts = [("pods".to_owned(), "1".parse().unwrap())].into();
        let new = quota(json!({"pods": "1000m"}), json!({}));
        let written = status(&new, &used).unwrap();
        assert_eq!(written["status"], json!({"hard": {"pods": "1"}, "used": {"pods": "1"}}));
        assert_eq!(status(&written, &used), None);
    }

    #[test]
    fn charges_ask_for_nothing() {
        let before = quota(json!({"pods": "2"}), json!({"hard": {"pods": "2"}}));
        let mut after = before.clone();
        after["status"]["used"] = json!({"pods": "1"});
        assert!(asks(None, &before));
        assert!(!asks(Some(&before), &after));
        after["status"]["hard"] = json!({"pods": "9"});
        assert!(asks(Some(&before), &after));
        assert!(asks(Some(&before), &quota(json!({"pods": "3"}), json!({"hard": {"pods": "3"}}))));
    }
}
