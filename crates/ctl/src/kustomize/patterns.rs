//! Which objects a target or a selector means: patterns that fit the whole of names and kinds, and
//! selectors of labels and annotations.

use onggi_machinery::pattern;
use onggi_machinery::selector::LabelSelector;
use onggi_machinery::value::at;
use regex::Regex;

use super::id::Gvk;
use super::resource::Resource;

/// A pattern that fits everything where none is given.
#[derive(Default)]
pub(super) struct Pattern(Option<Regex>);

/// What is asked of an object.
pub(super) struct Patterns {
    pub(super) group: Pattern,
    pub(super) version: Pattern,
    pub(super) kind: Pattern,
    pub(super) name: Pattern,
    pub(super) namespace: Pattern,
    labels: Option<LabelSelector>,
    annotations: Option<LabelSelector>,
}

/// The same as texts.
pub(super) struct Texts<'a> {
    pub(super) gvk: &'a Gvk,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) labels: &'a str,
    pub(super) annotations: &'a str,
}

impl Pattern {
    /// `field` is named where the text is no pattern.
    fn of(field: &str, text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let whole = pattern::compile(&format!("^(?:{text})$"));
        whole.map(|pattern| Self(Some(pattern))).map_err(|e| format!("{field}: {e}"))
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }

    fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

impl Patterns {
    /// `place`: where the texts stand.
    pub(super) fn of(place: &str, texts: &Texts<'_>) -> Result<Self, String> {
        let pattern = |field: &str, text: &str| Pattern::of(&format!("{place}.{field}"), text);
        let selector = |field: &str, text: &str| {
            if text.is_empty() {
                return Ok(None);
            }
            LabelSelector::parse(text).map(Some).map_err(|e| format!("{place}.{field}: {e}"))
        };
        Ok(Self {
            group: pattern("group", &texts.gvk.group)?,
            version: pattern("version", &texts.gvk.version)?,
            kind: pattern("kind", &texts.gvk.kind)?,
            name: pattern("name", texts.name)?,
            namespace: pattern("namespace", texts.namespace)?,
            labels: selector("labelSelector", texts.labels)?,
            annotations: selector("annotationSelector", texts.annotations)?,
        })
    }

    /// Whether no name and no kind is given.
    pub(super) fn is_empty(&self) -> bool {
        let patterns = [&self.group, &self.version, &self.kind, &self.name, &self.namespace];
        !patterns.iter().any(|pattern| pattern.is_given())
    }

    pub(super) fn has_selector(&self) -> bool {
        self.labels.is_some() || self.annotations.is_some()
    }

    /// Whether labels and annotations are as they are asked for.
    pub(super) fn selects(&self, resource: &Resource) -> bool {
        let fits = |selector: &Option<LabelSelector>, path: &str| {
            selector.as_ref().is_none_or(|s| s.matches_value(at(&resource.value, path)))
        };
        fits(&self.labels, "metadata.labels") && fits(&self.annotations, "metadata.annotations")
    }
}
