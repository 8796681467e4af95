//! CEL: the expressions of validation rules, match conditions and admission policies.
//!
//! [`compile`] reads an expression once and says what is wrong with it; [`Program::evaluate`] runs
//! it on values ([`Value`]) within a [`Budget`], so that no expression holds up the server. The
//! language is that of the CEL specification with Kubernetes' libraries (`apiserver/pkg/cel`):
//! strings, lists, sets, regex, url, quantity, ip, cidr, format, semver, optionals, two-name loops,
//! the authorizer, `cel.bind` for selectors of devices, and what mutations make. The types of an
//! expression are checked as it is read ([`Declarations`]).
//!
//! It is our own and not the crate `cel`: that one has no type check, no optional syntax and no
//! bound on what an expression may cost, and copies every object before it looks at it.
//!
//! ```
//! use onggi_machinery::cel::{Budget, Declarations, Value, Variables, compile};
//!
//! let object = serde_json::json!({"spec": {"replicas": 3}});
//! let program = compile("object.spec.replicas <= 5", &Declarations::new(["object"])).unwrap();
//! let mut variables = Variables::default();
//! variables.set("object", Value::json(&object));
//! let value = program.evaluate(&variables, &mut Budget::per_call()).unwrap();
//! assert_eq!(value.as_bool(), Some(true));
//! ```

mod ast;
pub mod authorizer;
pub mod cost;
mod eval;
mod format;
mod functions;
mod lexer;
mod lists;
mod message;
mod net;
mod parser;
mod quantity;
mod semver;
mod strings;
mod time;
mod types;
mod url;
mod value;

use ast::Expr;
pub(crate) use lexer::is_identifier;
pub use types::{Env, Node, PolicyTypes, Type};
pub use value::{Fields, Key, List, Map, Opaque, Shape, Text, Value};

/// What is wrong with an expression; several lines, the second showing the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(pub String);

/// An expression failed while it ran.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// Why.
    pub message: String,
    /// Whether it was stopped because it costs too much.
    pub over_budget: bool,
}

/// The names that an expression may use, and their types.
pub type Declarations = Env<'static>;

/// The values of these names.
#[derive(Clone, Default)]
pub struct Variables<'a> {
    entries: Vec<(String, Value<'a>)>,
}

/// What running may cost. A step costs one, work on texts and lists more.
#[derive(Debug, Clone)]
pub struct Budget {
    left: u64,
    limit: u64,
}

/// An expression that was read.
#[derive(Debug, Clone)]
pub struct Program {
    text: String,
    expr: Expr,
    ty: Type<'static>,
}

/// Reads an expression.
pub fn compile(text: &str, declarations: &Declarations) -> Result<Program, CompileError> {
    let expr = parser::parse(text)?;
    match declarations.check(&expr) {
        Ok(ty) => Ok(Program { text: text.to_owned(), expr, ty }),
        Err(fault) => Err(CompileError::of(text, &fault)),
    }
}

// === impl CompileError ===

impl CompileError {
    /// An error at a place, in characters, as `cel-go` writes it.
    fn at(text: &[char], at: usize, message: impl Into<String>) -> Self {
        let before = &text[..at.min(text.len())];
        let line = before.iter().filter(|c| **c == '\n').count();
        let start = before.iter().rposition(|c| *c == '\n').map_or(0, |at| at + 1);
        let column = before.len() - start;
        let shown: String = text[start..].iter().take_while(|c| **c != '\n').collect();
        let message = message.into();
        Self(format!(
            "ERROR: <input>:{}:{}: {message}\n | {shown}\n | {}^",
            line + 1,
            column + 1,
            ".".repeat(column)
        ))
    }

    fn of(text: &str, types::Fault { near, what }: &types::Fault) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let at = text[..near.locate(text)].chars().count();
        Self::at(&chars, at, what.as_str())
    }
}

// === impl EvalError ===

impl EvalError {
    /// A failure of the expression itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), over_budget: false }
    }

    fn no_overload() -> Self {
        Self::new("no such overload")
    }
}

// === impl Variables ===

impl<'a> Variables<'a> {
    /// Gives a name a value; a name that was set before gets the new one.
    pub fn set(&mut self, name: &str, value: Value<'a>) {
        match self.entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name.to_owned(), value)),
        }
    }

    fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

// === impl Budget ===

impl Budget {
    /// Of one expression (`PerCallLimit`).
    pub const PER_CALL: u64 = 1_000_000;
    /// Of all the rules of an object, or all the expressions of a policy
    /// (`RuntimeCELCostBudget`).
    pub const TOTAL: u64 = 10_000_000;
    /// Of all the match conditions of a webhook or policy
    /// (`RuntimeCELCostBudgetMatchConditions`).
    pub const MATCH_CONDITIONS: u64 = 2_500_000;

    /// So much.
    pub fn new(limit: u64) -> Self {
        Self { left: limit, limit }
    }

    /// That of one expression.
    pub fn per_call() -> Self {
        Self::new(Self::PER_CALL)
    }

    /// What has been spent.
    pub fn spent(&self) -> u64 {
        self.limit - self.left
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Takes what another budget has spent out of this one; whether it was enough.
    pub fn charge(&mut self, spent: u64) -> bool {
        let enough = spent <= self.left;
        self.left = self.left.saturating_sub(spent);
        enough
    }

    fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        if cost <= self.left {
            self.left -= cost;
            return Ok(());
        }
        self.left = 0;
        let message = "operation cancelled: actual cost limit exceeded".to_owned();
        Err(EvalError { message, over_budget: true })
    }
}

// === impl Program ===

impl Program {
    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it uses the name.
    pub fn uses(&self, name: &str) -> bool {
        let mut found = false;
        self.expr.free_names(&mut Vec::new(), &mut |used| found |= used == name);
        found
    }

    /// The type that it has.
    pub fn ty(&self) -> &Type<'static> {
        &self.ty
    }

    /// The name of the type that it has (`dyn` where it is not known), `self` and `oldSelf` being of
    /// a schema; or what cannot be right. `optional_old`: `oldSelf` is an optional.
    pub fn check_types(
        &self,
        schema: &crate::crd::schema::Schema,
        optional_old: bool,
    ) -> Result<&'static str, CompileError> {
        types::check(&self.expr, schema, optional_old)
            .map_err(|fault| CompileError::of(&self.text, &fault))
    }

    /// What cannot be right in an expression of a policy.
    pub fn check_policy_types(&self, types: &PolicyTypes<'_>) -> Result<(), CompileError> {
        types.check(&self.expr).map_err(|fault| CompileError::of(&self.text, &fault))
    }

    /// Makes its type that of a variable of a policy.
    pub fn declare(&self, name: &str, types: &mut PolicyTypes<'_>) {
        types.add(name, &self.expr);
    }

    /// What it can cost at most, `self` and `oldSelf` being of the declaration. `optional_old`:
    /// `oldSelf` is an optional.
    pub fn estimate(&self, declared: &cost::Decl, optional_old: bool) -> u64 {
        cost::estimate(&self.expr, declared, optional_old)
    }

    /// Runs it.
    pub fn evaluate<'a>(
        &self,
        variables: &Variables<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        eval::run(&self.expr, variables, budget)
    }
}

#[cfg(test)]
mod tests;
