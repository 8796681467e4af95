//! `authorizer`: expressions of policies ask whether somebody may do something.
//!
//! ```text
//! authorizer.group('apps').resource('deployments').namespace('d').check('create').allowed()
//! authorizer.serviceAccount('ns', 'name').path('/healthz').check('get').reason()
//! authorizer.requestResource.check('delete').allowed()
//! ```

use std::any::Any;
use std::sync::Arc;

use super::EvalError;
use super::functions::text;
use super::value::{Opaque, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub struct Question {
    /// Namespace and name; `None`: whoever makes the request.
    pub service_account: Option<(String, String)>,
    /// Of what is no resource.
    pub path: Option<String>,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
    pub verb: String,
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What failed; empty: nothing.
    pub error: String,
}

/// Who decides.
pub trait Decide: Send + Sync {
    /// Whether it is allowed.
    fn decide(&self, question: &Question) -> Decision;
}

/// `authorizer`; its field `requestResource` asks about what the request is about.
pub fn authorizer<'a>(decide: Arc<dyn Decide>, request: Question) -> Value<'a> {
    asking(decide, Question::default(), Some(request))
}

fn asking<'a>(decide: Arc<dyn Decide>, question: Question, request: Option<Question>) -> Value<'a> {
    Value::Opaque(Arc::new(Asking { decide, question, request }))
}

struct Asking {
    decide: Arc<dyn Decide>,
    question: Question,
    /// What the request is about.
    request: Option<Question>,
}

struct Decided(Decision);

impl Opaque for Asking {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.Authorizer"
    }

    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Outcome<'v>> {
        let texts = args.iter().map(text).collect::<Result<Vec<_>, _>>().ok()?;
        let mut next = self.question.clone();
        match (name, texts.as_slice()) {
            ("serviceAccount", [namespace, name]) => {
                next.service_account = Some(((*namespace).into(), (*name).into()));
            }
            ("path", [path]) => next.path = Some((*path).into()),
            ("group", [group]) => next.group = (*group).into(),
            ("resource", [resource]) => next.resource = (*resource).into(),
            ("subresource", [part]) => next.subresource = (*part).into(),
            ("namespace", [namespace]) => next.namespace = (*namespace).into(),
            ("name", [name]) => next.name = (*name).into(),
            ("fieldSelector", [selector]) => next.field_selector = (*selector).into(),
            ("labelSelector", [selector]) => next.label_selector = (*selector).into(),
            ("check", [verb]) => {
                next.verb = (*verb).into();
                return Some(Ok(Value::Opaque(Arc::new(Decided(self.decide.decide(&next))))));
            }
            _ => return None,
        }
        Some(Ok(asking(Arc::clone(&self.decide), next, None)))
    }

    fn field<'v>(&self, name: &str) -> Option<Value<'v>> {
        let request = self.request.clone().filter(|_| name == "requestResource")?;
        Some(asking(Arc::clone(&self.decide), request, None))
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| other.question == self.question)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Opaque for Decided {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.Decision"
    }

    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Outcome<'v>> {
        if !args.is_empty() {
            return None;
        }
        Some(Ok(match name {
            "allowed" => self.0.allowed.into(),
            "reason" => self.0.reason.clone().into(),
            "error" => self.0.error.clone().into(),
            "errored" => (!self.0.error.is_empty()).into(),
            _ => return None,
        }))
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| other.0 == self.0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
