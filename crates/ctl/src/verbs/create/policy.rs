//! Budgets, priorities and quotas.

use serde_json::{Map, Value, json};

use super::{Common, object};
use crate::error::Error;

const QUANTITY: &str = "quantities must match the regular expression \
     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

#[derive(Debug, clap::Args)]
pub(super) struct Budget {
    /// Its name
    name: String,
    /// The pods
    #[arg(long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// How many must be available: 2, 50%
    #[arg(long)]
    min_available: Option<String>,
    /// How many may be unavailable: 1, 10%
    #[arg(long)]
    max_unavailable: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct Priority {
    /// Its name
    name: String,
    /// The priority
    #[arg(long, allow_negative_numbers = true, default_value_t = 0)]
    value: i32,
    /// Of pods that name none
    #[arg(long)]
    global_default: bool,
    /// What it is for
    #[arg(long, default_value = "")]
    description: String,
    /// Never or PreemptLowerPriority
    #[arg(long, default_value = "PreemptLowerPriority")]
    preemption_policy: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct Quota {
    /// Its name
    name: String,
    /// RESOURCE=QUANTITY,…
    #[arg(long, value_delimiter = ',', value_name = "RESOURCE=QUANTITY")]
    hard: Vec<String>,
    /// Which pods count
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// `2` is a number, `50%` a text.
fn number_or_text(text: &str) -> Value {
    text.parse::<i32>().map_or_else(|_| json!(text), |number| json!(number))
}

impl Budget {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let Some(selector) = self.selector.filter(|text| !text.is_empty()) else {
            return Err(Error::new("a selector must be specified"));
        };
        let (field, bound) = match (self.min_available, self.max_unavailable) {
            (Some(bound), None) => ("minAvailable", bound),
            (None, Some(bound)) => ("maxUnavailable", bound),
            (None, None) => {
                return Err(Error::new(
                    "one of min-available or max-unavailable must be specified",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    "min-available and max-unavailable cannot be both specified",
                ));
            }
        };
        let digits = bound.strip_suffix('%').unwrap_or(&bound);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let flag = if field == "minAvailable" { "min-available" } else { "max-unavailable" };
            return Err(Error::new(format!("invalid format specified for {flag}")));
        }
        let spec = json!({field: number_or_text(&bound), "selector": selector_of(&selector)?});
        let status = json!({
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
        });
        let fields = json!({"spec": spec, "status": status});
        Ok((object("policy/v1", "PodDisruptionBudget", &self.name, fields), self.common))
    }
}

/// A selector on the command line as the object that kinds hold.
fn selector_of(text: &str) -> Result<Value, Error> {
    use onggi_machinery::selector::{LabelSelector, Operator};
    let parsed = LabelSelector::parse(text).map_err(|e| Error::new(e.to_string()))?;
    let (mut labels, mut expressions) = (Map::new(), Vec::new());
    for one in parsed.requirements() {
        let (key, values) = (one.key.clone(), &one.values);
        let operator = match one.operator {
            Operator::Equals | Operator::In if values.len() == 1 => {
                labels.insert(key, values.iter().next().cloned().unwrap_or_default().into());
                continue;
            }
            Operator::Equals | Operator::In => "In",
            Operator::NotEquals | Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            _ => {
                let text = format!("{key:?}: > and < are no operators of such a selector");
                return Err(Error::new(text));
            }
        };
        let mut expression = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            expression["values"] = json!(values);
        }
        expressions.push(expression);
    }
    let mut selector = json!({});
    if !labels.is_empty() {
        selector["matchLabels"] = Value::Object(labels);
    }
    if !expressions.is_empty() {
        selector["matchExpressions"] = Value::Array(expressions);
    }
    Ok(selector)
}

impl Priority {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let mut fields = json!({"preemptionPolicy": self.preemption_policy, "value": self.value});
        if self.global_default {
            fields["globalDefault"] = json!(true);
        }
        if !self.description.is_empty() {
            fields["description"] = json!(self.description);
        }
        Ok((object("scheduling.k8s.io/v1", "PriorityClass", &self.name, fields), self.common))
    }
}

impl Quota {
    pub(super) fn made(self) -> Result<(Value, Common), Error> {
        let mut spec = json!({});
        let mut hard = Map::new();
        for pair in self.hard.iter().filter(|pair| !pair.is_empty()) {
            let (name, amount) = pair.split_once('=').ok_or_else(|| {
                Error::new(format!("Invalid argument syntax {pair}, expected <resource>=<value>"))
            })?;
            amount.parse::<onggi_api::Quantity>().map_err(|_| Error::new(QUANTITY))?;
            hard.insert(name.to_owned(), amount.into());
        }
        if !hard.is_empty() {
            spec["hard"] = Value::Object(hard);
        }
        if !self.scopes.is_empty() {
            spec["scopes"] = json!(self.scopes);
        }
        Ok((
            object("v1", "ResourceQuota", &self.name, json!({"spec": spec, "status": {}})),
            self.common,
        ))
    }
}
