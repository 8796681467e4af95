//! Another server decides (`--authorization-mode=Webhook`): it is sent a SubjectAccessReview.

use std::time::Duration;

use onggi_machinery::authorization::Webhook as Options;
use onggi_machinery::value::{at, str_at};
use serde_json::{Map, Value, json};

use super::{Attributes, Authorizer, Because, Decision, Rules, Target};
use crate::authn::User;
use crate::callout::{Answers, Callout};

/// See the module.
pub(super) struct Webhook {
    options: Options,
    callout: Callout,
    /// By the question.
    answers: Answers<String, Answer>,
}

/// What it says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    NoOpinion,
}

type Answer = (Verdict, String);

impl Webhook {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let callout = Callout::new(&options.kubeconfig)?;
        Ok(Self { options: options.clone(), callout, answers: Answers::default() })
    }

    /// Asks, where the answer is not known.
    pub(super) async fn ask(&self, attributes: &Attributes<'_>) -> Decision {
        let spec = spec(attributes);
        match self.options.is_for(&spec) {
            Ok(true) => {}
            Ok(false) => return Decision::NoOpinion(Because::Nothing),
            Err(why) => return self.failed(&why),
        }
        let key = spec.to_string();
        if let Some(answer) = self.answers.get(&key) {
            return decision(answer);
        }
        let review = review(&self.options.version, spec);
        let answer = match self.callout.ask(&review, self.options.timeout).await {
            Ok(answer) => read(at(&answer, "status")),
            Err(why) => return self.failed(&why),
        };
        let time: Duration = match answer.0 {
            Verdict::Allow => self.options.authorized_ttl,
            Verdict::Deny | Verdict::NoOpinion => self.options.unauthorized_ttl,
        };
        self.answers.keep(key, answer.clone(), time);
        decision(answer)
    }

    fn failed(&self, why: &str) -> Decision {
        tracing::warn!(webhook = %self.options.name, why, "an authorization webhook failed");
        let because = Because::Text(why.to_owned());
        if self.options.denies_on_failure {
            return Decision::Deny(because);
        }
        Decision::NoOpinion(because)
    }
}

impl Authorizer for Webhook {
    /// For who cannot wait: on a thread of many, the others take over meanwhile.
    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        use tokio::runtime::{Handle, RuntimeFlavor};
        match Handle::try_current() {
            Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
                tokio::task::block_in_place(|| handle.block_on(self.ask(attributes)))
            }
            _ => self.failed("it cannot be asked from a runtime of one thread"),
        }
    }

    fn rules(&self, _: &User, _: &str) -> Rules {
        Rules {
            incomplete: true,
            errors: vec!["webhook authorizer does not support user rule resolution".into()],
            ..Rules::default()
        }
    }
}

/// What is sent. Groups had another name once.
fn review(version: &str, mut spec: Value) -> Value {
    if version == "v1beta1"
        && let Value::Object(fields) = &mut spec
        && let Some(groups) = fields.remove("groups")
    {
        fields.insert("group".into(), groups);
    }
    json!({
        "kind": "SubjectAccessReview",
        "apiVersion": format!("authorization.k8s.io/{version}"),
        "metadata": {"creationTimestamp": null},
        "spec": spec,
        "status": {"allowed": false},
    })
}

fn read(status: &Value) -> Answer {
    let verdict = match (at(status, "allowed") == true, at(status, "denied") == true) {
        (true, false) => Verdict::Allow,
        (false, true) => Verdict::Deny,
        (false, false) => Verdict::NoOpinion,
        (true, true) => {
            let text = "webhook subject access review returned both allow and deny response";
            return (Verdict::Deny, text.to_owned());
        }
    };
    (verdict, str_at(status, "reason").to_owned())
}

fn decision((verdict, reason): Answer) -> Decision {
    let because = if reason.is_empty() { Because::Nothing } else { Because::Text(reason) };
    match verdict {
        Verdict::Allow => Decision::Allow(because),
        Verdict::Deny => Decision::Deny(because),
        Verdict::NoOpinion => Decision::NoOpinion(because),
    }
}

