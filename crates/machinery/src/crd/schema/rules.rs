//! `x-kubernetes-validations`: rules in CEL, compiled once for a schema
//! (`apiextensions-apiserver/pkg/apiserver/schema/cel`).

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_api::{FieldError, FieldPath};
use serde_json::Value;

use super::{Additional, Schema, lists};
use crate::cel::{self, Budget, Declarations, Program, Shape, Value as Cel, Variables};
use crate::validation::{At, Errors};
use crate::value::{bool_at, str_at};

/// The longest message of an expression.
const MAX_MESSAGE: usize = 5120;

/// The rules of a schema and of its parts; parts without any are left out.
#[derive(Debug, Default)]
pub struct Rules {
    own: Vec<Rule>,
    properties: BTreeMap<String, Rules>,
    items: Option<Box<Rules>>,
    additional: Option<Box<Rules>>,
}

#[derive(Debug)]
struct Rule {
    program: Program,
    message: String,
    message_expression: Option<Program>,
    reason: Reason,
    /// Below the place of the rule.
    field_path: String,
    transition: bool,
    optional_old: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Invalid,
    Forbidden,
    Required,
    Duplicate,
}

fn reason(text: &str) -> Option<Reason> {
    Some(match text {
        "" | "FieldValueInvalid" => Reason::Invalid,
        "FieldValueForbidden" => Reason::Forbidden,
        "FieldValueRequired" => Reason::Required,
        "FieldValueDuplicate" => Reason::Duplicate,
        _ => return None,
    })
}

/// The names that rules know.
pub(super) fn declarations() -> Declarations {
    Declarations::new(["self", "oldSelf"]).lenient()
}

// === Compiling ===

/// The rules of a schema; `None` when there is none. Rules that cannot be compiled are left out:
/// no definition with such a one is taken.
pub fn compile(schema: &Schema) -> Option<Rules> {
    let own = schema.rules.iter().filter_map(rule).collect();
    let properties = schema.properties.iter();
    let properties =
        properties.filter_map(|(name, schema)| Some((name.clone(), compile(schema)?))).collect();
    let rules = Rules {
        own,
        properties,
        items: schema.items.as_ref().and_then(|items| compile(items)).map(Box::new),
        additional: match &schema.additional {
            Some(Additional::Of(schema)) => compile(schema).map(Box::new),
            _ => None,
        },
    };
    (!rules.is_empty()).then_some(rules)
}

fn rule(value: &Value) -> Option<Rule> {
    let program = cel::compile(str_at(value, "rule"), &declarations()).ok()?;
    let expression = str_at(value, "messageExpression");
    Some(Rule {
        transition: program.uses("oldSelf"),
        optional_old: value["optionalOldSelf"] == true,
        program,
        message: str_at(value, "message").trim().to_owned(),
        message_expression: cel::compile(expression, &declarations()).ok(),
        reason: reason(str_at(value, "reason"))?,
        field_path: plain_path(str_at(value, "fieldPath"))?,
    })
}

/// `.spec['a-b'].c` as `spec.a-b.c`; `None` when it cannot be read.
fn plain_path(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("['") {
            let (name, after) = after.split_once("']")?;
            parts.push(name.to_owned());
            rest = after;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if name.is_empty() {
                return None;
            }
            parts.push(name.to_owned());
            rest = after;
        }
    }
    Some(parts.join("."))
}

impl Rules {
    fn is_empty(&self) -> bool {
        self.own.is_empty()
            && self.properties.is_empty()
            && self.items.is_none()
            && self.additional.is_none()
    }
}

// === Checking a definition ===

/// What is wrong with the rules of a definition's schema, which is otherwise right.
pub fn check(schema: &At<'_>, errors: &mut Errors) {
    part(schema, None, errors);
}

/// `unrelated`: the place above in which an old value cannot be found for a new one.
fn part(schema: &At<'_>, unrelated: Option<&FieldPath>, errors: &mut Errors) {
    let rules = schema.value["x-kubernetes-validations"].as_array();
    if let Some(rules) = rules.filter(|rules| !rules.is_empty()) {
        let read = Schema::read(schema.value);
        for (place, value) in rules.iter().enumerate() {
            let path = schema.path.child("x-kubernetes-validations").index(place);
            one(&At::new(value, path), &read, unrelated, errors);
        }
    }
    let says =
        |name: &str, wanted: &str| schema.value.get(name).and_then(Value::as_str) == Some(wanted);
    let atomic_list = says("type", "array") && !says("x-kubernetes-list-type", "map");
    let atomic_map = says("x-kubernetes-map-type", "atomic");
    let below = |name: &str, value| At::new(value, schema.path.child(name));
    for (name, value) in schema.value["properties"].as_object().into_iter().flatten() {
        let place = below(&format!("properties[{name}]"), value);
        let unrelated = unrelated.or(atomic_map.then_some(&schema.path));
        part(&place, unrelated, errors);
    }
    if schema.value["items"].is_object() {
        let unrelated = unrelated.or(atomic_list.then_some(&schema.path));
        part(&below("items", &schema.value["items"]), unrelated, errors);
    }
    if schema.value["additionalProperties"].is_object() {
        let place = below("additionalProperties", &schema.value["additionalProperties"]);
        let unrelated = unrelated.or(atomic_map.then_some(&schema.path));
        part(&place, unrelated, errors);
    }
}

