//! Label selectors: text (`app=web,tier in (a, b),!old`), object (`matchLabels`,
//! `matchExpressions`), matching.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::SelectorError;
use super::lexer::{Lexer, Token};
use crate::validation::names::{label_value, qualified_name};

/// All requirements must hold; none hold for everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    /// A selector that is absent where an empty one would mean everything.
    nothing: bool,
}

/// One comparison of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; sorted, each once.
    pub values: Vec<String>,
}

/// The comparisons. `==` is read as `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `key=value`.
    Equals,
    /// `key!=value`: also where the label is absent.
    NotEquals,
    /// `key in (a,b)`.
    In,
    /// `key notin (a,b)`: also where the label is absent.
    NotIn,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>1`.
    GreaterThan,
    /// `key<1`.
    LessThan,
}

impl LabelSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads the text of the query parameter `labelSelector` and of `kubectl -l`; an empty one
    /// selects everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = parse(text)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// From a map of labels that must be equal, such as a Service's `spec.selector`. An empty one
    /// selects everything; what an absent one means is for the kind to say.
    pub fn from_map<K: AsRef<str>, V: AsRef<str>>(
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let requirements = labels.into_iter().map(|(key, value)| Requirement {
            key: key.as_ref().to_owned(),
            operator: Operator::Equals,
            values: vec![value.as_ref().to_owned()],
        });
        Self { requirements: requirements.collect(), nothing: false }
    }

    /// From a `metav1.LabelSelector`. Null selects nothing, `{}` everything.
    pub fn from_object(selector: &Value) -> Result<Self, SelectorError> {
        let Value::Object(selector) = selector else {
            return match selector {
                Value::Null => Ok(Self::nothing()),
                _ => Err(SelectorError("a label selector is an object".to_owned())),
            };
        };
        let labels = selector.get("matchLabels").and_then(Value::as_object);
        let pairs = labels.into_iter().flatten().map(|(k, v)| (k, v.as_str().unwrap_or_default()));
        let mut found = Self::from_map(pairs);
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            let text = |name| expression.get(name).and_then(Value::as_str).unwrap_or_default();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let text = format!("{other:?} is not a valid label selector operator");
                    return Err(SelectorError(text));
                }
            };
            let values = expression.get("values").and_then(Value::as_array);
            let values = values.into_iter().flatten().filter_map(Value::as_str).map(Into::into);
            found.requirements.push(Requirement::new(text("key"), operator, values.collect())?);
        }
        Ok(found)
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.nothing
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }

    /// [`LabelSelector::matches`] for the labels of a dynamic object, `metadata.labels`.
    pub fn matches_value(&self, labels: &Value) -> bool {
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        !self.nothing && self.requirements.iter().all(|r| r.holds(label(&r.key)))
    }

    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The comparisons.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl Requirement {
    /// Checks what `labels.NewRequirement` checks.
    pub fn new(
        key: &str,
        operator: Operator,
        mut values: Vec<String>,
    ) -> Result<Self, SelectorError> {
        let problems = qualified_name(key);
        if !problems.is_empty() {
            // There is no path to it, and Go says so.
            return Err(invalid("<nil>", key, &problems.join("; ")));
        }
        let count = |wanted: bool, text: &str| {
            let values = serde_json::to_string(&values).unwrap_or_default();
            if wanted {
                Ok(())
            } else {
                Err(SelectorError(format!("values: Invalid value: {values}: {text}")))
            }
        };
        match operator {
            Operator::In | Operator::NotIn => {
                count(!values.is_empty(), "for 'in', 'notin' operators, values set can't be empty")?
            }
            Operator::Exists | Operator::DoesNotExist => {
                count(values.is_empty(), "values set must be empty for exists and does not exist")?;
            }
            Operator::Equals | Operator::NotEquals => {
                count(values.len() == 1, "exact-match compatibility requires one single value")?;
            }
            Operator::GreaterThan | Operator::LessThan => {
                count(
                    values.len() == 1,
                    "for 'Gt', 'Lt' operators, exactly one value is required",
                )?;
                let is_number = |value: &&String| value.parse::<i64>().is_ok();
                if let Some(value) = values.first().filter(|value| !is_number(value)) {
                    let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                    return Err(invalid("values[0]", value, why));
                }
            }
        }
        for (at, value) in values.iter().enumerate() {
            let problems = label_value(value);
            if !problems.is_empty() {
                return Err(invalid(&format!("values[{at}][{key}]"), value, &problems.join("; ")));
            }
        }
        values.sort();
        values.dedup();
        Ok(Self { key: key.to_owned(), operator, values })
    }

    /// Whether the requirement holds for a label's value, absent where the object has none.
    pub fn holds<T: AsRef<str>>(&self, label: Option<T>) -> bool {
        let label = label.as_ref().map(AsRef::as_ref);
        let known = || label.is_some_and(|label| self.values.iter().any(|value| value == label));
        let number = |text: &str| text.parse::<i64>().ok();
        let compared = || {
            let wanted = self.values.first().and_then(|value| number(value))?;
            Some(number(label?)?.cmp(&wanted))
        };
        match self.operator {
            Operator::Equals | Operator::In => known(),
            Operator::NotEquals | Operator::NotIn => !known(),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => compared().is_some_and(std::cmp::Ordering::is_gt),
            Operator::LessThan => compared().is_some_and(std::cmp::Ordering::is_lt),
        }
    }
}

fn invalid(path: &str, value: &str, problem: &str) -> SelectorError {
    SelectorError(format!("{path}: Invalid value: {value:?}: {problem}"))
}

fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut lexer = Lexer(text);
    let mut requirements = Vec::new();
    let found = |token: &Token<'_>, expected: &str| {
        SelectorError(format!("found '{}', expected: {expected}", token.text()))
    };
    loop {
        match lexer.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Symbol("!") => {}
            other => return Err(found(&other, "!, identifier, or 'end of string'")),
        }
        let requirement = requirement(&mut lexer)
            .map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?;
        requirements.push(requirement);
        match lexer.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => {
                let ahead = lexer.peek();
                if !matches!(ahead, Token::Word(_) | Token::Symbol("!")) {
                    return Err(found(&ahead, "identifier after ','"));
                }
            }
            other => return Err(found(&other, "',' or 'end of string'")),
        }
    }
}

fn requirement(lexer: &mut Lexer<'_>) -> Result<Requirement, SelectorError> {
    let found = |token: &Token<'_>, expected: &str| {
        Err(SelectorError(format!("found '{}', expected: {expected}", token.text())))
    };
    let negated = lexer.peek() == Token::Symbol("!");
    if negated {
        lexer.next();
    }
    let key = match lexer.next() {
        Token::Word(key) => key,
        other => return found(&other, "identifier"),
    };
    if negated {
        return Requirement::new(key, Operator::DoesNotExist, Vec::new());
    }
    if matches!(lexer.peek(), Token::End | Token::Symbol(",")) {
        return Requirement::new(key, Operator::Exists, Vec::new());
    }
    let operator = match lexer.next() {
        Token::Symbol("=" | "==") => Operator::Equals,
        Token::Symbol("!=") => Operator::NotEquals,
        Token::Symbol(">") => Operator::GreaterThan,
        Token::Symbol("<") => Operator::LessThan,
        Token::Word("in") => Operator::In,
        Token::Word("notin") => Operator::NotIn,
        other => return found(&other, "in, notin, =, ==, !=, gt, lt"),
    };
    let values = match operator {
        Operator::In | Operator::NotIn => values(lexer)?,
        _ => match lexer.peek() {
            Token::End | Token::Symbol(",") => vec![String::new()],
            Token::Word(value) => {
                lexer.next();
                vec![value.to_owned()]
            }
            other => return found(&other, "identifier"),
        },
    };
    Requirement::new(key, operator, values)
}

/// `(a,b)`; what is left out between commas is the empty text.
fn values(lexer: &mut Lexer<'_>) -> Result<Vec<String>, SelectorError> {
    let found = |token: &Token<'_>, expected: &str| {
        Err(SelectorError(format!("found '{}', expected: {expected}", token.text())))
    };
    match lexer.next() {
        Token::Symbol("(") => {}
        other => return Err(SelectorError(format!("found '{}' expected: '('", other.text()))),
    }
    let mut values = Vec::new();
    loop {
        let value = match lexer.peek() {
            Token::Word(value) => {
                lexer.next();
                value
            }
            Token::Symbol("," | ")") => "",
            other => return found(&other, "',', ')' or identifier"),
        };
        values.push(value.to_owned());
        match lexer.next() {
            Token::Symbol(",") => {}
            Token::Symbol(")") => return Ok(values),
            other => return found(&other, "',' or ')'"),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, operator, values }) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let list = values.join(",");
            match operator {
                Operator::Equals => write!(f, "{key}={list}")?,
                Operator::NotEquals => write!(f, "{key}!={list}")?,
                Operator::In => write!(f, "{key} in ({list})")?,
                Operator::NotIn => write!(f, "{key} notin ({list})")?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::GreaterThan => write!(f, "{key}>{list}")?,
                Operator::LessThan => write!(f, "{key}<{list}")?,
            }
        }
        Ok(())
    }
}
