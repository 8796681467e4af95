//! Tokens to a tree, by precedence; macros are recognised here.

use super::ast::{Binary, Expr, Macro, MacroKind};
use super::lexer::{Kind, Token, is_reserved, tokens};
use super::value::unescape;
use super::{CompileError, message};

/// How deep an expression may be nested, and how long a chain of operators or calls may be.
const MAX_DEPTH: usize = 200;
/// The longest expression, in bytes (`cel-go`: 100,000 code points).
const MAX_LENGTH: usize = 100_000;

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, CompileError> {
    if text.len() > MAX_LENGTH {
        return Err(CompileError(format!(
            "expression code point size exceeds limit: size: {}, limit {MAX_LENGTH}",
            text.len()
        )));
    }
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    let expr = parser.expression()?;
    match parser.peek() {
        Kind::End => Ok(expr),
        // One word too many is told as such.
        _ if parser.is_last() => {
            let found = parser.found();
            Err(parser.error(format!("Syntax error: extraneous input '{found}' expecting <EOF>")))
        }
        _ => Err(parser.mismatched(" expecting <EOF>")),
    }
}

fn binary(sign: &Kind) -> Option<(Binary, u8)> {
    Some(match sign {
        Kind::Sign("<") => (Binary::Less, 1),
        Kind::Sign("<=") => (Binary::LessEqual, 1),
        Kind::Sign(">") => (Binary::Greater, 1),
        Kind::Sign(">=") => (Binary::GreaterEqual, 1),
        Kind::Sign("==") => (Binary::Equal, 1),
        Kind::Sign("!=") => (Binary::NotEqual, 1),
        Kind::Ident(word) if word == "in" => (Binary::In, 1),
        Kind::Sign("+") => (Binary::Add, 2),
        Kind::Sign("-") => (Binary::Subtract, 2),
        Kind::Sign("*") => (Binary::Multiply, 3),
        Kind::Sign("/") => (Binary::Divide, 3),
        Kind::Sign("%") => (Binary::Remainder, 3),
        _ => return None,
    })
}

