//! What the client wants to be answered in (`Accept`), decided once for a request as
//! `k8s.io/apiserver/pkg/endpoints/handlers/negotiation` decides it.

use std::cmp::Reverse;

use http::{HeaderMap, header};
use onggi_api::Status;

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// In which shape objects are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// As they are.
    Whole,
    /// `as=Table`.
    Table,
    /// `as=PartialObjectMetadata`.
    Metadata,
    /// `as=PartialObjectMetadataList`.
    MetadataList,
}

/// The best clause that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
    /// Of `meta.k8s.io`, for all shapes but the whole: `v1` or `v1beta1`.
    pub(crate) version: &'static str,
    /// For people's eyes: `?pretty=1`, and browsers and curl.
    pub(crate) pretty: bool,
}

/// What an endpoint can answer with.
#[derive(Clone, Copy)]
pub(crate) struct Offer<'o> {
    /// Whether whole objects can be written as protobuf. Asked only when the client wants it.
    pub(crate) protobuf: &'o dyn Fn() -> bool,
    /// Whether there is a table of these objects.
    pub(crate) table: bool,
    /// Events, one after the other, instead of one document.
    pub(crate) stream: bool,
}

const FORMATS: [(&str, Format); 3] =
    [("json", Format::Json), ("yaml", Format::Yaml), ("vnd.kubernetes.protobuf", Format::Protobuf)];

impl Format {
    /// `Content-Type` of a document.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

impl Accept {
    /// Objects as they are, in JSON.
    pub(crate) const JSON: Self =
        Self { format: Format::Json, shape: Shape::Whole, version: "v1", pretty: false };

    /// 406 when nothing that the client names can be served.
    pub(crate) fn parse(
        headers: &HeaderMap,
        query: &str,
        offer: Offer<'_>,
    ) -> Result<Self, Status> {
        let pretty = is_pretty(headers, query);
        let mut values = headers.get_all(header::ACCEPT).iter();
        let (Some(first), None) = (values.next(), values.next()) else {
            if headers.contains_key(header::ACCEPT) {
                let texts: Vec<&str> = headers
                    .get_all(header::ACCEPT)
                    .iter()
                    .filter_map(|value| value.to_str().ok())
                    .collect();
                return Self::choose(&texts.join(","), pretty, offer);
            }
            return Ok(Self { pretty, ..Self::JSON });
        };
        match first.to_str().unwrap_or_default() {
            "application/json" | "application/json, */*" | "*/*" | "" => {
                Ok(Self { pretty, ..Self::JSON })
            }
            text => Self::choose(text, pretty, offer),
        }
    }

    /// The form of an error to a client that has sent this `Accept`.
    pub(crate) fn of_status(headers: &HeaderMap, query: &str) -> Self {
        let offer = Offer { protobuf: &|| true, table: true, stream: false };
        let found = Self::parse(headers, query, offer).unwrap_or(Self::JSON);
        Self { shape: Shape::Whole, ..found }
    }

    fn choose(text: &str, pretty: bool, offer: Offer<'_>) -> Result<Self, Status> {
        let mut clauses: Vec<Clause<'_>> =
            text.split(',').filter_map(|clause| Clause::parse(clause.trim())).collect();
        if clauses.is_empty() {
            return Ok(Self { pretty, ..Self::JSON });
        }
        clauses.sort_by_key(|clause| (Reverse(clause.quality), clause.wildcards()));
        let found = clauses.iter().find_map(|clause| clause.served(offer));
        let found = found.filter(|accept| !offer.stream || accept.format != Format::Yaml);
        found.map(|accept| Self { pretty, ..accept }).ok_or_else(|| not_acceptable(offer))
    }
}

fn not_acceptable(offer: Offer<'_>) -> Status {
    let mut types = vec!["application/json"];
    if !offer.stream {
        types.push("application/yaml");
    }
    if (offer.protobuf)() {
        types.push("application/vnd.kubernetes.protobuf");
    }
    let suffix = if offer.stream { ";stream=watch" } else { "" };
    let types: Vec<String> = types.iter().map(|name| format!("{name}{suffix}")).collect();
    Status::not_acceptable(&types.join(", "))
}

/// Whether JSON is to be broken into lines.
fn is_pretty(headers: &HeaderMap, query: &str) -> bool {
    if query.contains("pretty") {
        let value = super::query::Query::parse(Some(query)).get("pretty").to_owned();
        if !value.is_empty() {
            return matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True");
        }
    }
    let agent = headers.get(header::USER_AGENT).map(http::HeaderValue::as_bytes);
    agent.is_some_and(|agent| {
        [&b"curl"[..], b"Wget", b"Mozilla/5.0"].iter().any(|known| agent.starts_with(known))
    })
}

/// A media type with its parameters.
struct Clause<'t> {
    kind: &'t str,
    subkind: &'t str,
    parameters: Vec<(&'t str, &'t str)>,
    /// `q` in thousandths.
    quality: u32,
}

