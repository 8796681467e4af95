//! What the client wants to be answered in (`Accept`).

use http::{HeaderMap, header};
use onggi_api::Status;

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

/// In which shape objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As they are.
    Whole,
    /// `as=Table`.
    Table,
    /// `as=PartialObjectMetadata` or its list.
    Metadata,
}

/// The first clause that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
}

const TYPES: &str = "application/json, application/yaml";

impl Accept {
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, Status> {
        let mut any = false;
        for value in headers.get_all(header::ACCEPT) {
            let text = value.to_str().unwrap_or_default();
            for clause in text.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
                any = true;
                if let Some(accept) = Self::clause(clause) {
                    return Ok(accept);
                }
            }
        }
        if any {
            return Err(Status::not_acceptable(TYPES));
        }
        Ok(Self { format: Format::Json, shape: Shape::Whole })
    }

    fn clause(clause: &str) -> Option<Self> {
        let mut parts = clause.split(';').map(str::trim);
        let format = match parts.next()? {
            "application/json" | "application/*" | "*/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            _ => return None,
        };
        let (mut shape, mut group, mut version) = (Shape::Whole, "", "");
        for part in parts {
            match part.split_once('=')? {
                ("as", "Table") => shape = Shape::Table,
                ("as", "PartialObjectMetadata" | "PartialObjectMetadataList") => {
                    shape = Shape::Metadata;
                }
                ("as", _) => return None,
                ("g", text) => group = text,
                ("v", text) => version = text,
                _ => {}
            }
        }
        let known = shape == Shape::Whole || (group, version) == ("meta.k8s.io", "v1");
        known.then_some(Self { format, shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_can_be_served() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, text.parse().unwrap());
            Accept::parse(&headers).map(|a| (a.format, a.shape)).ok()
        };
        for (text, expected) in [
            ("application/json", Some((Format::Json, Shape::Whole))),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Some((Format::Json, Shape::Table)),
            ),
            (
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json",
                Some((Format::Json, Shape::Whole)),
            ),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                Some((Format::Json, Shape::Whole)),
            ),
            ("application/yaml", Some((Format::Yaml, Shape::Whole))),
            ("application/vnd.kubernetes.protobuf", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
