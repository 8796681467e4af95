//! Field selectors: `metadata.name=web,status.phase!=Running`.

use std::fmt;

use onggi_api::field_name;

use super::SelectorError;

/// All comparisons must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(Vec<FieldRequirement>);

/// One comparison of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// `status.phase`.
    pub field: String,
    /// What it is compared with.
    pub value: String,
    /// Whether it must differ.
    pub differs: bool,
}

impl FieldSelector {
    /// Reads the query parameter `fieldSelector`; an empty one selects everything. A backslash
    /// stands before a comma, an equals sign or a backslash that is part of the value.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let parts = split(text).into_iter().filter(|part| !part.is_empty());
        parts.map(|part| requirement(text, part)).collect::<Result<_, _>>().map(Self)
    }

    /// Refuses fields that the kind does not offer; `metadata.name` and `metadata.namespace` are
    /// always there.
    pub fn check(&self, offered: &[&str]) -> Result<(), SelectorError> {
        let known = |field: &str| {
            matches!(field, "metadata.name" | "metadata.namespace")
                || offered.iter().any(|offered| field_name(offered) == field)
        };
        match self.0.iter().find(|requirement| !known(&requirement.field)) {
            None => Ok(()),
            Some(FieldRequirement { field, .. }) if offered.is_empty() => {
                Err(SelectorError(format!(
                    "{field:?} is not a known field selector: only \"metadata.name\", \
                     \"metadata.namespace\""
                )))
            }
            Some(FieldRequirement { field, .. }) => {
                Err(SelectorError(format!("field label not supported: {field}")))
            }
        }
    }

    /// Whether an object with these fields is selected; a field that is not among them is empty.
    pub fn matches(&self, fields: &[(&str, &str)]) -> bool {
        self.matches_by(|name| {
            fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| *value)
        })
    }

    /// The same, for fields that are looked up.
    pub fn matches_by<'a>(&self, value: impl Fn(&str) -> &'a str) -> bool {
        self.0.iter().all(|wanted| (value(&wanted.field) == wanted.value) != wanted.differs)
    }

    /// The value that a field must have exactly, for a reader that has an index by it.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|wanted| wanted.field == field && !wanted.differs);
        found.map(|wanted| wanted.value.as_str())
    }

    /// Gives the fields other names, where `name` knows one.
    pub fn rename<'a>(&mut self, name: impl Fn(&str) -> Option<&'a str>) {
        for requirement in &mut self.0 {
            if let Some(new) = name(&requirement.field) {
                new.clone_into(&mut requirement.field);
            }
        }
    }

    /// Whether it selects every object.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The comparisons.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.0
    }
}

/// At the commas that no backslash escapes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(text: &str, part: &str) -> Result<FieldRequirement, SelectorError> {
    for (at, _) in part.char_indices() {
        let rest = &part[at..];
        let (operator, differs) = if rest.starts_with("!=") {
            ("!=", true)
        } else if rest.starts_with("==") {
            ("==", false)
        } else if rest.starts_with('=') {
            ("=", false)
        } else {
            continue;
        };
        let value = unescape(&rest[operator.len()..])?;
        return Ok(FieldRequirement { field: part[..at].to_owned(), value, differs });
    }
    Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")))
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => plain.push(c),
                other => {
                    let found = other.map_or_else(|| "\\".to_owned(), |c| format!("\\{c}"));
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence: {found}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                )));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, FieldRequirement { field, value, differs }) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let operator = if *differs { "!=" } else { "=" };
            let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{field}{operator}{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_select() {
        let fields = [("metadata.name", "a"), ("status.phase", "Running"), ("x", "1,2=3\\")];
        let cases = [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,status.phase!=Pending", true),
            ("metadata.name!=a", false),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
            ("x=1\\,2\\=3\\\\", true),
            (",metadata.name=a,", true),
        ];
        for (text, expected) in cases {
            let selector = FieldSelector::parse(text).unwrap();
            assert_eq!(selector.matches(&fields), expected, "{text}");
            assert_eq!(FieldSelector::parse(&selector.to_string()), Ok(selector), "{text}");
        }
        let name = FieldSelector::parse("metadata.name=a,x!=b").unwrap();
        assert_eq!((name.exact("metadata.name"), name.exact("x")), (Some("a"), None));
    }

    #[test]
    fn bad_texts_are_refused() {
        for (text, expected) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            ("a=\\b", "invalid field selector: invalid escape sequence: \\b"),
            ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().0, expected);
        }
        let phase = FieldSelector::parse("status.phase=x").unwrap();
        assert!(phase.check(&["status.phase"]).is_ok());
        assert_eq!(
            phase.check(&["spec.nodeName"]).unwrap_err().0,
            "field label not supported: status.phase"
        );
        assert!(phase.check(&[]).unwrap_err().0.contains("is not a known field selector"));
    }
}
