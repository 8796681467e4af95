//! Text to tokens.

use super::CompileError;

/// A token and where it begins, in characters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Int(i64),
    /// The smallest whole number, which has no positive side.
    IntMin,
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Ident(String),
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

/// The longest first.
const SIGNS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

/// Words that name no variable (`cel-spec`, lexis).
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a name may be that of a variable.
pub(crate) fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_word = RESERVED.contains(&name) || matches!(name, "true" | "false" | "null" | "in");
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) && !is_word
}

struct Lexer {
    text: Vec<char>,
    at: usize,
}

/// All tokens; the last one is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, CompileError> {
    let mut lexer = Lexer { text: text.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip();
        let at = lexer.at;
        let kind = lexer.next()?;
        let end = kind == Kind::End;
        tokens.push(Token { kind, at });
        if end {
            return Ok(tokens);
        }
    }
}

/// Whether the word may be no identifier.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

impl Lexer {
    fn error(&self, at: usize, text: impl Into<String>) -> CompileError {
        CompileError::at(&self.text, at, text)
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn skip(&mut self) {
        loop {
            match self.peek(0) {
                Some(' ' | '\t' | '\n' | '\r' | '\u{c}') => self.at += 1,
                Some('/') if self.peek(1) == Some('/') => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn next(&mut self) -> Result<Kind, CompileError> {
        let Some(c) = self.peek(0) else { return Ok(Kind::End) };
        if c.is_ascii_digit() || c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            return self.number();
        }
        if let Some(text) = self.quoted()? {
            return Ok(text);
        }
        if c.is_ascii_alphabetic() || c == '_' {
            let start = self.at;
            while self.peek(0).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                self.at += 1;
            }
            return Ok(Kind::Ident(self.text[start..self.at].iter().collect()));
        }
        if c == '`' {
            let start = self.at + 1;
            let allowed =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
            self.at += 1;
            while self.peek(0).is_some_and(allowed) {
                self.at += 1;
            }
            if self.peek(0) != Some('`') {
                return Err(self.error(start - 1, "Syntax error: token recognition error at: '`'"));
            }
            self.at += 1;
            return Ok(Kind::Ident(self.text[start..self.at - 1].iter().collect()));
        }
        for sign in SIGNS {
            if sign.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c)) {
                self.at += sign.len();
                return Ok(Kind::Sign(sign));
            }
        }
        Err(self.error(self.at, format!("Syntax error: token recognition error at: '{c}'")))
    }

    fn number(&mut self) -> Result<Kind, CompileError> {
        let start = self.at;
        let hex = self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X'));
        if hex {
            self.at += 2;
        }
        let digit = |c: char| if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        while self.peek(0).is_some_and(digit) {
            self.at += 1;
        }
        let mut float = false;
        if !hex {
            if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
                float = true;
                self.at += 1;
                while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
                    self.at += 1;
                }
            }
            let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
            let exponent = matches!(self.peek(0), Some('e' | 'E'))
                && self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit());
            if exponent {
                float = true;
                self.at += 1 + sign;
                while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
                    self.at += 1;
                }
            }
        }
        let text: String = self.text[start..self.at].iter().collect();
        if float {
            let value = text.parse().map_err(|_| self.error(start, "invalid double literal"))?;
            return Ok(Kind::Double(value));
        }
        let (digits, radix) = if hex { (&text[2..], 16) } else { (text.as_str(), 10) };
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
            return u64::from_str_radix(digits, radix)
                .map(Kind::Uint)
                .map_err(|_| self.error(start, "invalid uint literal"));
        }
        match u64::from_str_radix(digits, radix) {
            Ok(value) if value == i64::MIN.unsigned_abs() => Ok(Kind::IntMin),
            Ok(value) if i64::try_from(value).is_ok() => Ok(Kind::Int(value.cast_signed())),
            _ => Err(self.error(start, "invalid int literal")),
        }
    }

    /// A text or bytes, with its prefixes; `None` when there is no quote.
    fn quoted(&mut self) -> Result<Option<Kind>, CompileError> {
        let (mut raw, mut bytes, mut ahead) = (false, false, 0);
        while let Some(c) = self.peek(ahead) {
            match c {
                'r' | 'R' if !raw => raw = true,
                'b' | 'B' if !bytes => bytes = true,
                '"' | '\'' => break,
                _ => return Ok(None),
            }
            ahead += 1;
        }
        let Some(quote) = self.peek(ahead) else { return Ok(None) };
        let start = self.at;
        self.at += ahead;
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.at += if triple { 3 } else { 1 };
        let mut text = String::new();
        let mut binary = Vec::new();
        let push = |text: &mut String, binary: &mut Vec<u8>, c: char| {
            if bytes {
                binary.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(c);
            }
        };
        loop {
            let Some(c) = self.peek(0) else {
                return Err(self.error(start, "Syntax error: missing the end of a text"));
            };
            let closes = c == quote
                && (!triple || self.peek(1) == Some(quote) && self.peek(2) == Some(quote));
            if closes {
                self.at += if triple { 3 } else { 1 };
                break;
            }
            if c == '\n' && !triple {
                return Err(self.error(start, "Syntax error: a text ends with its line"));
            }
            self.at += 1;
            if c != '\\' || raw {
                push(&mut text, &mut binary, c);
                continue;
            }
            match self.escape(bytes)? {
                Escape::Char(c) => push(&mut text, &mut binary, c),
                Escape::Byte(byte) => binary.push(byte),
            }
        }
        Ok(Some(if bytes { Kind::Bytes(binary) } else { Kind::Text(text) }))
    }

    fn escape(&mut self, bytes: bool) -> Result<Escape, CompileError> {
        let at = self.at - 1;
        let wrong = |lexer: &Self| lexer.error(at, "Syntax error: unknown escape sequence");
        let Some(c) = self.peek(0) else { return Err(wrong(self)) };
        self.at += 1;
        let simple = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '?' | '"' | '\'' | '`' => c,
            'x' | 'X' => return self.code(2, 16, bytes, at),
            'u' if !bytes => return self.code(4, 16, false, at),
            'U' if !bytes => return self.code(8, 16, false, at),
            '0'..='3' => {
                self.at -= 1;
                return self.code(3, 8, bytes, at);
            }
            _ => return Err(wrong(self)),
        };
        Ok(Escape::Char(simple))
    }

    fn code(
        &mut self,
        digits: usize,
        radix: u32,
        byte: bool,
        at: usize,
    ) -> Result<Escape, CompileError> {
        let end = self.at + digits;
        let text: String = self.text.get(self.at..end).unwrap_or_default().iter().collect();
        let wrong = || self.error(at, "Syntax error: invalid escape sequence");
        let code = u32::from_str_radix(&text, radix).map_err(|_| wrong())?;
        if text.len() != digits {
            return Err(wrong());
        }
        let escape = if byte {
            u8::try_from(code).ok().map(Escape::Byte)
        } else {
            char::from_u32(code).map(Escape::Char)
        };
        let escape = escape.ok_or_else(wrong)?;
        self.at = end;
        Ok(escape)
    }
}

enum Escape {
    Char(char),
    Byte(u8),
}
