//! `/statusz` and `/flagz`: what runs here, since when, with which options, for people who look for a
//! fault (KEP-4827, KEP-4828; on by default from v1.36).

use std::collections::BTreeSet;
use std::fmt::Write;

use http::{HeaderValue, Response, header};
use onggi_api::Status;
use serde_json::{Value, json};

use super::accept::Format;
use super::{Body, Incomings, full};
use crate::{ApiServer, VERSION};

/// The component, by the name that kube-apiserver gives itself here.
const COMPONENT: &str = "apiserver";
const GROUP: &str = "config.k8s.io";
/// Paths of these are no way to look for a fault.
const NOT_LISTED: [&str; 5] = ["/apis", "/api", "/openid", "/openapi", "/.well-known"];

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Statusz,
    Flagz,
}

/// What the client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    /// An object of this version of the group.
    Object(&'static str, Format),
}

impl Page {
    fn kind(self) -> &'static str {
        match self {
            Self::Statusz => "Statusz",
            Self::Flagz => "Flagz",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Statusz => "statusz",
            Self::Flagz => "flagz",
        }
    }

    /// The first of what the client takes that there is.
    fn form(self, accept: &str) -> Option<Form> {
        if accept.trim().is_empty() {
            return Some(Form::Text);
        }
        accept.split(',').find_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let kind = parts.next()?;
            let mut named = [("g", ""), ("v", ""), ("as", "")];
            for (key, value) in parts.filter_map(|part| part.split_once('=')) {
                if let Some(place) = named.iter_mut().find(|(name, _)| *name == key) {
                    place.1 = value;
                }
            }
            let version = ["v1beta1", "v1alpha1"]
                .into_iter()
                .find(|known| named == [("g", GROUP), ("v", known), ("as", self.kind())]);
            let plain = named.iter().all(|(_, value)| value.is_empty());
            match kind {
                "text/plain" | "text/*" | "*/*" if plain => Some(Form::Text),
                "application/json" => Some(Form::Object(version?, Format::Json)),
                "application/yaml" => Some(Form::Object(version?, Format::Yaml)),
                _ => None,
            }
        })
    }
}

/// The page, in the form that is asked for.
pub(super) fn answer(
    server: &ApiServer,
    request: &Incomings,
    page: Page,
    paths: &[String],
) -> Result<Response<Body>, Status> {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = page
        .form(accept.unwrap_or_default())
        .ok_or_else(|| Status::not_acceptable("application/json, application/yaml, text/plain"))?;
    let status = Running::of(server, paths);
    let (version, format) = match form {
        Form::Text => {
            let text = match page {
                Page::Statusz => status.text(),
                Page::Flagz => flags_text(server),
            };
            return Ok(response(text, "text/plain; charset=utf-8"));
        }
        Form::Object(version, format) => (version, format),
    };
    let mut object = json!({
        "kind": page.kind(),
        "apiVersion": format!("{GROUP}/{version}"),
        "metadata": {"name": COMPONENT},
    });
    match page {
        Page::Statusz => status.describe(&mut object),
        Page::Flagz => object["flags"] = json!(server.flags),
    }
    let text = match format {
        Format::Yaml => onggi_machinery::yaml::to_string(&object),
        _ => object.to_string(),
    };
    let mut response = response(text, format.content_type());
    if version == "v1alpha1" {
        let advice = format!(
            "299 - \"This version of the {} endpoint is deprecated. Please use a newer version.\"",
            page.name()
        );
        let advice = HeaderValue::try_from(advice).map_err(Status::internal)?;
        response.headers_mut().insert(header::WARNING, advice);
    }
    Ok(response)
}

fn response(text: String, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    let kind = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn heading(page: Page) -> String {
    format!(
        "\n{COMPONENT} {}\nWarning: This endpoint is not meant to be machine parseable, has no \
         formatting compatibility guarantees and is for debugging purposes only.\n",
        page.name()
    )
}

fn flags_text(server: &ApiServer) -> String {
    let mut text = heading(Page::Flagz);
    for (name, value) in &server.flags {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

/// How the server does.
struct Running {
    /// In seconds since 1970.
    since: i64,
    uptime: i64,
    version: String,
    emulates: String,
    paths: Vec<String>,
}

impl Running {
    fn of(server: &ApiServer, paths: &[String]) -> Self {
        let (major, minor) = super::documents::version_numbers();
        let folders: BTreeSet<String> = paths
            .iter()
            .filter_map(|path| path.split('/').nth(1).filter(|folder| !folder.is_empty()))
            .map(|folder| format!("/{folder}"))
            .filter(|folder| !NOT_LISTED.contains(&folder.as_str()) && folder != "/statusz")
            .collect();
        let version = VERSION.trim_start_matches('v').split('+').next().unwrap_or_default();
        Self {
            since: server.began,
            uptime: (server.registry.clock.seconds() - server.began).max(0),
            version: version.to_owned(),
            emulates: format!("{major}.{minor}"),
            paths: folders.into_iter().collect(),
        }
    }

    fn began(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.since).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    fn text(&self) -> String {
        let Self { uptime, version, emulates, .. } = self;
        let began = self.began().strftime("%a %b %e %H:%M:%S UTC %Y");
        let (hours, minutes, seconds) = (uptime / 3600, uptime / 60 % 60, uptime % 60);
        format!(
            "{}\nStarted: {began}\nUp: {hours} hr {minutes:02} min {seconds:02} sec\n\
             Go version: \nBinary version: {version}\nEmulation version: {emulates}\nPaths: {}\n",
            heading(Page::Statusz),
            self.paths.join(" ")
        )
    }

    fn describe(&self, object: &mut Value) {
        object["startTime"] = self.began().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        object["uptimeSeconds"] = self.uptime.into();
        object["goVersion"] = "".into();
        object["binaryVersion"] = self.version.as_str().into();
        object["emulationVersion"] = self.emulates.as_str().into();
        object["paths"] = json!(self.paths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let beta = "application/json;v=v1beta1;g=config.k8s.io;as=Statusz";
        for (accept, expected) in [
            ("", Some(Form::Text)),
            ("*/*", Some(Form::Text)),
            ("text/plain", Some(Form::Text)),
            (beta, Some(Form::Object("v1beta1", Format::Json))),
            (
                "application/yaml;g=config.k8s.io;v=v1alpha1;as=Statusz",
                Some(Form::Object("v1alpha1", Format::Yaml)),
            ),
            ("application/json", None),
            ("application/json;v=v1beta1;g=config.k8s.io;as=Flagz", None),
            ("application/json;v=v9;g=config.k8s.io;as=Statusz,*/*", Some(Form::Text)),
        ] {
            assert_eq!(Page::Statusz.form(accept), expected, "{accept}");
        }
    }
}
