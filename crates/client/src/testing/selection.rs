//! Which objects a list or watch of the fake shows: namespace, labels and fields.

use onggi_api::{Object, Status, field_name};
use onggi_machinery::resource::Resource;
use onggi_machinery::selector::{FieldSelector, LabelSelector, SelectorError};

use crate::transport::Error;

pub(super) struct Selection {
    namespace: String,
    labels: LabelSelector,
    fields: FieldSelector,
    /// The names of [`onggi_api::Head::fields`].
    names: &'static [&'static str],
}

impl Selection {
    pub(super) fn new(
        namespace: &str,
        labels: &str,
        fields: &str,
        row: Option<&'static Resource>,
    ) -> Result<Self, Error> {
        let refused = |SelectorError(text)| Error::from(Status::bad_request(text));
        let names = row.map_or(&[][..], |row| row.fields);
        let fields = FieldSelector::parse(fields).map_err(refused)?;
        fields.check(names).map_err(refused)?;
        let labels = LabelSelector::parse(labels).map_err(refused)?;
        Ok(Self { namespace: namespace.to_owned(), labels, fields, names })
    }

    pub(super) fn shows(&self, object: &Object) -> bool {
        let head = object.head();
        let field = |name: &str| match name {
            "metadata.name" => head.name.as_str(),
            "metadata.namespace" => head.namespace.as_str(),
            _ => {
                let place = self.names.iter().position(|field| field_name(field) == name);
                place.and_then(|place| head.fields.get(place)).map_or("", String::as_str)
            }
        };
        (self.namespace.is_empty() || self.namespace == head.namespace)
            && self.labels.matches(&head.labels)
            && self.fields.matches_by(field)
    }
}