fn one(rule: &At<'_>, schema: &Schema, unrelated: Option<&FieldPath>, errors: &mut Errors) {
    let (text, message, expression) =
        (rule.child("rule"), rule.child("message"), rule.child("messageExpression"));
    if text.text().trim().is_empty() {
        errors.push(text.required("rule is not specified"));
        return;
    }
    let before = errors.len();
    let broken = |text: &str| text.trim().contains(['\n', '\r']);
    if !message.text().is_empty() && message.text().trim().is_empty() {
        errors.push(message.invalid("must be non-empty if specified"));
    } else if broken(message.text()) {
        errors.push(message.invalid("must not contain line breaks"));
    } else if message.text().is_empty() && broken(text.text()) {
        errors.push(message.required("message must be specified if rule contains line breaks"));
    }
    if expression.is_set() && expression.text().trim().is_empty() {
        let wanted = "messageExpression must be non-empty if specified";
        errors.push(expression.required(wanted));
    }
    let reasons =
        ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    rule.child("reason").one_of(&reasons, errors);
    let field = rule.child("fieldPath");
    if !field.text().is_empty() {
        if field.text().trim().is_empty() {
            errors.push(field.invalid("must be non-empty if specified"));
        }
        if field.text().contains(['\n', '\r']) {
            errors.push(field.invalid("must not contain line breaks"));
        }
        let path = plain_path(field.text()).filter(|path| !path.is_empty());
        if path.is_none_or(|path| schema.path(&path).is_none()) {
            errors.push(field.invalid("must be a valid path"));
        }
    }
    // Expressions are looked at where all else is right.
    if errors.len() > before {
        return;
    }
    let told = |at: &At<'_>, detail: String| FieldError {
        shown: Some(shown(rule.value)),
        ..FieldError::invalid(&at.path, Value::Null, detail)
    };
    let optional_old = bool_at(rule.value, "optionalOldSelf");
    match cel::compile(text.text(), &declarations()) {
        Err(error) => {
            errors.push(told(&text, format!("compilation failed: {error}")));
        }
        Ok(program) => {
            let types = program.check_types(schema, optional_old);
            let kind_is_known = types.is_ok();
            match types {
                Err(error) => {
                    errors.push(told(&text, format!("compilation failed: {error}")));
                }
                Ok(kind) if kind != "bool" => {
                    let detail = "cel expression must evaluate to a bool";
                    errors.push(told(&text, detail.to_owned()));
                }
                Ok(_) => {}
            }
            let optional = rule.child("optionalOldSelf");
            let uses_old = kind_is_known && program.uses("oldSelf");
            if !uses_old && optional.is_set() {
                errors.push(optional.invalid("may not be set if oldSelf is not used in rule"));
            }
            if let Some(above) = unrelated.filter(|_| uses_old) {
                errors.push(text.invalid(format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within \
                     {above}"
                )));
            }
        }
    }
    if !expression.text().trim().is_empty() {
        let found = cel::compile(expression.text(), &declarations())
            .and_then(|program| program.check_types(schema, optional_old));
        match found {
            Err(error) => {
                let detail = format!("messageExpression compilation failed: {error}");
                errors.push(told(&expression, detail));
            }
            Ok(kind) if kind != "string" => {
                let detail = "messageExpression must evaluate to a string";
                errors.push(told(&expression, detail.to_owned()));
            }
            Ok(_) => {}
        }
    }
}

/// A rule as Go shows it: all fields of its own form, in their order.
fn shown(rule: &Value) -> String {
    let fields = [
        ("Rule", "rule", Value::from("")),
        ("Message", "message", Value::from("")),
        ("MessageExpression", "messageExpression", Value::from("")),
        ("Reason", "reason", Value::Null),
        ("FieldPath", "fieldPath", Value::from("")),
        ("OptionalOldSelf", "optionalOldSelf", Value::Null),
    ];
    let fields = fields
        .map(|(name, field, absent)| format!("\"{name}\":{}", rule.get(field).unwrap_or(&absent)));
    format!("{{{}}}", fields.join(","))
}

// === Running ===

struct Run {
    budget: Budget,
    ended: bool,
    errors: Vec<FieldError>,
}

/// What the rules say about an object, or about its change.
pub fn run(rules: &Rules, schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut run = Run { budget: Budget::new(Budget::TOTAL), ended: false, errors: Vec::new() };
    run.walk(rules, schema, object, old, &FieldPath::root());
    run.errors
}

