//! What a ConfigMap or a Secret is filled with.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// Files, folders and texts.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Data {
    /// File or folder, or KEY=FILE
    #[arg(long, value_name = "[KEY=]FILE")]
    from_file: Vec<String>,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// File with lines of KEY=VALUE
    #[arg(long, value_name = "FILE")]
    from_env_file: Vec<String>,
}

/// Base64, as Secrets hold it.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

impl Data {
    /// `data` and `binaryData` of a ConfigMap.
    pub(crate) fn config_map(&self) -> Result<Value, Error> {
        let (mut data, mut binary) = (Map::new(), Map::new());
        for (key, bytes) in self.entries()? {
            match String::from_utf8(bytes) {
                Ok(text) => data.insert(key, text.into()),
                Err(error) => binary.insert(key, encode(error.as_bytes()).into()),
            };
        }
        let mut fields = json!({});
        for (field, map) in [("data", data), ("binaryData", binary)] {
            if !map.is_empty() {
                fields[field] = Value::Object(map);
            }
        }
        Ok(fields)
    }

    /// `data` of a Secret.
    pub(crate) fn secret(&self) -> Result<Value, Error> {
        let entries = self.entries()?;
        if entries.is_empty() {
            return Ok(json!({}));
        }
        let data = entries.into_iter().map(|(key, bytes)| (key, Value::from(encode(&bytes))));
        Ok(json!({"data": data.collect::<Map<_, _>>()}))
    }

    fn entries(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let has_others = !self.from_file.is_empty() || !self.from_literal.is_empty();
        if has_others && !self.from_env_file.is_empty() {
            return Err(Error::new(
                "from-env-file cannot be combined with from-file or from-literal",
            ));
        }
        let mut entries = Vec::new();
        for source in &self.from_file {
            from_file(source, &mut entries)?;
        }
        for literal in &self.from_literal {
            let Some((key, value)) = literal.split_once('=').filter(|(key, _)| !key.is_empty())
            else {
                return Err(Error::new(format!(
                    "invalid literal source {literal}, expected key=value"
                )));
            };
            let bare = unquoted(value);
            entries.push((key.to_owned(), bare.as_bytes().to_vec()));
        }
        for path in &self.from_env_file {
            let text = fs::read_to_string(path).map_err(|e| Error::new(format!("{path}: {e}")))?;
            for (number, line) in text.lines().enumerate() {
                if let Some((key, value)) = env_line(line)
                    .map_err(|e| Error::new(format!("{path}: line {}: {e}", number + 1)))?
                {
                    entries.push((key, value.into_bytes()));
                }
            }
        }
        let mut keys = std::collections::HashSet::new();
        for (key, _) in &entries {
            let fits = key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if !fits || key.is_empty() || key.len() > 253 {
                return Err(Error::new(format!(
                    "{key:?} is not a valid key name: it consists of letters, digits, -, _ and ."
                )));
            }
            if !keys.insert(key) {
                return Err(Error::new(format!(
                    "cannot add key {key:?}, another key by that name already exists"
                )));
            }
        }
        Ok(entries)
    }
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    text
}

fn from_file(source: &str, into: &mut Vec<(String, Vec<u8>)>) -> Result<(), Error> {
    let failed = |path: &Path, e: std::io::Error| Error::new(format!("{}: {e}", path.display()));
    let (key, path) = match source.split_once('=') {
        Some((key, path)) => (Some(key), Path::new(path)),
        None => (None, Path::new(source)),
    };
    let metadata = fs::metadata(path).map_err(|e| failed(path, e))?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !metadata.is_dir() {
        let bytes = fs::read(path).map_err(|e| failed(path, e))?;
        into.push((key.map_or_else(|| name(path), str::to_owned), bytes));
        return Ok(());
    }
    if key.is_some() {
        return Err(Error::new("cannot give a key name for a directory path"));
    }
    let entries = fs::read_dir(path).map_err(|e| failed(path, e))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|e| failed(path, e))?;
    paths.sort();
    for path in paths.iter().filter(|path| path.is_file()) {
        into.push((name(path), fs::read(path).map_err(|e| failed(path, e))?));
    }
    Ok(())
}

/// A line of an env file; `KEY` alone takes the value of the caller's environment.
pub(crate) fn env_line(line: &str) -> Result<Option<(String, String)>, String> {
    let line = line.trim_start().trim_end_matches('\r').trim_start_matches('\u{feff}');
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (line, None),
    };
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(format!("{key:?} is not a valid name of a variable"));
    }
    let value = match value {
        Some(value) => value.to_owned(),
        None => std::env::var(key).unwrap_or_default(),
    };
    Ok(Some((key.to_owned(), value)))
}
