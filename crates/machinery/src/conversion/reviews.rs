//! Reviews of who may, of `authorization.k8s.io/v1beta1`: the groups of a user were called `group`.

use serde_json::Value;

use crate::value::at_mut;

/// `v1beta1` to `v1`.
pub(super) fn convert(review: &mut Value) -> Vec<String> {
    rename(review, "group", "groups");
    Vec::new()
}

/// And back.
pub(super) fn back(review: &mut Value) {
    rename(review, "groups", "group");
}

fn rename(review: &mut Value, from: &str, to: &str) {
    let Some(spec) = at_mut(review, "spec").and_then(Value::as_object_mut) else { return };
    if let Some(groups) = spec.remove(from) {
        spec.entry(to).or_insert(groups);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn groups_keep_their_members() {
        let mut review = json!({"spec": {"user": "u", "group": ["a"]}});
        convert(&mut review);
        assert_eq!(review, json!({"spec": {"user": "u", "groups": ["a"]}}));
        back(&mut review);
        assert_eq!(review, json!({"spec": {"user": "u", "group": ["a"]}}));
    }
}