impl Parser<'_> {
    fn peek(&self) -> &Kind {
        static END: Kind = Kind::End;
        self.tokens.get(self.at).map_or(&END, |token| &token.kind)
    }

    fn is_last(&self) -> bool {
        self.tokens.get(self.at + 1).is_none_or(|next| matches!(next.kind, Kind::End))
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Kind::Sign(found) if *found == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), CompileError> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn error(&self, text: impl Into<String>) -> CompileError {
        let chars: Vec<char> = self.text.chars().collect();
        let at = self.tokens.get(self.at).map_or(chars.len(), |token| token.at);
        CompileError::at(&chars, at, text)
    }

    fn unexpected(&self) -> CompileError {
        self.mismatched("")
    }

    /// Something stands where a value must begin.
    fn no_value(&self) -> CompileError {
        self.mismatched(
            " expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, \
             NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        )
    }

    fn mismatched(&self, expecting: &str) -> CompileError {
        let found = self.found();
        self.error(format!("Syntax error: mismatched input '{found}'{expecting}"))
    }

    /// What stands here, as it is written.
    fn found(&self) -> String {
        match self.peek() {
            Kind::End => "<EOF>".to_owned(),
            Kind::Sign(sign) => (*sign).to_owned(),
            Kind::Ident(word) => word.clone(),
            _ => {
                let from = self.tokens.get(self.at).map_or(0, |token| token.at);
                let to = self.tokens.get(self.at + 1).map_or(from, |token| token.at);
                self.text.chars().skip(from).take(to - from).collect::<String>().trim().to_owned()
            }
        }
    }

    fn nested<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, CompileError>,
    ) -> Result<T, CompileError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(format!("expression recursion limit exceeded: {MAX_DEPTH}")));
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    fn expression(&mut self) -> Result<Expr, CompileError> {
        self.nested(|parser| {
            let condition = parser.or()?;
            if !parser.take("?") {
                return Ok(condition);
            }
            let yes = parser.or()?;
            parser.expect(":")?;
            let no = parser.expression()?;
            Ok(Expr::Ternary {
                condition: Box::new(condition),
                yes: Box::new(yes),
                no: Box::new(no),
            })
        })
    }

    fn or(&mut self) -> Result<Expr, CompileError> {
        let mut all = vec![self.and()?];
        while self.take("||") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn and(&mut self) -> Result<Expr, CompileError> {
        let mut all = vec![self.operators(1)?];
        while self.take("&&") {
            all.push(self.operators(1)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    /// Operators that bind at least so strongly.
    fn operators(&mut self, least: u8) -> Result<Expr, CompileError> {
        let mut left = self.unary()?;
        let mut chain = 0;
        while let Some((op, strength)) = binary(self.peek()).filter(|(_, s)| *s >= least) {
            chain += 1;
            if self.depth + chain > MAX_DEPTH {
                return Err(self.error(format!("expression recursion limit exceeded: {MAX_DEPTH}")));
            }
            self.at += 1;
            let right = self.nested(|parser| parser.operators(strength + 1))?;
            left = Expr::Binary { op, left: Box::new(left), right: Box::new(right) };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, CompileError> {
        if self.take("!") {
            let inner = self.nested(Self::unary)?;
            return Ok(Expr::Not(Box::new(inner)));
        }
        if self.take("-") {
            let literal = match self.peek() {
                Kind::Int(value) => Some(Expr::Int(-value)),
                Kind::IntMin => Some(Expr::Int(i64::MIN)),
                Kind::Double(value) => Some(Expr::Double(-value)),
                _ => None,
            };
            if let Some(literal) = literal {
                self.at += 1;
                return self.postfix(literal);
            }
            let inner = self.nested(Self::unary)?;
            return Ok(Expr::Negate(Box::new(inner)));
        }
        let primary = self.primary()?;
        self.postfix(primary)
    }

    fn postfix(&mut self, mut expr: Expr) -> Result<Expr, CompileError> {
        let mut chain = 0;
        loop {
            chain += 1;
            if self.depth + chain > MAX_DEPTH {
                return Err(self.error(format!("expression recursion limit exceeded: {MAX_DEPTH}")));
            }
            if self.take(".") {
                let optional = self.take("?");
                let field = self.word()?;
                if !optional && self.take("(") {
                    let args = self.arguments()?;
                    expr = self.method(expr, field, args)?;
                } else {
                    expr = Expr::Select { operand: Box::new(expr), field, optional };
                }
            } else if self.take("[") {
                let optional = self.take("?");
                let index = self.expression()?;
                self.expect("]")?;
                expr = Expr::Index { operand: Box::new(expr), index: Box::new(index), optional };
            } else if let Some(name) = message::name_of(&expr)
                && self.take("{")
            {
                let fields = Box::new(self.message()?);
                expr = Expr::Message { name: name.into(), fields };
            } else {
                return Ok(expr);
            }
        }
    }

    fn word(&mut self) -> Result<String, CompileError> {
        match self.peek() {
            Kind::Ident(word) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            Kind::End => Err(self.error("Syntax error: no viable alternative at input '.'")),
            _ => Err(self.unexpected()),
        }
    }

    /// Up to the closing bracket.
    fn arguments(&mut self) -> Result<Vec<Expr>, CompileError> {
        let mut args = Vec::new();
        while !self.take(")") {
            if !args.is_empty() {
                self.expect(",")?;
            }
            args.push(self.expression()?);
        }
        Ok(args)
    }

    fn primary(&mut self) -> Result<Expr, CompileError> {
        let literal = match self.peek().clone() {
            Kind::Int(value) => Expr::Int(value),
            Kind::Uint(value) => Expr::Uint(value),
            Kind::Double(value) => Expr::Double(value),
            Kind::Text(value) => Expr::Text(value.into()),
            Kind::Bytes(value) => Expr::Bytes(value.into()),
            Kind::Ident(word) => return self.named(&word),
            Kind::Sign("(") => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Kind::Sign("[") => {
                self.at += 1;
                return self.list();
            }
            Kind::Sign("{") => {
                self.at += 1;
                return self.map();
            }
            Kind::Sign(".") => {
                self.at += 1;
                let word = self.word()?;
                self.at -= 1;
                return self.named(&word);
            }
            Kind::IntMin => return Err(self.error("invalid int literal")),
            _ => return Err(self.no_value()),
        };
        self.at += 1;
        Ok(literal)
    }

    fn named(&mut self, word: &str) -> Result<Expr, CompileError> {
        self.at += 1;
        match word {
            "true" => return Ok(Expr::Bool(true)),
            "false" => return Ok(Expr::Bool(false)),
            "null" => return Ok(Expr::Null),
            "in" => {
                self.at -= 1;
                return Err(self.no_value());
            }
            _ => {}
        }
        if is_reserved(word) {
            self.at -= 1;
            return Err(self.error(format!("reserved identifier: {word}")));
        }
        if !self.take("(") {
            return Ok(Expr::Ident(word.to_owned()));
        }
        let mut args = self.arguments()?;
        if word == "has" && args.len() == 1 {
            return match args.remove(0) {
                Expr::Select { operand, field, optional: false } => {
                    Ok(Expr::Has { operand, field })
                }
                _ => Err(self.error("invalid argument to has() macro")),
            };
        }
        if word == "matches" && args.len() == 2 {
            let pattern = args.remove(1);
            return self.matches(args.remove(0), pattern, false);
        }
        Ok(Expr::Call { name: word.to_owned(), target: None, args })
    }

    fn list(&mut self) -> Result<Expr, CompileError> {
        let mut items = Vec::new();
        while !self.take("]") {
            if !items.is_empty() {
                self.expect(",")?;
                if self.take("]") {
                    break;
                }
            }
            let optional = self.take("?");
            items.push((self.expression()?, optional));
        }
        Ok(Expr::List(items))
    }

    fn map(&mut self) -> Result<Expr, CompileError> {
        let mut entries = Vec::new();
        while !self.take("}") {
            if !entries.is_empty() {
                self.expect(",")?;
                if self.take("}") {
                    break;
                }
            }
            let optional = self.take("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, self.expression()?, optional));
        }
        Ok(Expr::Map(entries))
    }

    /// The fields of a message, up to the closing brace: a map whose keys are names.
    fn message(&mut self) -> Result<Expr, CompileError> {
        let mut fields = Vec::new();
        while !self.take("}") {
            if !fields.is_empty() {
                self.expect(",")?;
                if self.take("}") {
                    break;
                }
            }
            let optional = self.take("?");
            let name = Expr::Text(unescape(&self.word()?).into_owned().into());
            self.expect(":")?;
            fields.push((name, self.expression()?, optional));
        }
        Ok(Expr::Map(fields))
    }

    /// A pattern that is known is compiled once.
    fn matches(&self, target: Expr, pattern: Expr, method: bool) -> Result<Expr, CompileError> {
        let pattern = match pattern {
            Expr::Text(pattern) => {
                return match crate::pattern::compile(&pattern) {
                    Ok(compiled) => Ok(Expr::Matches {
                        target: Box::new(target),
                        pattern: compiled,
                        source: pattern.to_string(),
                        method,
                    }),
                    Err(error) => Err(self.error(format!("invalid matches argument: {error}"))),
                };
            }
            pattern => pattern,
        };
        let (target, args) = match method {
            true => (Some(Box::new(target)), vec![pattern]),
            false => (None, vec![target, pattern]),
        };
        Ok(Expr::Call { name: "matches".into(), target, args })
    }

    fn method(
        &self,
        target: Expr,
        name: String,
        mut args: Vec<Expr>,
    ) -> Result<Expr, CompileError> {
        if let Expr::Ident(space) = &target
            && space == "cel"
            && name == "bind"
            && args.len() == 3
        {
            let (body, value) = (args.remove(2), args.remove(1));
            let name = self.variable(args.remove(0))?;
            return Ok(Expr::Bind { name, value: Box::new(value), body: Box::new(body) });
        }
        if name == "matches" && args.len() == 1 {
            return self.matches(target, args.remove(0), true);
        }
        let Some(kind) = macro_kind(&name, &args) else {
            return Ok(Expr::Call { name, target: Some(Box::new(target)), args });
        };
        use MacroKind::{
            All, Exists, ExistsOne, Map, TransformList, TransformMap, TransformMapEntry,
        };
        let two_names = match kind {
            All | Exists | ExistsOne => args.len() == 3,
            TransformList | TransformMap | TransformMapEntry => true,
            _ => false,
        };
        let body = args.pop().ok_or_else(|| self.unexpected())?;
        let filtered = match kind {
            Map => args.len() == 2,
            TransformList | TransformMap | TransformMapEntry => args.len() == 3,
            _ => false,
        };
        let filter = if filtered { args.pop() } else { None };
        let names =
            args.into_iter().map(|arg| self.variable(arg)).collect::<Result<Vec<_>, _>>()?;
        debug_assert_eq!(names.len(), 1 + usize::from(two_names));
        Ok(Expr::Macro(Box::new(Macro { kind, range: target, names, filter, body })))
    }

    fn variable(&self, arg: Expr) -> Result<String, CompileError> {
        match arg {
            Expr::Ident(name) => Ok(name),
            _ => Err(self.error("argument must be a simple name")),
        }
    }
}

fn macro_kind(name: &str, args: &[Expr]) -> Option<MacroKind> {
    let kind = match (name, args.len()) {
        ("all", 2 | 3) => MacroKind::All,
        ("exists", 2 | 3) => MacroKind::Exists,
        ("exists_one" | "existsOne", 2 | 3) => MacroKind::ExistsOne,
        ("map", 2 | 3) => MacroKind::Map,
        ("filter", 2) => MacroKind::Filter,
        ("transformList", 3 | 4) => MacroKind::TransformList,
        ("transformMap", 3 | 4) => MacroKind::TransformMap,
        ("transformMapEntry", 3 | 4) => MacroKind::TransformMapEntry,
        ("sortBy", 2) => MacroKind::SortBy,
        ("optMap", 2) => MacroKind::OptMap,
        ("optFlatMap", 2) => MacroKind::OptFlatMap,
        _ => return None,
    };
    Some(kind)
}
