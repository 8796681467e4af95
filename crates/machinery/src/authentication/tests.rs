//! What a configuration of authentication means, and what is wrong with one.

use serde_json::json;

use super::*;

const FILE: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous: {enabled: true, conditions: [{path: /livez}]}
jwt:
- issuer:
    url: https://issuer.example
    audiences: [a, b]
    audienceMatchPolicy: MatchAny
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: "claims.exp - claims.iat <= 3600", message: too long}
  claimMappings:
    username: {expression: "claims.sub + ':jo'"}
    groups: {claim: roles, prefix: "idp:"}
    uid: {claim: sub}
    extra:
    - {key: example.com/tenant, valueExpression: claims.tenant}
  userValidationRules:
  - {expression: "!user.username.startsWith('system:')", message: reserved}
"#;

#[test]
fn claims_become_a_user() {
    let file = read(FILE).unwrap();
    let paths = vec!["/livez".to_owned()];
    assert_eq!(file.anonymous, Some(Anonymous { enabled: true, paths }));
    let jwt = &file.jwt[0];
    let claims = json!({
        "sub": "7", "hd": "example.com", "exp": 10, "iat": 1, "roles": ["dev", "ops"],
        "tenant": "t",
    });
    let found = user(jwt, &claims).unwrap();
    assert_eq!((found.name.as_str(), found.uid.as_str()), ("7:jo", "7"));
    assert_eq!(found.groups, ["idp:dev", "idp:ops"]);
    assert_eq!(found.extra["example.com/tenant"], ["t"]);
    let with = |key: &str, value: serde_json::Value| {
        let mut changed = claims.clone();
        changed[key] = value;
        user(jwt, &changed)
    };
    assert_eq!(with("roles", "one".into()).unwrap().groups, ["idp:one"]);
    for (key, value, problem) in [
        ("hd", json!("x"), "required claim hd value does not match. Got = x, want = example.com"),
        ("hd", json!(null), "required claim hd not present in ID token"),
        (
            "exp",
            json!(9999),
            "claim validation expression: validation expression 'claims.exp - claims.iat <= 3600' failed: too long",
        ),
        ("sub", json!("system:x"), "failed: reserved"),
        ("roles", json!(1), "parse groups claim \"roles\""),
    ] {
        let error = with(key, value).unwrap_err();
        assert!(error.starts_with("oidc: ") && error.contains(problem), "{error}");
    }
}

#[test]
fn odd_files() {
    let file = |jwt: &str| {
        format!(
            "{{apiVersion: apiserver.config.k8s.io/v1beta1, kind: AuthenticationConfiguration, jwt: [{jwt}]}}"
        )
    };
    for (jwt, problem) in [
        (
            "{issuer: {url: 'http://a', audiences: [x]}, claimMappings: {username: {claim: sub, prefix: ''}}}",
            "jwt[0].issuer.url: Invalid value: \"http://a\": URL scheme must be https",
        ),
        (
            "{issuer: {url: 'https://a'}, claimMappings: {username: {claim: sub, prefix: ''}}}",
            "jwt[0].issuer.audiences: Required value",
        ),
        (
            "{issuer: {url: 'https://a', audiences: [x]}, claimMappings: {username: {claim: sub}}}",
            "jwt[0].claimMappings.username.prefix: Required value",
        ),
        (
            "{issuer: {url: 'https://a', audiences: [x]}, claimMappings: {}}",
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        ),
        (
            "{issuer: {url: 'https://a', audiences: [x]}, claimMappings: {username: {expression: claims.email}}}",
            "claims.email_verified must be used",
        ),
        (
            "{issuer: {url: 'https://a', audiences: [x]}, claimMappings: {username: {expression: 'claims.('}}}",
            "jwt[0].claimMappings.username.expression: Invalid value",
        ),
        (
            "{issuer: {url: 'https://a', audiences: [x]}, odd: 1, claimMappings: {username: {claim: sub, prefix: ''}}}",
            "jwt[0].odd: Forbidden: unknown field",
        ),
    ] {
        let error = read(&file(jwt)).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    assert!(
        read("{apiVersion: v1, kind: X}").unwrap_err().contains("apiVersion: Unsupported value")
    );
}
