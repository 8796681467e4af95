//! The words of a label selector's text.

/// A word. Whether `in` is an operator or a value is for the parser to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Symbol(&'static str),
    Unknown(&'a str),
    End,
}

impl Token<'_> {
    /// As it stood in the text, for errors.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Unknown(text) => text,
            Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

const SYMBOLS: &[&str] = &["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

/// Reads words one by one; cheap to copy, so that the parser can look ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'a>(pub(super) &'a str);

impl<'a> Lexer<'a> {
    pub(super) fn next(&mut self) -> Token<'a> {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
        if self.0.is_empty() {
            return Token::End;
        }
        let word = self.0.find(|c: char| is_special(c) || " \t\r\n".contains(c));
        let (word, rest) = self.0.split_at(word.unwrap_or(self.0.len()));
        if !word.is_empty() {
            self.0 = rest;
            return Token::Word(word);
        }
        // A run such as `=!` is no operator and is shown whole.
        let run = rest.find(|c: char| !matches!(c, '=' | '!' | '>' | '<')).unwrap_or(rest.len());
        match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) if run <= symbol.len() || matches!(*symbol, "(" | ")" | "," | "!") => {
                self.0 = &rest[symbol.len()..];
                Token::Symbol(symbol)
            }
            _ => {
                let (run, rest) = rest.split_at(run.max(1));
                self.0 = rest;
                Token::Unknown(run)
            }
        }
    }

    pub(super) fn peek(self) -> Token<'a> {
        let mut ahead = self;
        ahead.next()
    }
}
