//! Patterns as Go's `regexp` (RE2) reads them, which people write into definitions and rules.
//!
//! The syntax of our library is nearly the same. What differs is written anew: in a class, a bracket
//! is no class within it and `&&`, `--` and `~~` are no operations; a brace that begins no count is a
//! brace; `\d`, `\s`, `\w` and `\b` know ASCII only; `\Q…\E` quotes; `\<` and `\>` are signs; `\07` is a
//! character in octal. What Go refuses and our library reads is let be.

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

/// A pattern; the error is the library's, about what it was given.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&translated(pattern))
}

/// What stands for a class with a name; `negated` with its upper-case letter. A range comes last: a
/// hyphen that follows is a hyphen then.
fn named(letter: char) -> Option<(&'static str, bool)> {
    let members = match letter.to_ascii_lowercase() {
        'd' => "0-9",
        's' => r" \r\x0C\t-\n",
        'w' => "_0-9A-Za-z",
        _ => return None,
    };
    Some((members, letter.is_ascii_uppercase()))
}

fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\\' => escape(&mut rest, &mut out),
            '[' => class(&mut rest, &mut out),
            '{' if !is_count(rest.clone()) => out.push_str(r"\{"),
            other => out.push(other),
        }
    }
    out
}

/// Outside of classes.
fn escape(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    match rest.next() {
        None => out.push('\\'),
        Some('b') => out.push_str(r"(?-u:\b)"),
        Some(sign @ ('<' | '>')) => out.push(sign),
        Some('0') => octal(rest, out),
        Some('Q') => {
            let left: String = rest.clone().collect();
            let quoted = left.split(r"\E").next().unwrap_or_default();
            out.push_str(&regex::escape(quoted));
            let end = if quoted.len() < left.len() { 2 } else { 0 };
            rest.by_ref().take(quoted.chars().count() + end).for_each(drop);
        }
        Some(letter) => match named(letter) {
            Some((members, negated)) => {
                out.push_str(if negated { "[^" } else { "[" });
                out.push_str(members);
                out.push(']');
            }
            None => out.extend(['\\', letter]),
        },
    }
}

/// A character in octal, after `\0`.
fn octal(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    let mut code = 0;
    for _ in 0..2 {
        match rest.next_if(|next| ('0'..='7').contains(next)).and_then(|next| next.to_digit(8)) {
            Some(digit) => code = code * 8 + digit,
            None => break,
        }
    }
    out.push_str(&format!(r"\x{code:02X}"));
}

/// A class, after its bracket.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('[');
    out.extend(rest.next_if_eq(&'^'));
    // The first bracket is a member.
    if rest.next_if_eq(&']').is_some() {
        out.push_str(r"\]");
    }
    while let Some(next) = rest.next() {
        match next {
            ']' => return out.push(']'),
            '[' => match posix(rest.clone()) {
                Some(name) => {
                    out.push_str(&format!("[:{name}:]"));
                    rest.nth(name.len() + 2);
                }
                None => out.push_str(r"\["),
            },
            '&' | '~' => out.extend(['\\', next]),
            '-' if rest.peek() == Some(&'-') => {
                // The end of a range, or a member and the beginning of one.
                let begins = out.ends_with('[') || out.ends_with("[^");
                out.push_str(if begins { r"\-" } else { r"-\-" });
                if !begins {
                    rest.next();
                }
            }
            '\\' => match rest.next() {
                None => out.push('\\'),
                Some('0') => octal(rest, out),
                Some(sign @ ('<' | '>')) => out.push(sign),
                Some(letter) => match named(letter) {
                    Some((members, true)) => out.push_str(&format!("[^{members}]")),
                    Some((members, false)) => out.push_str(members),
                    None => out.extend(['\\', letter]),
                },
            },
            other => out.push(other),
        }
    }
}

/// The name of `[:name:]`, after its first bracket.
fn posix(rest: Peekable<Chars<'_>>) -> Option<String> {
    let text: String = rest.take(12).collect();
    let (name, _) = text.strip_prefix(':')?.split_once(":]")?;
    let plain = name.strip_prefix('^').unwrap_or(name);
    (!plain.is_empty() && plain.bytes().all(|b| b.is_ascii_lowercase())).then(|| name.to_owned())
}

/// Whether `{2}`, `{2,}` or `{2,3}` begins, after its brace.
fn is_count(rest: Peekable<Chars<'_>>) -> bool {
    let next: String = rest.take(16).collect();
    let Some((inner, _)) = next.split_once('}') else { return false };
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_them() {
        for (pattern, matching, other) in [
            (r"^[^][ ()]+$", "abc", "a[b"),
            (r"^[^…/[\]?=]+$", "abc", "a]"),
            (r"^[[:alpha:][]+$", "ab[", "1"),
            (r"^[]a]+$", "]a", "b"),
            (r"^[a&&b~~]+$", "a&b~", "c"),
            (r"^[+--]+$", "+,-", "."),
            (r"^[--/]+$", "-./", ","),
            (r"^{{.*}}$", "{{x}}", "x"),
            (r"^a{2,3}$", "aaa", "a{2,3}"),
            (r"^a{,3}$", "a{,3}", "aaa"),
            (r"^a{x$", "a{x", "a"),
            (r"^a{2$", "a{2", "aa"),
            (r"^\Q\E$", "", "a"),
            (r"^\d+$", "12", "١٢"),
            (r"^\D$", "١", "1"),
            (r"^[\w.]+$", "a_1.", "é"),
            (r"^[\W]$", "é", "a"),
            (r"^\Qa.b\E+$", "a.bb", "aXb"),
            (r"^\Q[{", "[{x", "x"),
            (r"é\b", "éa", "é"),
            (r"^[\w-.]+$", "a-b.", "a/"),
            (r"^[\w-a]+$", "b-", "`"),
            (r"^[\s-x]+$", " -x\t\n", "!"),
            (r"^[\d-]+$", "1-", "a"),
            (r"^\<b\>$", "<b>", "b"),
            (r"^\07[\07]$", "\x07\x07", "7"),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(regex.is_match(matching), "{pattern} {matching} {}", translated(pattern));
            assert!(!regex.is_match(other), "{pattern} {other} {}", translated(pattern));
        }
        for wrong in ["[a", "(", r"\", "[b-a]"] {
            assert!(compile(wrong).is_err(), "{wrong}");
        }
    }
}
