//! Words of a Dockerfile: splitting with quotes, and `$VARIABLES` (Dockerfile reference,
//! "Environment replacement").

/// Splits at white space outside quotes; quotes and escapes stay.
pub(crate) fn split(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(q) if c == q => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape
            && quote != Some('\'')
            && let Some(next) = chars.next()
        {
            word.push(next);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `NAME=value …`, or the old form `NAME the rest`; values not yet expanded.
pub(crate) fn pairs(text: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = split(text, escape);
    let Some(first) = words.first() else { return Err("it needs NAME=value".to_owned()) };
    if !first.contains('=') {
        let rest = text.trim_start().get(first.len()..).unwrap_or_default().trim();
        if rest.is_empty() {
            return Err(format!("{first} has no value: write {first}=…"));
        }
        return Ok(vec![(first.clone(), rest.to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(format!("{word:?} is not NAME=value")),
        })
        .collect()
}

/// Replaces variables and takes quotes away.
pub(crate) fn expand(
    text: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut at = Expansion { chars: &chars, at: 0, escape, lookup, quotes: true };
    at.until(None)
}

/// Replaces variables and leaves quotes: bodies of here-documents.
pub(crate) fn expand_text(
    text: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut at = Expansion { chars: &chars, at: 0, escape, lookup, quotes: false };
    at.until(None)
}

struct Expansion<'a> {
    chars: &'a [char],
    at: usize,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    quotes: bool,
}

impl Expansion<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied();
        self.at += 1;
        c
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        let mut out = String::new();
        let mut double = false;
        while let Some(c) = self.next() {
            match c {
                c if Some(c) == end && !double => return Ok(out),
                '\'' if self.quotes && !double => loop {
                    match self.next() {
                        Some('\'') => break,
                        Some(c) => out.push(c),
                        None => return Err("a single quote is not closed".to_owned()),
                    }
                },
                '"' if self.quotes => double = !double,
                c if c == self.escape => match self.peek() {
                    Some(next) if !double && self.quotes => {
                        self.at += 1;
                        out.push(next);
                    }
                    Some(next) if next == '$' || next == self.escape || (next == '"' && double) => {
                        self.at += 1;
                        out.push(next);
                    }
                    _ => out.push(c),
                },
                '$' => self.variable(&mut out)?,
                c => out.push(c),
            }
        }
        match end {
            Some(end) => Err(format!("{end:?} is missing")),
            None if double => Err("a double quote is not closed".to_owned()),
            None => Ok(out),
        }
    }

    fn variable(&mut self, out: &mut String) -> Result<(), String> {
        let braces = self.peek() == Some('{');
        if braces {
            self.at += 1;
        }
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
            self.at += 1;
        }
        let value = (self.lookup)(&name);
        if !braces {
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&value.unwrap_or_default());
            }
            return Ok(());
        }
        if name.is_empty() {
            return Err("${…} has no name".to_owned());
        }
        let colon = self.peek() == Some(':');
        if colon {
            self.at += 1;
        }
        // With a colon, empty counts as unset.
        let value = value.filter(|v| !(colon && v.is_empty()));
        match self.next() {
            Some('}') if !colon => out.push_str(&value.unwrap_or_default()),
            Some('-') => {
                let word = self.until(Some('}'))?;
                out.push_str(&value.unwrap_or(word));
            }
            Some('+') => {
                let word = self.until(Some('}'))?;
                if value.is_some() {
                    out.push_str(&word);
                }
            }
            Some('?') => {
                let word = self.until(Some('}'))?;
                out.push_str(&value.ok_or_else(|| {
                    if word.is_empty() {
                        format!("{name} is not set")
                    } else {
                        format!("{name}: {word}")
                    }
                })?);
            }
            None => return Err("'}' is missing".to_owned()),
            Some(c) => {
                return Err(format!(
                    "${{{name}{c}…}} is not known: there are :-, :+, :?, -, + and ?"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".into()),
            "E" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn expands() {
        for (text, expect) in [
            ("$A", "1"),
            ("${A}x", "1x"),
            ("$Ax", ""),
            ("a$", "a$"),
            ("'$A'", "$A"),
            ("\"$A b\"", "1 b"),
            ("\\$A", "$A"),
            ("\"\\$A \\n\"", "$A \\n"),
            ("${N:-x$A}", "x1"),
            ("${E:-d}", "d"),
            ("${E-d}", ""),
            ("${A:+y}", "y"),
            ("${N+y}", ""),
            ("a\\ b", "a b"),
        ] {
            assert_eq!(expand(text, '\\', &lookup).as_deref(), Ok(expect), "{text}");
        }
        assert_eq!(expand_text("'$A' \"x\"", '\\', &lookup).unwrap(), "'1' \"x\"");
        for text in ["${A", "'a", "\"a", "${}", "${N:?gone}", "${A#x}"] {
            assert!(expand(text, '\\', &lookup).is_err(), "{text}");
        }
    }

    #[test]
    fn splits() {
        assert_eq!(split("a=\"b c\" d=e\\ f  'g h'", '\\'), ["a=\"b c\"", "d=e\\ f", "'g h'"]);
        assert_eq!(pairs("A b  c", '\\').unwrap(), [("A".into(), "b  c".into())]);
        assert_eq!(pairs("A=b C=\"d e\"", '\\').unwrap().len(), 2);
        assert!(pairs("A", '\\').is_err());
        assert!(pairs("A=1 B", '\\').is_err());
    }
}
