//! Whether the rules of a schema may cost too much, by the sizes that it allows
//! (`apiextensions/validation/cel_validation.go`; KEP-2876).

use onggi_api::{FieldError, FieldPath};
use serde_json::Value;

use super::rules::declarations;
use super::{Additional, Kind, Schema};
use crate::cel::cost::Decl;
use crate::cel::{self, Program};
use crate::validation::{At, Errors};
use crate::value::{at, bool_at, list_at, str_at};

/// Of one expression, as often as it may have to run for an object (`StaticEstimatedCostLimit`).
const EXPRESSION: u64 = 10_000_000;
/// Of all the expressions of a schema (`StaticEstimatedCRDCostLimit`).
const TOTAL: u64 = 100_000_000;
/// How many of those that make it too much are named.
const NAMED: usize = 4;

/// What costs too much in a schema that is otherwise right. `stored`: it is so already, and only
/// its sum counts.
pub fn check(schema: &At<'_>, stored: bool, errors: &mut Errors) {
    let read = Schema::read(schema.value);
    let mut sum = Sum { stored, total: 0, dear: Vec::new(), errors };
    sum.part(&read, &schema.path, Decl::read(&read, true).as_ref(), Some(1));
    sum.end(&schema.path);
}

/// Whether a schema, as it is written, has rules at all.
pub fn has_rules(schema: &Value) -> bool {
    let named = schema["properties"].as_object().into_iter().flatten().map(|(_, part)| part);
    let others = ["items", "additionalProperties"].into_iter().map(|name| at(schema, name));
    let mut parts = named.chain(others).filter(|part| part.is_object());
    !list_at(schema, "x-kubernetes-validations").is_empty() || parts.any(has_rules)
}

/// How a part is found in the one around it.
enum Step<'s> {
    Property(&'s str),
    Items,
    Additional,
}

fn parts_of(schema: &Schema) -> impl Iterator<Item = (Step<'_>, &Schema)> {
    let named = schema.properties.iter().map(|(name, part)| (Step::Property(name), part));
    let items = schema.items.iter().map(|part| (Step::Items, &**part));
    let additional = match &schema.additional {
        Some(Additional::Of(part)) => Some((Step::Additional, &**part)),
        _ => None,
    };
    named.chain(items).chain(additional)
}

struct Sum<'e> {
    stored: bool,
    total: u64,
    /// What makes a hundredth of the whole or more, the dearest first.
    dear: Vec<(FieldPath, u64)>,
    errors: &'e mut Errors,
}

impl Sum<'_> {
    /// `often`: how many such parts there may be in an object; `None` where nothing bounds that.
    fn part(
        &mut self,
        schema: &Schema,
        path: &FieldPath,
        declared: Option<&Decl>,
        often: Option<u64>,
    ) {
        if let Some(declared) = declared {
            for (place, rule) in schema.rules.iter().enumerate() {
                let path = path.child("x-kubernetes-validations").index(place);
                self.rule(rule, schema, &path, declared, often);
            }
        }
        let often = often.and_then(|often| Some(often.saturating_mul(copies(schema)?)));
        for (step, part) in parts_of(schema) {
            let (path, found) = match step {
                Step::Property(name) => (
                    path.child(&format!("properties[{name}]")),
                    declared.and_then(|declared| declared.field(name)),
                ),
                Step::Items => (path.child("items"), declared.and_then(Decl::item)),
                Step::Additional => {
                    (path.child("additionalProperties"), declared.and_then(Decl::item))
                }
            };
            // Expressions above may not see a part whose own rules see it.
            let own = if found.is_none() { Decl::read(part, part.embedded) } else { None };
            self.part(part, &path, found.or(own.as_ref()), often);
        }
    }

    fn rule(
        &mut self,
        rule: &Value,
        schema: &Schema,
        path: &FieldPath,
        declared: &Decl,
        often: Option<u64>,
    ) {
        let optional_old = bool_at(rule, "optionalOldSelf");
        // What cannot be compiled is told by the rules themselves.
        let program = |field: &str, kind: &str| {
            let program = cel::compile(str_at(rule, field), &declarations()).ok()?;
            let found = program.check_types(schema, optional_old).ok()?;
            (found == kind || found == "dyn").then_some(program)
        };
        let cost = |program: &Program| program.estimate(declared, optional_old);
        let Some(found) = program("rule", "bool") else { return };
        let often = often.unwrap_or_else(|| declared.most_often());
        let of_rule = cost(&found).saturating_mul(often);
        self.expression("estimated rule cost", path.child("rule"), of_rule);
        if let Some(message) = program("messageExpression", "string") {
            let path = path.child("messageExpression");
            self.expression("estimated messageExpression cost", path, cost(&message));
        }
    }

    fn expression(&mut self, what: &str, path: FieldPath, cost: u64) {
        if cost > EXPRESSION && !self.stored {
            self.errors.push(FieldError::forbidden(&path, exceeds(what, cost, EXPRESSION)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= TOTAL / 100 {
            let place = self.dear.partition_point(|(_, other)| *other >= cost);
            self.dear.insert(place, (path, cost));
            self.dear.truncate(NAMED);
        }
    }

    fn end(self, path: &FieldPath) {
        if self.total <= TOTAL {
            return;
        }
        const PART: &str = "contributed to estimated rule cost total exceeding cost limit for \
                            entire OpenAPIv3 schema";
        let dear = self.dear.into_iter();
        self.errors.extend(dear.map(|(path, _)| FieldError::forbidden(&path, PART)));
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.errors.push(FieldError::forbidden(path, exceeds(what, self.total, TOTAL)));
    }
}

/// How many of its parts there may be in one of the schema.
fn copies(schema: &Schema) -> Option<u64> {
    let checks = schema.checks.as_deref();
    match schema.kind {
        Kind::Object if schema.additional.is_some() => checks?.max_properties,
        Kind::Array => checks?.max_items,
        _ => Some(1),
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        // So that it never says "1.0x".
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding \
         maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests;
