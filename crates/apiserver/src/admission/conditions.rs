//! `matchConditions`: expressions that must all hold, or the webhook or policy is not for the
//! request.

use onggi_machinery::cel::{Budget, Declarations, Variables};
use onggi_machinery::value::str_at;
use serde_json::Value;

use super::expression::{self, Compiled};

/// In their order.
pub(super) struct Conditions {
    all: Vec<(String, Compiled)>,
    /// `failurePolicy: Ignore`: one that fails counts as one that does not hold.
    ignore: bool,
}

impl Conditions {
    pub(super) fn compile(list: &[Value], declarations: &Declarations, ignore: bool) -> Self {
        let read = |condition: &Value| {
            let text = str_at(condition, "expression");
            (text.to_owned(), expression::read(text, declarations))
        };
        Self { all: list.iter().map(read).collect(), ignore }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether all hold. One that is false decides, whatever fails beside it.
    pub(super) fn hold(&self, variables: &Variables<'_>) -> Result<bool, String> {
        let mut budget = Budget::new(Budget::MATCH_CONDITIONS);
        let mut failed = Vec::new();
        for (text, program) in &self.all {
            let program = match program {
                Ok(program) => program,
                Err(why) => {
                    failed.push(why.clone());
                    continue;
                }
            };
            match program.evaluate(variables, &mut budget).map(|value| value.as_bool()) {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Ok(false),
                Ok(None) => failed.push(format!("expression '{text}' resulted in no bool")),
                Err(error) => {
                    failed.push(format!("expression '{text}' resulted in error: {error}"))
                }
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            _ if self.ignore => Ok(false),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onggi_machinery::cel::Value as Cel;
    use serde_json::json;

    #[test]
    fn all_must_hold() {
        let object = json!({"metadata": {"name": "a"}});
        let mut variables = Variables::default();
        variables.set("object", Cel::json(&object));
        for (expressions, ignore, expected) in [
            (&["object.metadata.name == 'a'"][..], false, Ok(true)),
            (&["object.metadata.name == 'b'"], false, Ok(false)),
            (&["object.nothing == 'b'", "false"], false, Ok(false)),
            (&["object.nothing == 'b'"], true, Ok(false)),
            (&["object.nothing == 'b'"], false, Err(())),
            (&["object.("], false, Err(())),
        ] {
            let list: Vec<_> = expressions.iter().map(|text| json!({"expression": text})).collect();
            let declarations = expression::of_webhooks();
            let found = Conditions::compile(&list, &declarations, ignore).hold(&variables);
            assert_eq!(found.map_err(drop), expected, "{expressions:?}");
        }
    }
}
