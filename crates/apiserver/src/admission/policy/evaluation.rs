//! The expressions of one policy on one request.

use std::collections::HashMap;
use std::sync::Arc;

use onggi_machinery::cel::{Budget, EvalError, Fields, Map, Value as Cel, Variables};
use parking_lot::Mutex;

use crate::admission::expression::{Compiled, Scope};

/// The variables of a policy: each is evaluated when an expression first asks for it, and may use
/// those before it.
#[derive(Clone)]
struct Lazy<'a> {
    inner: Arc<Inner<'a>>,
    /// Only the first so many are seen.
    visible: usize,
}

struct Inner<'a> {
    programs: Arc<Vec<(String, Compiled)>>,
    scope: Variables<'a>,
    known: Mutex<HashMap<usize, Result<Cel<'a>, EvalError>>>,
}

impl<'a> Fields<'a> for Lazy<'a> {
    fn field(&self, name: &str) -> Result<Option<Cel<'a>>, EvalError> {
        let programs = &self.inner.programs;
        let visible = programs.iter().take(self.visible);
        let Some(at) = visible.into_iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        if let Some(known) = self.inner.known.lock().get(&at) {
            return known.clone().map(Some);
        }
        let value = self.evaluate(at, name);
        self.inner.known.lock().insert(at, value.clone());
        value.map(Some)
    }
}

impl<'a> Lazy<'a> {
    fn evaluate(&self, at: usize, name: &str) -> Result<Cel<'a>, EvalError> {
        let wrong = |why: &str| {
            EvalError::new(format!("composited variable {name:?} fails to evaluate: {why}"))
        };
        let program = match &self.inner.programs[at].1 {
            Ok(program) => program,
            Err(why) => {
                let text = format!("composited variable {name:?} fails to compile: {why}");
                return Err(EvalError::new(text));
            }
        };
        let earlier = Self { inner: Arc::clone(&self.inner), visible: at };
        let mut variables = self.inner.scope.clone();
        variables.set("variables", Cel::Map(Map::Lazy(Arc::new(earlier))));
        program
            .evaluate(&variables, &mut Budget::per_call())
            .map_err(|error| wrong(&error.to_string()))
    }
}

/// Everything that an expression of the policy may name.
pub(super) fn variables<'a>(
    scope: &Scope<'a>,
    programs: &Arc<Vec<(String, Compiled)>>,
) -> Variables<'a> {
    let mut variables = scope.variables();
    let inner =
        Inner { programs: Arc::clone(programs), scope: variables.clone(), known: Mutex::default() };
    let lazy = Lazy { visible: programs.len(), inner: Arc::new(inner) };
    variables.set("variables", Cel::Map(Map::Lazy(Arc::new(lazy))));
    variables
}

/// Runs an expression; its error in Kubernetes' words.
pub(super) fn run<'a>(
    text: &str,
    program: &Compiled,
    variables: &Variables<'a>,
    budget: &mut Budget,
) -> Result<Cel<'a>, String> {
    let program = program.as_ref().map_err(Clone::clone)?;
    program
        .evaluate(variables, budget)
        .map_err(|error| format!("expression '{text}' resulted in error: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::expression;
    use serde_json::{Value, json};

    #[test]
    fn variables_use_earlier_ones() {
        let programs: Vec<(String, Compiled)> = [
            ("replicas", "object.spec.replicas"),
            ("odd", "variables.replicas % 2 == 1"),
            ("wrong", "object.nothing"),
            ("early", "variables.late"),
            ("late", "1"),
        ]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), expression::read(text, &expression::of_policies())))
        .collect();
        let (object, none) = (json!({"spec": {"replicas": 3}}), Value::Null);
        let scope = Scope {
            object: &object,
            old: &none,
            request: &none,
            params: &none,
            namespace: &none,
            authorizer: Cel::Null,
        };
        let variables = variables(&scope, &Arc::new(programs));
        let check = |text: &str| {
            let program = expression::read(text, &expression::of_policies());
            let mut budget = Budget::per_call();
            run(text, &program, &variables, &mut budget).map(|value| value.as_bool())
        };
        assert_eq!(check("variables.odd"), Ok(Some(true)));
        assert_eq!(check("variables.replicas == 3 && variables.late == 1"), Ok(Some(true)));
        assert!(check("variables.wrong").unwrap_err().contains("composited variable \"wrong\""));
        assert!(check("variables.early").is_err());
        assert!(check("variables.nowhere").is_err());
    }
}