impl Run {
    fn walk(
        &mut self,
        rules: &Rules,
        schema: &Schema,
        found: &Value,
        old: Option<&Value>,
        path: &FieldPath,
    ) {
        if self.ended || found.is_null() {
            return;
        }
        for rule in &rules.own {
            if self.ended {
                return;
            }
            self.rule(rule, schema, found, old, path);
        }
        match found {
            Value::Object(map) => {
                for (key, value) in map {
                    let before = old.and_then(|old| old.get(key));
                    let (Some(schema), Some(rules)) = (
                        schema.child(key),
                        rules.properties.get(key).or_else(|| {
                            let named = schema.properties.contains_key(key);
                            rules.additional.as_deref().filter(|_| !named)
                        }),
                    ) else {
                        continue;
                    };
                    self.walk(rules, schema, value, before, &path.child(key));
                }
            }
            Value::Array(items) => {
                let (Some(of), Some(rules)) = (&schema.items, &rules.items) else { return };
                let others = old.and_then(Value::as_array);
                for (place, item) in items.iter().enumerate() {
                    let before = lists::same(item, others, schema);
                    self.walk(rules, of, item, before, &path.index(place));
                }
            }
            _ => {}
        }
    }

    fn rule(
        &mut self,
        rule: &Rule,
        schema: &Schema,
        found: &Value,
        old: Option<&Value>,
        path: &FieldPath,
    ) {
        if rule.transition && !rule.optional_old && old.is_none() {
            return;
        }
        let mut variables = Variables::default();
        let shape = Shape::Custom(schema);
        variables.set("self", Cel::shaped(found, shape));
        let before = old.map(|old| Cel::shaped(old, shape));
        if rule.optional_old {
            variables.set("oldSelf", Cel::Optional(before.map(Arc::new)));
        } else if let Some(before) = before {
            variables.set("oldSelf", before);
        }
        // The type of the value, as Kubernetes shows it.
        let kind = schema.kind.as_str();
        let invalid = |detail: String| FieldError::invalid(path, kind, detail);
        let mut call = Budget::per_call();
        let outcome = rule.program.evaluate(&variables, &mut call);
        if !self.budget.charge(call.spent()) {
            self.ended = true;
            self.errors.push(invalid(
                "validation failed due to running out of cost budget, no further validation rules \
                 will be run"
                    .into(),
            ));
            return;
        }
        // What an update leaves as it was is let be, where it is not the change that is judged.
        let unchanged = !rule.transition && old == Some(found);
        let text =
            if rule.message.is_empty() { rule.program.text() } else { rule.message.as_str() };
        match outcome {
            Ok(value) if value.as_bool() == Some(true) => {}
            Err(error) if error.over_budget => {
                self.ended = true;
                self.errors.push(invalid(format!(
                    "call cost exceeds limit for rule: {text}, no further validation rules will \
                     be run"
                )));
            }
            _ if unchanged => {}
            Err(error) => self.errors.push(invalid(format!("{error} evaluating rule: {text}"))),
            Ok(_) => {
                let detail = self.message(rule, &variables);
                let place = match rule.field_path.as_str() {
                    "" => path.clone(),
                    below => path.child(below),
                };
                // What holds other values is not shown.
                let shown =
                    || Some(found.clone()).filter(|value| !value.is_object() && !value.is_array());
                self.errors.push(match rule.reason {
                    Reason::Invalid => {
                        FieldError { value: shown(), ..FieldError::invalid(&place, kind, detail) }
                    }
                    Reason::Forbidden => FieldError::forbidden(&place, detail),
                    Reason::Required => FieldError::required(&place, detail),
                    Reason::Duplicate => {
                        FieldError { value: shown(), ..FieldError::duplicate(&place, kind) }
                    }
                });
            }
        }
    }

    fn message(&mut self, rule: &Rule, variables: &Variables<'_>) -> String {
        if let Some(expression) = &rule.message_expression {
            let mut call = Budget::per_call();
            let made = expression.evaluate(variables, &mut call);
            self.ended |= !self.budget.charge(call.spent());
            let text = made.ok().and_then(|made| made.as_text().map(|text| text.trim().to_owned()));
            let usable = |text: &String| {
                !text.is_empty() && !text.contains(['\n', '\r']) && text.len() <= MAX_MESSAGE
            };
            if let Some(text) = text.filter(usable) {
                return text;
            }
        }
        match rule.message.as_str() {
            "" => format!("failed rule: {}", rule.program.text().trim()),
            message => message.to_owned(),
        }
    }
}

/// Whether an object is too wrong for rules to be asked about it.
pub fn is_blocked(errors: &[FieldError]) -> bool {
    use onggi_api::FieldErrorKind as Kind;
    errors.iter().any(|error| {
        matches!(
            error.kind,
            Kind::NotSupported | Kind::Required | Kind::TooLong | Kind::TooMany | Kind::TypeInvalid
        )
    })
}

/// The error that stands for the rules that were not asked.
pub fn blocked() -> FieldError {
    FieldError::invalid(
        &FieldPath::root(),
        Value::Null,
        "some validation rules were not checked because the object was invalid; correct the \
         existing errors to complete validation",
    )
}