/// The request as a `SubjectAccessReviewSpec`.
fn spec(attributes: &Attributes<'_>) -> Value {
    let Attributes { user, verb, target } = attributes;
    let mut spec = Map::new();
    match target {
        Target::Path(path) => {
            spec.insert("nonResourceAttributes".into(), json!({"path": path, "verb": verb}));
        }
        Target::Resource { group, resource, subresource, namespace, name, selector } => {
            let mut about = Map::new();
            for (field, text) in [
                ("namespace", *namespace),
                ("verb", *verb),
                ("group", *group),
                ("resource", *resource),
                ("subresource", *subresource),
                ("name", *name),
            ] {
                if !text.is_empty() {
                    about.insert(field.into(), text.into());
                }
            }
            let requirements: Vec<Value> = selector.split(',').filter_map(requirement).collect();
            if !requirements.is_empty() {
                about.insert("fieldSelector".into(), json!({"requirements": requirements}));
            }
            spec.insert("resourceAttributes".into(), about.into());
        }
    }
    spec.insert("user".into(), user.name.as_str().into());
    for (field, value, is_empty) in [
        ("groups", json!(user.groups), user.groups.is_empty()),
        ("extra", json!(user.extra), user.extra.is_empty()),
        ("uid", json!(user.uid), user.uid.is_empty()),
    ] {
        if !is_empty {
            spec.insert(field.into(), value);
        }
    }
    spec.into()
}

fn requirement(term: &str) -> Option<Value> {
    let (key, operator, value) = match term.split_once("!=") {
        Some((key, value)) => (key, "NotIn", value),
        None => {
            let (key, value) = term.split_once('=')?;
            (key, "In", value.strip_prefix('=').unwrap_or(value))
        }
    };
    Some(json!({"key": key, "operator": operator, "values": [value]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_as_a_review() {
        let user = User::new("jo", &["dev"]);
        let target = Target::Resource {
            group: "",
            resource: "pods",
            subresource: "",
            namespace: "d",
            name: "",
            selector: "spec.nodeName=n,status.phase!=Failed",
        };
        let found = spec(&Attributes { user: &user, verb: "list", target });
        let expected = json!({
            "resourceAttributes": {
                "namespace": "d", "verb": "list", "resource": "pods",
                "fieldSelector": {"requirements": [
                    {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
                    {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]},
                ]},
            },
            "user": "jo", "groups": ["dev", "system:authenticated"],
        });
        assert_eq!(found, expected);
        let path = Attributes { user: &user, verb: "get", target: Target::Path("/metrics") };
        let expected = json!({"path": "/metrics", "verb": "get"});
        assert_eq!(spec(&path)["nonResourceAttributes"], expected);
    }

    #[test]
    fn reviews_of_both_versions() {
        let spec = json!({"user": "jo", "groups": ["dev"], "uid": "7"});
        let new = review("v1", spec.clone());
        assert_eq!((&new["apiVersion"], &new["spec"]), (&json!("authorization.k8s.io/v1"), &spec));
        let old = review("v1beta1", spec);
        assert_eq!(
            (&old["apiVersion"], &old["spec"]),
            (
                &json!("authorization.k8s.io/v1beta1"),
                &json!({"user": "jo", "group": ["dev"], "uid": "7"})
            )
        );
    }

    #[test]
    fn what_it_answers() {
        for (status, expected) in [
            (json!({"allowed": true, "reason": "r"}), "Allow(Text(\"r\"))"),
            (json!({"allowed": false}), "NoOpinion(Nothing)"),
            (json!({"allowed": false, "denied": true, "reason": "r"}), "Deny(Text(\"r\"))"),
        ] {
            assert_eq!(format!("{:?}", decision(read(&status))), expected);
        }
    }
}
