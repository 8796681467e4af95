//! Lines with levels.

use onggi_machinery::value::{entries_at, str_at};
use serde_json::Value;

/// A text of lines with tabs, to be aligned.
#[derive(Debug, Default)]
pub(super) struct Text(pub(super) String);

impl Text {
    /// A line, two spaces in for each level.
    pub(super) fn line(&mut self, level: usize, text: &str) {
        self.0.push_str(&"  ".repeat(level));
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// `Name:<tab>value`.
    pub(super) fn field(&mut self, level: usize, name: &str, value: &str) {
        self.line(level, &format!("{name}:\t{value}"));
    }

    /// As [`Self::field`], where there is a value.
    pub(super) fn some(&mut self, level: usize, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, name, value);
        }
    }

    /// A map, an entry a line; annotations of `apply` are left out.
    pub(super) fn map(&mut self, level: usize, name: &str, object: &Value, path: &str, sign: &str) {
        let mut first = true;
        for (key, value) in entries_at(object, path) {
            if key == crate::apply::LAST_APPLIED {
                continue;
            }
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // Further entries are not indented: their first cell is empty.
            let (level, name) =
                if first { (level, format!("{name}:")) } else { (0, String::new()) };
            first = false;
            if value.contains('\n') || key.len() + value.len() + 2 > 140 {
                self.line(level, &format!("{name}\t{key}{}", sign.trim_end()));
                for line in value.trim().split('\n').map(cut) {
                    self.line(0, &format!("\t  {line}"));
                }
            } else {
                self.line(level, &format!("{name}\t{key}{sign}{value}"));
            }
        }
        if first {
            self.field(level, name, "<none>");
        }
    }

    /// Name and labels, with which most descriptions begin.
    pub(super) fn labels(&mut self, object: &Value) {
        self.map(0, "Labels", object, "metadata.labels", "=");
    }

    /// Annotations.
    pub(super) fn annotations(&mut self, object: &Value) {
        self.map(0, "Annotations", object, "metadata.annotations", ": ");
    }
}

fn cut(line: &str) -> String {
    const LONGEST: usize = 138;
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

/// A time as kubectl prints it: `Mon, 02 Jan 2006 15:04:05 +0000`.
pub(super) fn time(object: &Value, path: &str) -> String {
    match str_at(object, path).parse::<jiff::Timestamp>() {
        Ok(time) => {
            let zoned = time.to_zoned(jiff::tz::TimeZone::system());
            zoned.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
        }
        Err(_) => "<unset>".to_owned(),
    }
}

/// A value as text, or a word where there is none.
pub(super) fn or<'a>(text: &'a str, word: &'a str) -> &'a str {
    if text.is_empty() { word } else { text }
}
