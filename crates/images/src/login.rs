//! Logins that a user keeps in `~/.docker/config.json`, shared with Docker's own client.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_node_api::RegistryAuth;
use serde_json::{Map, Value, json};

use crate::error::Context;
use crate::reference::DEFAULT_REGISTRY;
use crate::{Error, Result};

/// Docker's own name of its registry in that file.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The file: `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
pub fn default_path(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    match env("DOCKER_CONFIG").filter(|dir| !dir.is_empty()) {
        Some(dir) => Some(Path::new(&dir).join("config.json")),
        None => env("HOME").map(|home| Path::new(&home).join(".docker/config.json")),
    }
}

/// The login for a registry; none when there is none. A `kubernetes.io/dockerconfigjson` secret has
/// the same form.
pub fn find(config: &[u8], registry: &str) -> Result<Option<RegistryAuth>> {
    let value = parse(config)?;
    let Some(auths) = value.get("auths").and_then(Value::as_object) else { return Ok(None) };
    let entry = auths.iter().find(|(key, _)| same(key, registry)).map(|(_, entry)| entry);
    let Some(entry) = entry else { return Ok(None) };
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|v| !v.is_empty());
    if let Some(token) = text("registrytoken") {
        return Ok(Some(RegistryAuth::Bearer(token.to_owned())));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some(RegistryAuth::Basic(user.to_owned(), password.to_owned())));
    }
    let Some(auth) = text("auth") else { return Ok(None) };
    let decoded =
        STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(
            || Error::invalid(format!("auths[{registry:?}].auth is not valid base64")),
        )?;
    let (user, password) = decoded.split_once(':').ok_or_else(|| {
        Error::invalid(format!("auths[{registry:?}].auth is not user:password in base64"))
    })?;
    Ok(Some(RegistryAuth::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned())))
}

/// The file's text with a login added.
pub fn add(config: &[u8], registry: &str, user: &str, password: &str) -> Result<Vec<u8>> {
    let mut value = parse(config)?;
    let auths = value.entry("auths").or_insert_with(|| json!({}));
    let auths =
        auths.as_object_mut().ok_or_else(|| Error::invalid("config.json: auths is no object"))?;
    auths.retain(|key, _| !same(key, registry));
    let key = if registry == DEFAULT_REGISTRY { DOCKER_HUB } else { registry };
    auths.insert(key.to_owned(), json!({"auth": STANDARD.encode(format!("{user}:{password}"))}));
    serde_json::to_vec_pretty(&value).map_err(|e| Error::invalid(e.to_string()))
}

/// Reads the file; an empty object when there is none.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(b"{}".to_vec()),
        other => other.at(path),
    }
}

/// Writes the file whole, for its owner alone.
pub fn write(path: &Path, config: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).at(dir)?;
    }
    let temp = path.with_extension(format!("tmp{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&temp).at(&temp)?;
    file.write_all(config).and_then(|()| file.sync_all()).at(&temp)?;
    std::fs::rename(&temp, path).at(path)
}

fn parse(config: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(config)
        .map_err(|e| Error::invalid(format!("Docker's config.json is not valid: {e}")))
}

/// Keys are hosts, or URLs with a path.
fn same(key: &str, registry: &str) -> bool {
    let host = key.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or(host);
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") {
        DEFAULT_REGISTRY
    } else {
        host
    };
    host == registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_adds() {
        let config = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6c2VjcmV0"},
            "ghcr.io":{"username":"u","password":"p"},"x.io":{"registrytoken":"t"},"bad.io":{"auth":"%"}},"credsStore":"x"}"#;
        let basic = |u: &str, p: &str| Some(RegistryAuth::Basic(u.into(), p.into()));
        assert_eq!(find(config, "docker.io").unwrap(), basic("me", "secret"));
        assert_eq!(find(config, "ghcr.io").unwrap(), basic("u", "p"));
        assert_eq!(find(config, "x.io").unwrap(), Some(RegistryAuth::Bearer("t".into())));
        assert_eq!(find(config, "other.io").unwrap(), None);
        assert!(find(config, "bad.io").is_err());
        assert_eq!(find(b"{}", "docker.io").unwrap(), None);
        let config = add(config, "docker.io", "you", "a:b").unwrap();
        assert_eq!(find(&config, "docker.io").unwrap(), basic("you", "a:b"));
        assert_eq!(serde_json::from_slice::<Value>(&config).unwrap()["credsStore"], "x");
    }
}
