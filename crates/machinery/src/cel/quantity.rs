//! `quantity`: resource quantities that can be compared and added.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::Arc;

use onggi_api::Quantity;

use super::EvalError;
use super::functions::text;
use super::value::{Opaque, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

struct Amount(Quantity);

pub(super) fn make<'a>(name: &str, arg: &Value<'a>) -> Outcome<'a> {
    let parsed = text(arg)?.parse::<Quantity>();
    match (name, parsed) {
        ("isQuantity", parsed) => Ok(parsed.is_ok().into()),
        (_, Ok(quantity)) => Ok(Value::Opaque(Arc::new(Amount(quantity)))),
        (_, Err(error)) => Err(EvalError::new(error.to_string())),
    }
}

impl Opaque for Amount {
    fn type_name(&self) -> &'static str {
        "kubernetes.Quantity"
    }

    fn call<'v>(&self, name: &str, args: &[Value<'v>]) -> Option<Outcome<'v>> {
        let other = match args {
            [] => None,
            [Value::Int(whole)] => Some(Quantity::from_units(*whole)),
            [value] => Some(value.opaque::<Self>()?.0),
            _ => return None,
        };
        let order = other.map(|other| self.0.cmp(&other));
        let amount = |quantity: Option<Quantity>| {
            quantity
                .map(|quantity| Value::Opaque(Arc::new(Self(quantity))))
                .ok_or_else(|| EvalError::new("quantity overflow"))
        };
        Some(match (name, other, order) {
            ("sign", None, _) => {
                let zero = Quantity::from_units(0);
                Ok(Value::Int(match self.0.cmp(&zero) {
                    Ordering::Less => -1,
                    Ordering::Equal => 0,
                    Ordering::Greater => 1,
                }))
            }
            ("isInteger", None, _) => Ok(self.0.is_whole().into()),
            ("asInteger", None, _) if self.0.is_whole() => Ok(Value::Int(self.0.units())),
            ("asInteger", None, _) => Err(EvalError::new("cannot convert value to integer")),
            ("asApproximateFloat", None, _) => Ok(Value::Double(self.0.as_f64())),
            ("add", Some(other), _) => amount(self.0.checked_add(&other)),
            ("sub", Some(other), _) => amount(self.0.checked_sub(&other)),
            ("isGreaterThan", _, Some(order)) => Ok(order.is_gt().into()),
            ("isLessThan", _, Some(order)) => Ok(order.is_lt().into()),
            ("compareTo", _, Some(order)) => Ok(Value::Int(order as i64)),
            _ => return None,
        })
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| other.0 == self.0)
    }

    fn text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
