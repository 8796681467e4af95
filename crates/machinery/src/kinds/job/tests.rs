//! Jobs: defaults, the selector that is made for them, rules, rows.

use serde_json::{Value, json};

use super::RESOURCE;
use crate::kinds::testing::{created, expect, yaml};

const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: pi, namespace: d, uid: u1}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: 'x:1'}]}
";

fn made(text: &str) -> Value {
    let mut job = created(&RESOURCE, text);
    super::generate_selector(&mut job);
    job
}

#[test]
fn defaults_and_selector() {
    let job = made(JOB);
    let spec = &job["spec"];
    for (field, value) in [
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
        ("selector", json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}})),
    ] {
        assert_eq!(spec[field], value, "{field}");
    }
    assert_eq!(
        spec["template"]["metadata"]["labels"],
        json!({
            "batch.kubernetes.io/controller-uid": "u1", "batch.kubernetes.io/job-name": "pi",
            "controller-uid": "u1", "job-name": "pi",
        })
    );
    expect(&(RESOURCE.validate)(&job), &[], "as made");
    let queue = made(&JOB.replace("spec:\n  template", "spec:\n  parallelism: 2\n  template"));
    assert_eq!(
        (&queue["spec"]["parallelism"], queue["spec"].get("completions")),
        (&json!(2), None)
    );
}

#[test]
fn a_job_without_labels_has_those_of_its_pods() {
    let finished = |text: &str| {
        let mut job = created(&RESOURCE, text);
        RESOURCE.finish_create.unwrap()(&mut job);
        job
    };
    let made = finished(JOB);
    assert_eq!(made["metadata"]["labels"], made["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(made["metadata"]["labels"]["batch.kubernetes.io/job-name"], "pi");
    let own = finished(&JOB.replace("    spec:", "    metadata: {labels: {a: b}}\n    spec:"));
    assert_eq!(own["metadata"]["labels"], own["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(own["metadata"]["labels"]["a"], "b");
    let labelled = finished(&JOB.replace("{name: pi,", "{name: pi, labels: {x: z},"));
    assert_eq!(labelled["metadata"]["labels"], json!({"x": "z"}));
}

#[test]
fn rules() {
    let spec = "spec:\n  template";
    for (from, to, expected) in [
        (
            "restartPolicy: Never, ",
            "",
            &[
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ][..],
        ),
        (spec, "spec:\n  completionMode: Indexed\n  template", &[]),
        (
            spec,
            "spec:\n  completionMode: Indexed\n  parallelism: 2\n  template",
            &["spec.completions: Required value: when completion mode is Indexed"],
        ),
        (
            spec,
            "spec:\n  backoffLimitPerIndex: 1\n  template",
            &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
        (
            spec,
            "spec:\n  successPolicy: {rules: [{succeededIndexes: '0,2-1', succeededCount: 9}]}\n  completionMode: Indexed\n  completions: 4\n  template",
            &[
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0,2-1\": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1",
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 9: must be less than or equal to 4",
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 9: must be less than or equal to 0",
            ],
        ),
        (
            spec,
            "spec:\n  podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [3, 0, 3], containerName: z}}, {action: FailIndex}]}\n  template",
            &[
                "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"z\": must be one of",
                "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
                "spec.podFailurePolicy.rules[1].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
                "spec.podFailurePolicy.rules[1]: Invalid value: specifying one of OnExitCodes",
            ],
        ),
        (
            "template:\n",
            "selector: {matchLabels: {a: b}}\n  template:\n",
            &[
                "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u1\"}}: `selector` not auto-generated",
                "spec.template.metadata.labels: Invalid value: {",
            ],
        ),
        ("template:\n", "manualSelector: true\n  template:\n", &["spec.selector: Required value"]),
    ] {
        let text = JOB.replacen(from, to, 1);
        assert_ne!(text, JOB);
        expect(&(RESOURCE.validate)(&made(&text)), expected, &text);
    }
}

#[test]
fn what_stays() {
    let old = made(JOB);
    let mut new = old.clone();
    new["spec"]["parallelism"] = 5.into();
    new["spec"]["suspend"] = true.into();
    expect(&(RESOURCE.validate_update)(&new, &old), &[], "scale and suspend");
    new["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    expect(
        &(RESOURCE.validate_update)(&new, &old),
        &["spec.template: Invalid value: {"],
        "a running job goes nowhere else",
    );
    let mut waiting = old.clone();
    waiting["spec"]["suspend"] = true.into();
    expect(&(RESOURCE.validate_update)(&new, &waiting), &[], "a suspended one may");
    let mut done = old.clone();
    done["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    expect(
        &(RESOURCE.validate_update)(&done, &old),
        &[
            "status.conditions: Invalid value: null: cannot set Complete=True condition without",
            "status.startTime: Required value: startTime is required for finished job",
            "status.completionTime: Required value: completionTime is required for Complete jobs",
        ],
        "a status without its parts",
    );
}

#[test]
fn rows() {
    const NOW: i64 = 1_767_225_600;
    let check = |status: &str, cells: [&str; 3]| {
        let job = yaml(&format!(
            "{{metadata: {{name: j}}, spec: {{completions: 2, template: {{}}}}, status: {{{status}}}}}"
        ));
        let row = (RESOURCE.row)(&job, NOW);
        assert_eq!(row[1..4], cells.map(Value::from), "{status}");
    };
    check("", ["Running", "0/2", ""]);
    check("succeeded: 1, startTime: '2025-12-31T23:59:30Z'", ["Running", "1/2", "30s"]);
    check(
        "succeeded: 2, startTime: '2025-12-31T23:00:00Z', completionTime: '2025-12-31T23:00:10Z', \
         conditions: [{type: Complete, status: 'True'}]",
        ["Complete", "2/2", "10s"],
    );
    check("conditions: [{type: Suspended, status: 'True'}]", ["Suspended", "0/2", ""]);
}