impl<'t> Clause<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subkind) = match parts.next()? {
            "*" => ("*", "*"),
            name => name.split_once('/')?,
        };
        let parameters: Vec<(&str, &str)> =
            parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
        let quality = parameters.iter().find(|(name, _)| *name == "q");
        let quality = quality.and_then(|(_, text)| text.parse::<f32>().ok()).unwrap_or(1.0);
        Some(Self { kind, subkind, parameters, quality: (quality.clamp(0.0, 1.0) * 1000.0) as u32 })
    }

    /// How little is said; a name goes before a wildcard.
    fn wildcards(&self) -> u8 {
        u8::from(self.kind == "*") + u8::from(self.subkind == "*")
    }

    fn served(&self, offer: Offer<'_>) -> Option<Accept> {
        FORMATS.iter().find_map(|(name, format)| {
            let named = match (self.kind, self.subkind) {
                ("*" | "application", "*") => true,
                ("application", subkind) => subkind == *name,
                _ => false,
            };
            if named { self.accept(*format, offer) } else { None }
        })
    }

    fn accept(&self, format: Format, offer: Offer<'_>) -> Option<Accept> {
        let value = |wanted: &str| {
            self.parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
        };
        if value("stream").is_some_and(|stream| !stream.is_empty() && stream != "watch")
            || value("sv").is_some_and(|version| !version.is_empty())
        {
            return None;
        }
        let Some(kind) = value("as") else {
            let written = format != Format::Protobuf || (offer.protobuf)();
            let plain = value("g").is_none() && value("v").is_none();
            return (written && plain).then_some(Accept { format, ..Accept::JSON });
        };
        let version = match value("v") {
            Some("v1") => "v1",
            Some("v1beta1") => "v1beta1",
            _ => return None,
        };
        let shape = match kind {
            "Table" if offer.table && format != Format::Protobuf => Shape::Table,
            "PartialObjectMetadata" => Shape::Metadata,
            "PartialObjectMetadataList" => Shape::MetadataList,
            _ => return None,
        };
        let known = value("g") == Some("meta.k8s.io");
        known.then_some(Accept { format, shape, version, pretty: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, protobuf: bool, table: bool, stream: bool) -> Result<Accept, Status> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, text.parse().unwrap());
        Accept::parse(&headers, "", Offer { protobuf: &|| protobuf, table, stream })
    }

    #[test]
    fn the_best_that_can_be_served() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let metadata =
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let protobuf = "application/vnd.kubernetes.protobuf";
        for (text, expected) in [
            ("application/json", Some((Format::Json, Shape::Whole))),
            (&format!("{table},application/json"), Some((Format::Json, Shape::Table))),
            (&format!("{protobuf},application/json"), Some((Format::Protobuf, Shape::Whole))),
            (
                "application/json;q=0.5, application/vnd.kubernetes.protobuf",
                Some((Format::Protobuf, Shape::Whole)),
            ),
            ("*/*, application/yaml", Some((Format::Yaml, Shape::Whole))),
            ("text/html, */*;q=0.8", Some((Format::Json, Shape::Whole))),
            (metadata, Some((Format::Protobuf, Shape::Metadata))),
            ("application/cbor", None),
            ("application/cbor, application/json", Some((Format::Json, Shape::Whole))),
            ("application/json;as=Secret;v=v1;g=meta.k8s.io", None),
            ("application/json;as=Table;v=v1alpha1;g=meta.k8s.io", None),
            (
                &format!("{protobuf};as=Table;v=v1;g=meta.k8s.io,{table}"),
                Some((Format::Json, Shape::Table)),
            ),
        ] {
            let found = parse(text, true, true, false).ok().map(|a| (a.format, a.shape));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(parse(table, true, false, false).unwrap_err().code, 406);
        // Custom kinds have no protobuf, but their metadata has.
        let found = parse(protobuf, false, true, false).unwrap_err();
        assert_eq!(
            found.message,
            "only the following media types are accepted: application/json, application/yaml"
        );
        assert!(parse(metadata, false, true, false).is_ok());
        assert_eq!(
            parse("application/yaml", true, true, true).unwrap_err().message,
            "only the following media types are accepted: application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch"
        );
    }

    #[test]
    fn people_get_lines() {
        let offer = Offer { protobuf: &|| true, table: true, stream: false };
        let mut headers = HeaderMap::new();
        assert!(!Accept::parse(&headers, "", offer).unwrap().pretty);
        assert!(Accept::parse(&headers, "pretty=true", offer).unwrap().pretty);
        headers.insert(header::USER_AGENT, "curl/8".parse().unwrap());
        assert!(Accept::parse(&headers, "a=b", offer).unwrap().pretty);
        assert!(!Accept::parse(&headers, "pretty=0", offer).unwrap().pretty);
    }
}
