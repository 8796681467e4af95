//! A Service that selects nobody although somebody was meant: which label comes nearest.

use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// Whether a pod carries a value that the selector asks for, under another key: `app=my-app` where
/// `run=my-app` is asked. Another value under the same key is no hint; that is how the pods of other
/// services look.
pub(super) fn nearly(selector: &Labels, labels: &Labels) -> bool {
    near_label(selector, labels).is_some()
}

/// What to tell the owner of a Service that selects none of these pods; nothing when none comes
/// near.
pub(super) fn text<'a>(
    name: &str,
    selector: &Labels,
    pods: impl Iterator<Item = &'a Labels>,
) -> Option<String> {
    let mut found: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for labels in pods {
        if let Some(label) = near_label(selector, labels) {
            *found.entry(label).or_default() += 1;
        }
    }
    let ((key, value), count) = found.into_iter().max_by_key(|(_, count)| *count)?;
    let asked: Vec<_> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods = if count == 1 { "1 pod carries".to_owned() } else { format!("{count} pods carry") };
    Some(format!(
        "Service {name} selects no pod: it asks for {}, {pods} {key}={value}; change the selector",
        asked.join(",")
    ))
}

fn near_label<'a>(selector: &Labels, labels: &'a Labels) -> Option<(&'a str, &'a str)> {
    labels
        .iter()
        .find(|(key, value)| selector.iter().any(|(k, v)| k != *key && v == *value))
        .map(|(key, value)| (key.as_str(), value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_nearest_label_is_named() {
        let selector = labels(&[("run", "my-app")]);
        let pods = [
            labels(&[("app", "my-app"), ("pod-template-hash", "1")]),
            labels(&[("app", "my-app")]),
            labels(&[("run", "other")]),
        ];
        assert_eq!(
            text("my-app", &selector, pods.iter()).as_deref(),
            Some(
                "Service my-app selects no pod: it asks for run=my-app, 2 pods carry app=my-app; \
                 change the selector"
            )
        );
        assert_eq!(text("my-app", &selector, pods[2..].iter()), None);
    }
}
