//! Lines as kubectl breaks them: one way for each of its printers.

/// Breaks lines at spaces so that they have at most so many characters; words that are longer stay
/// whole, and so do lines that are short enough.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| wrapped_line(line, width)).collect();
    lines.join("\n")
}

fn wrapped_line(line: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    let mut rest = line;
    while !rest.is_empty() {
        let is_space = |c: char| c.is_whitespace() && c != '\u{a0}';
        let start = rest.find(|c| !is_space(c)).unwrap_or(rest.len());
        let (space, word) = rest.split_at(start);
        let (word, after) = word.split_at(word.find(is_space).unwrap_or(word.len()));
        rest = after;
        let (spaces, letters) = (space.chars().count(), word.chars().count());
        if word.is_empty() {
            if used + spaces <= width {
                out += space;
            }
        } else if used + spaces + letters.min(width.saturating_sub(1)) > width {
            out += &format!("\n{word}");
            used = letters;
        } else {
            out += space;
            out += word;
            used += spaces + letters;
        }
    }
    out
}

/// Spaces before every line.
pub(super) fn indented(text: &str, by: usize) -> String {
    let space = " ".repeat(by);
    format!("{space}{}", text.replace('\n', &format!("\n{space}")))
}

/// Joins lines and breaks them again; empty lines, lists and what is indented by four stay, and so
/// does the end of a line that ends in a colon.
pub(super) fn refilled(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let flush = |line: &mut String, lines: &mut Vec<String>| {
        if !line.is_empty() {
            lines.push(std::mem::take(line));
        }
    };
    for source in text.split('\n') {
        if source.starts_with("    ") {
            flush(&mut line, &mut lines);
            lines.push(source.to_owned());
            continue;
        }
        let bare = source.trim();
        if bare.is_empty() && !lines.is_empty() {
            flush(&mut line, &mut lines);
            lines.push(String::new());
            continue;
        }
        if line.ends_with(':') || bare.is_empty() || begins_item(bare) {
            flush(&mut line, &mut lines);
        }
        for word in bare.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > width {
                flush(&mut line, &mut lines);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
    }
    flush(&mut line, &mut lines);
    lines
}

/// `- one`, `* one`, `1. one`.
fn begins_item(line: &str) -> bool {
    let Some((mark, _)) = line.split_once(char::is_whitespace) else { return false };
    let number = mark.strip_suffix('.').unwrap_or(mark);
    matches!(mark, "-" | "*")
        || !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_spaces() {
        for (text, expected) in [
            ("one two three", "one two\nthree"),
            ("one  two   three", "one  two\nthree"),
            ("one\n\n two", "one\n\n two"),
            ("incomprehensible word", "incomprehensible\nword"),
            ("a incomprehensible", "a\nincomprehensible"),
            ("exactly8 8", "exactly8\n8"),
            ("end \n", "end \n"),
            ("", ""),
        ] {
            assert_eq!(wrapped(text, 8), expected, "{text:?}");
        }
        assert_eq!(indented("a\n\nb", 2), "  a\n  \n  b");
    }

    #[test]
    fn lines_are_filled_again() {
        for (text, expected) in [
            ("one\ntwo three", &["one two", "three"][..]),
            ("is:\none", &["is:", "one"]),
            ("a\n\nb\n - c\n1. d", &["a", "b", "- c", "1. d"]),
            ("aaaa bbbb\n\nc", &["aaaa", "bbbb", "", "c"]),
            ("a\n    code\nb", &["a", "    code", "b"]),
            ("", &[]),
        ] {
            assert_eq!(refilled(text, 8).as_slice(), expected, "{text:?}");
        }
    }
}
