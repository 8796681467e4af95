//! `ConversionReview`: what a conversion webhook is asked, and what it may answer.

use serde_json::{Value, json};

use crate::value::{at, list_at, str_at};

/// The versions of the review that we speak, the best last.
const VERSIONS: [&str; 2] = ["v1beta1", "v1"];

/// A review that asks for these objects in another `apiVersion`. The first of the hook's versions
/// that we know is taken.
pub fn request(versions: &[String], wanted: &str, objects: &[Value]) -> Result<Value, String> {
    let version = versions
        .iter()
        .find(|version| VERSIONS.contains(&version.as_str()))
        .ok_or("does not support known ConversionReview versions")?;
    // One conversion is told from another by its first object and where it goes.
    let uid = objects.first().map_or("", |object| str_at(object, "metadata.uid"));
    Ok(json!({
        "kind": "ConversionReview",
        "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {
            "uid": format!("{uid}-{wanted}"),
            "desiredAPIVersion": wanted,
            "objects": objects,
        },
    }))
}

/// The objects of an answer, checked: a hook may change nothing but labels and annotations of the
/// metadata.
pub fn answer(review: &Value, answer: Value, objects: &[Value]) -> Result<Vec<Value>, String> {
    let expected = str_at(review, "apiVersion");
    for (field, expected) in [("kind", "ConversionReview"), ("apiVersion", expected)] {
        let found = str_at(&answer, field);
        if found != expected {
            return Err(format!("expected webhook response of {field} {expected}, got {found}"));
        }
    }
    let response = at(&answer, "response");
    if !response.is_object() {
        return Err("no response provided".into());
    }
    if expected.ends_with("/v1") && response["uid"] != review["request"]["uid"] {
        return Err(format!(
            "expected response.uid={}, got {}",
            review["request"]["uid"], response["uid"]
        ));
    }
    if str_at(response, "result.status") != "Success" {
        let message = str_at(response, "result.message");
        return Err(match message {
            "" => "response.result.status was not Success and no message was given".to_owned(),
            message => message.to_owned(),
        });
    }
    let converted = list_at(response, "convertedObjects");
    if converted.len() != objects.len() {
        return Err(format!(
            "webhook returned {} objects, expected {}",
            converted.len(),
            objects.len()
        ));
    }
    let wanted = str_at(review, "request.desiredAPIVersion");
    let pairs = converted.iter().zip(objects).enumerate();
    pairs.map(|(at, (new, old))| one(at, new, old, wanted)).collect()
}

fn one(place: usize, new: &Value, old: &Value, wanted: &str) -> Result<Value, String> {
    let refuse = |why: String| Err(format!("invalid converted object at index {place}: {why}"));
    if str_at(new, "apiVersion") != wanted {
        let found = str_at(new, "apiVersion");
        return refuse(format!("invalid groupVersion: expected {wanted}, got {found}"));
    }
    if new["kind"] != old["kind"] {
        return refuse(format!("invalid kind: expected {}, got {}", old["kind"], new["kind"]));
    }
    for field in ["name", "namespace", "uid"] {
        if new["metadata"][field] != old["metadata"][field] {
            return refuse(format!(
                "invalid metadata.{field}: expected {}, got {}",
                old["metadata"][field], new["metadata"][field]
            ));
        }
    }
    let mut metadata = old["metadata"].clone();
    for field in ["labels", "annotations"] {
        match new["metadata"].get(field) {
            Some(map) if map.is_object() => metadata[field] = map.clone(),
            _ => {
                if let Some(metadata) = metadata.as_object_mut() {
                    metadata.remove(field);
                }
            }
        }
    }
    let mut new = new.clone();
    new["metadata"] = metadata;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_contents_may_change() {
        let old = json!({"apiVersion": "a.b/v1", "kind": "Foo",
            "metadata": {"name": "x", "uid": "u", "labels": {"a": "b"}}, "spec": {"host": "h:1"}});
        let objects = [old.clone()];
        let review = request(&["v2".into(), "v1".into()], "a.b/v2", &objects).unwrap();
        assert_eq!(review["apiVersion"], "apiextensions.k8s.io/v1");
        let with = |change: fn(&mut Value)| {
            let mut new = old.clone();
            new["apiVersion"] = "a.b/v2".into();
            new["spec"] = json!({"host": "h", "port": 1});
            let uid = review["request"]["uid"].clone();
            let mut document = json!({
                "kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
                "response": {"uid": uid, "result": {"status": "Success"},
                    "convertedObjects": [new]},
            });
            change(&mut document);
            answer(&review, document, &objects)
        };
        let good = with(|_| {}).unwrap();
        assert_eq!(good[0]["spec"], json!({"host": "h", "port": 1}));
        assert_eq!(good[0]["metadata"], old["metadata"]);
        for (change, expected) in [
            (
                (|a| a["response"]["convertedObjects"][0]["metadata"]["name"] = "y".into())
                    as fn(&mut Value),
                "invalid metadata.name",
            ),
            (|a| a["response"]["convertedObjects"] = json!([]), "returned 0 objects, expected 1"),
            (
                |a| a["response"]["result"] = json!({"status": "Failure", "message": "no way"}),
                "no way",
            ),
            (|a| a["apiVersion"] = "x/v1".into(), "expected webhook response of apiVersion"),
        ] {
            let error = with(change).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(request(&["v9".into()], "a.b/v2", &objects).is_err());
    }
}
