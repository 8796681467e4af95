//! References to images: `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`, with Docker's defaults
//! (`docker.io`, `library/`, `latest`). Grammar: OCI distribution specification, "Pulling
//! manifests", and the reference grammar of the distribution project.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, Error, Result};

/// The registry of names without one.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// A normalised reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// `docker.io`, `localhost:5000` …
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `library/nginx` …
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; none when only a digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same name by digest alone.
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// Under which key the reference table has it: the digest decides where there is one.
    pub fn key(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{}@{digest}", self.name()),
            (None, tag) => format!("{}:{}", self.name(), tag.as_deref().unwrap_or("latest")),
        }
    }

    /// As people write it: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let text = self.to_string();
        match text.strip_prefix("docker.io/") {
            Some(rest) => rest.strip_prefix("library/").unwrap_or(rest).to_owned(),
            None => text,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|message| Error::InvalidReference {
            reference: text.to_owned(),
            message: message.to_owned(),
        })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.trim() != text {
        return Err("it begins or ends with white space");
    }
    if text.contains("://") {
        return Err("leave out the scheme (http://, docker://)");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            let digest =
                digest.parse().map_err(|_| "the digest must be sha256: and 64 hex digits")?;
            (rest, Some(digest))
        }
        None => (text, None),
    };
    // A colon after the last slash begins the tag; before it, a port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag
        && !is_tag(tag)
    {
        return Err(
            "a tag has 1 to 128 letters, digits, '_', '.' or '-', and begins with none of the last two",
        );
    }
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
        _ => (DEFAULT_REGISTRY, name.to_owned()),
    };
    let registry = match registry {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
        other => other,
    };
    if !valid_host(registry) {
        return Err("the registry must be a host name or address, with a port where needed");
    }
    let repository = if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository
    };
    if repository.len() > 255 {
        return Err("the name is longer than 255 characters");
    }
    if !repository.split('/').all(is_component) {
        return Err(if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            "the name must be in lower case"
        } else {
            "a name has lower case letters and digits, separated by '.', '_', '__' or '-'"
        });
    }
    let tag = match (&digest, tag) {
        (_, Some(tag)) => Some(tag.to_owned()),
        (Some(_), None) => None,
        (None, None) => Some("latest".to_owned()),
    };
    Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
}

/// Whether the part before the first slash is a registry: what has a dot, a port or upper case,
/// and `localhost`.
fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.bytes().any(|b| b.is_ascii_uppercase())
}

fn valid_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => {
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return false;
                }
                return port.is_empty()
                    || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(|p| p.parse::<u16>().is_ok())
}

/// Whether it may stand behind the colon.
pub(crate) fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
pub(crate) fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(a, b)| plain(*a) && plain(*b));
    let separator = |s: &[u8]| {
        s.is_empty() || s == b"." || s == b"_" || s == b"__" || s.iter().all(|b| *b == b'-')
    };
    ends && bytes.iter().all(|b| plain(*b) || b"._-".contains(b))
        && bytes.split(|b| plain(*b)).all(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        let hex = "a".repeat(64);
        for (text, expect, familiar) in [
            ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
            (
                "hands-on/product-service",
                "docker.io/hands-on/product-service:latest",
                "hands-on/product-service:latest",
            ),
            ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("127.0.0.1:5000/x/y:z", "127.0.0.1:5000/x/y:z", "127.0.0.1:5000/x/y:z"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            (
                "ghcr.io/a/b_c/d__e--f.g",
                "ghcr.io/a/b_c/d__e--f.g:latest",
                "ghcr.io/a/b_c/d__e--f.g:latest",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), expect, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
        let reference: Reference = format!("nginx:1@sha256:{hex}").parse().unwrap();
        assert_eq!(reference.tag(), Some("1"));
        assert_eq!(reference.key(), format!("docker.io/library/nginx@sha256:{hex}"));
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            " a",
            "A/b/c:",
            "a:",
            "a::b",
            "a@sha256:12",
            "a@md5:abc",
            "http://a/b",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a..b",
            "a___b",
            "Nginx",
            "a b",
            "host:port/x",
            "a/../b",
            "x:-tag",
            "exa_mple.com/a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        let error = "library/Nginx".parse::<Reference>().unwrap_err().to_string();
        assert!(error.contains("lower case"), "{error}");
    }
}
