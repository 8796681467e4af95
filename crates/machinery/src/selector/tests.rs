//! Label selectors as tables.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn texts_select() {
    let object = labels(&[("app", "web"), ("tier", "front"), ("n", "5"), ("in", "x"), ("e", "")]);
    let cases = [
        ("", true),
        ("  ", true),
        ("app=web", true),
        ("app == web , tier=front", true),
        ("app=db", false),
        ("app!=db", true),
        ("other!=db", true),
        ("app in (db, web)", true),
        ("app in (db)", false),
        ("app notin (db,cache)", true),
        ("other notin (db)", true),
        ("app notin (web)", false),
        ("app", true),
        ("other", false),
        ("!other", true),
        ("! app", false),
        ("n>4,n<6", true),
        ("n>5", false),
        ("app>1", false),
        ("in in (x)", true),
        ("e=", true),
        ("e=,app", true),
        ("e in (,a)", true),
        ("x.example.com/app=1", false),
    ];
    for (text, expected) in cases {
        let selector = LabelSelector::parse(text).unwrap();
        assert_eq!(selector.matches(&object), expected, "{text}");
        assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector), "{text}");
    }
    assert!(!LabelSelector::nothing().matches(&object));
}

#[test]
fn bad_texts_are_told_as_kubernetes_tells_them() {
    let cases = [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        (
            "a===b",
            "unable to parse requirement: found '===', expected: in, notin, =, ==, !=, gt, lt",
        ),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a==(b", "unable to parse requirement: found '(', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
    ];
    for (text, expected) in cases {
        assert_eq!(LabelSelector::parse(text).unwrap_err().0, expected, "{text}");
    }
    for text in ["a=@", "-=b", "a>b", "a/b/c", "a<", "((((", "가=나", "a=가"] {
        let error = LabelSelector::parse(text).unwrap_err().0;
        assert!(error.starts_with("unable to parse requirement: ") || text == "((((", "{error}");
    }
}

#[test]
fn objects_select() {
    let object = labels(&[("app", "web")]);
    let select =
        |selector: Value| LabelSelector::from_object(&selector).map(|s| s.matches(&object));
    assert_eq!(select(Value::Null), Ok(false));
    assert_eq!(select(json!({})), Ok(true));
    assert_eq!(select(json!({"matchLabels": {"app": "web"}})), Ok(true));
    let with = |operator: &str, values: Value| {
        select(json!({"matchLabels": {"app": "web"},
                      "matchExpressions": [{"key": "app", "operator": operator, "values": values}]}))
    };
    assert_eq!(with("In", json!(["web"])), Ok(true));
    assert_eq!(with("NotIn", json!(["web"])), Ok(false));
    assert_eq!(with("Exists", json!([])), Ok(true));
    assert_eq!(with("DoesNotExist", Value::Null), Ok(false));
    assert!(with("In", json!([])).is_err());
    assert_eq!(
        with("Near", json!([])).unwrap_err().0,
        "\"Near\" is not a valid label selector operator"
    );
    let everything = LabelSelector::from_object(&json!({})).unwrap();
    assert!(everything.is_everything() && everything.matches_value(&Value::Null));
}
