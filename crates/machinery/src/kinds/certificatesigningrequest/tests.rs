//! Requests for certificates: rules, approval, rows.

use super::*;
use crate::kinds::testing::{created, expect};

/// Of `system:node:n1`, with a key on P-256.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVRSUk9jdFB6VUQ4UzNpCkEvR04zcWphOU4rZ0xHNjYxWkJCYlhzRnVvTFMvTFNDS1hMa3Y1R2FnSlovT3RSaXQwc1g4YUhFam9XcDFRUU8KMHZNbStxQWdvQUF3Q2dZSUtvWkl6ajBFQXdJRFJ3QXdSQUlnV0VhR0Q4ZlFmM2VzNkhZMmtxbW5kaUdXSkl1cApudThlY1VyMjVkQkc0UzRDSUZkazNXR3Q2V3kvNmhSOXpNTEhZYUlxWnlIby9wK0VjRkc1R0c4TURqdUUKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";
const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJjRENDQVJXZ0F3SUJBZ0lVZkI0Y0NlWmFYL1JkU05IVndUSTdEMDZLeFdvd0NnWUlLb1pJemowRUF3SXcKRERFS01BZ0dBMVVFQXd3QmVEQWdGdzB5TmpFeE16QXdNakEzTkRkYUdBOHlNVEkyTVRFd05qQXlNRGMwTjFvdwpEREVLTUFnR0ExVUVBd3dCZURCWk1CTUdCeXFHU000OUFnRUdDQ3FHU000OUF3RUhBMElBQk5GRTV5MC9OUVB4CkxlSUQ4WTNlcU5yMDM2QXNicnJWa0VGdGV3VzZndEw4dElJcGN1Uy9rWnFBbG44NjFHSzNTeGZ4b2NTT2hhblYKQkE3Uzh5YjZvQ0NqVXpCUk1CMEdBMVVkRGdRV0JCUit6aU9RS2JlcU5uVEcwSVF4dCtTWThkNHVPVEFmQmdOVgpIU01FR0RBV2dCUit6aU9RS2JlcU5uVEcwSVF4dCtTWThkNHVPVEFQQmdOVkhSTUJBZjhFQlRBREFRSC9NQW9HCkNDcUdTTTQ5QkFNQ0Ewa0FNRVlDSVFET2RZU0JRNjFRN2NRUmFsNDZhZEhvREFqNi8yOFJlM0RnWHczWURFVmsKamdJaEFKaDgvQk9aNG1BYVNwVVRqWkhOV0orNk1FT0dETnNKd25UUUJ5eGFPcDh3Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

fn request() -> Value {
    let text = format!(
        "{{metadata: {{name: c}}, spec: {{request: {REQUEST}, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], expirationSeconds: 3600, username: me}}}}"
    );
    created(&RESOURCE, &text)
}

fn with_conditions(conditions: Value) -> Value {
    let mut object = request();
    object["status"] = json!({ "conditions": conditions });
    object
}

#[test]
fn a_new_one() {
    let object = request();
    assert_eq!(object["spec"].get("username"), None);
    assert_eq!(object["status"], json!({}));
    expect(&validate(&object), &[], "right");
    const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
    for (request, usages, signer) in [
        (REQUEST, &["digital signature", "client auth"][..], Some(CLIENT)),
        (REQUEST, &["digital signature", "key encipherment", "client auth"], Some(CLIENT)),
        (REQUEST, &["client auth"], None),
        (REQUEST, &["digital signature", "server auth"], None),
        (CERTIFICATE, &["digital signature", "client auth"], None),
        ("", &["digital signature", "client auth"], None),
    ] {
        let usages: Vec<&str> = usages.to_vec();
        assert_eq!(kubelet_signer(request, &usages), signer, "{usages:?}");
    }
    let cells =
        json!(["c", "<unknown>", "kubernetes.io/kube-apiserver-client", "", "60m", "Pending"]);
    assert_eq!(Value::from(row(&object, 0)), cells);
}

#[test]
fn what_is_wrong() {
    for (spec, expected) in [
        (
            json!({"request": "eA==", "signerName": "a", "usages": ["x", "any", "any"], "expirationSeconds": 5}),
            &[
                "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST",
                "spec.usages[0]: Unsupported value: \"x\": supported values: \"any\", \"cert sign\"",
                "spec.usages[2]: Duplicate value: \"any\"",
                "spec.signerName: Invalid value: \"a\": must be a fully qualified domain and path",
                "spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 600",
            ][..],
        ),
        (
            json!({"request": REQUEST, "signerName": "Ab/c_d"}),
            &[
                "spec.usages: Required value",
                "spec.signerName: Invalid value: \"Ab\": validating label \"Ab\": a lowercase RFC 1123 label",
                "spec.signerName: Invalid value: \"Ab\": should be a domain with at least two segments",
                "spec.signerName: Invalid value: \"c_d\": validating label \"c_d\": a lowercase",
            ],
        ),
    ] {
        expect(&validate(&json!({ "spec": spec })), expected, &spec.to_string());
    }
    let legacy =
        json!({"spec": {"request": REQUEST, "signerName": LEGACY_SIGNER, "usages": ["any"]}});
    expect(&validate(&legacy), &[], "what is there stays right");
    let expected =
        "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName";
    expect(&validate_create(&legacy), &[expected], "and is asked for no more");
    let mut forged = STANDARD.decode(REQUEST).unwrap();
    let at = forged.len() - 80;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    assert!(check_request(&STANDARD.encode(forged)).is_err());
}

#[test]
fn approval() {
    let approved = json!({"type": "Approved", "status": "True", "reason": "r"});
    let denied = json!({"type": "Denied", "status": "True"});
    let (old, mut new) = (request(), with_conditions(json!([approved])));
    new["spec"]["request"] = "other".into();
    new["status"]["certificate"] = CERTIFICATE.into();
    prepare_approval(&mut new, &old);
    assert_eq!(new["spec"], old["spec"]);
    assert_eq!(new["status"], json!({ "conditions": [approved] }));
    expect(&validate_approval(&new, &old), &[], "approved");
    assert_eq!(condition_text(&new), "Approved");
    stamp_conditions(&mut new, &old, "2026-01-01T00:00:00Z");
    assert_eq!(new["status"]["conditions"][0]["lastTransitionTime"], "2026-01-01T00:00:00Z");

    // Through the status nobody approves, and nobody takes an approval back.
    let refused =
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""];
    expect(&validate_update(&new, &old), &refused, "added");
    let mut later = with_conditions(json!([{"type": "Approved", "status": "True", "reason": "s"}]));
    prepare_update(&mut later, &new);
    assert_eq!(later["status"]["conditions"], new["status"]["conditions"]);
    expect(
        &validate_approval(&old, &new),
        &["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""],
        "removed",
    );
    let both = with_conditions(json!([approved, denied]));
    expect(
        &validate(&both),
        &[
            "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
        ],
        "both",
    );
}

#[test]
fn the_certificate() {
    let (old, mut new) = (request(), request());
    new["status"]["certificate"] = CERTIFICATE.into();
    expect(&validate_update(&new, &old), &[], "set");
    assert_eq!(condition_text(&new), "Pending,Issued");
    let taken =
        ["status.certificate: Forbidden: updates may not modify existing certificate content"];
    expect(&validate_update(&old, &new), &taken, "taken away");
    new["status"]["certificate"] = REQUEST.into();
    let other = [
        "status.certificate: Invalid value: \"<certificate data>\": only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"",
    ];
    expect(&validate_update(&new, &old), &other, "no certificate");
}
