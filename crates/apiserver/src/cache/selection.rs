//! What a list or watch selects.

use onggi_api::{Head, Status, field_name};
use onggi_machinery::resource::Resource;
use onggi_machinery::selector::{FieldSelector, LabelSelector};

/// A namespace (empty: all) and two selectors.
pub(crate) struct Selection {
    pub(crate) namespace: String,
    labels: LabelSelector,
    fields: FieldSelector,
    /// Of the kind, in the order of [`Head::fields`].
    names: &'static [&'static str],
}

impl Selection {
    /// All objects.
    pub(crate) fn everything() -> Self {
        Self {
            namespace: String::new(),
            labels: LabelSelector::everything(),
            fields: FieldSelector::default(),
            names: &[],
        }
    }

    /// All objects of a namespace; of all where it is empty.
    pub(crate) fn in_namespace(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..Self::everything() }
    }

    /// From the query parameters; 400 when one cannot be read.
    pub(crate) fn parse(
        row: &'static Resource,
        namespace: &str,
        labels: &str,
        fields: &str,
    ) -> Result<Self, Status> {
        let bad = |error: onggi_machinery::selector::SelectorError| {
            Status::bad_request(error.to_string())
        };
        let labels = LabelSelector::parse(labels).map_err(bad)?;
        let fields = FieldSelector::parse(fields).map_err(bad)?;
        fields.check(row.fields).map_err(bad)?;
        Ok(Self { namespace: namespace.to_owned(), labels, fields, names: row.fields })
    }

    /// The same without the fields: objects of another version have other ones.
    pub(crate) fn without_fields(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
            fields: FieldSelector::default(),
            names: &[],
        }
    }

    /// Whether it names only fields that objects have in every version.
    pub(crate) fn is_common(&self) -> bool {
        self.fields.check(&[]).is_ok()
    }

    /// The only name that can be selected.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// Whether the selectors leave nothing out.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    pub(crate) fn matches(&self, head: &Head) -> bool {
        (self.namespace.is_empty() || self.namespace == head.namespace)
            && self.labels.matches(&head.labels)
            && (self.fields.is_everything()
                || self.fields.matches_by(|name| self.field(head, name)))
    }

    fn field<'h>(&self, head: &'h Head, name: &str) -> &'h str {
        match name {
            "metadata.name" => &head.name,
            "metadata.namespace" => &head.namespace,
            _ => {
                let at = self.names.iter().position(|known| field_name(known) == name);
                at.and_then(|at| head.fields.get(at)).map_or("", String::as_str)
            }
        }
    }
}
