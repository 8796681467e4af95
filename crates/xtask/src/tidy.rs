//! Tidy checks: the rules of ARCHITECTURE.md that a program can check. `cargo test` runs them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Files that may be longer than [`LONG_FILE`] lines, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];
const LONG_FILE: usize = 800;

/// Layer of each crate; arrows go from higher to lower. Crates of layer 2 never use one another.
const LAYERS: &[(&str, u8)] = &[
    ("onggi-api", 0),
    ("onggi-machinery", 0),
    ("onggi-base", 1),
    ("onggi-store", 1),
    ("onggi-client", 1),
    ("onggi-node-api", 1),
    ("onggi-sys", 1),
    ("onggi-apiserver", 2),
    ("onggi-scheduler", 2),
    ("onggi-controllers", 2),
    ("onggi-kubelet", 2),
    ("onggi-runtime", 2),
    ("onggi-images", 2),
    ("onggi-net", 2),
    ("onggi-dns", 2),
    ("onggi-ctl", 2),
    ("onggi-supervisor", 3),
    ("onggi-shop", 3),
    ("onggi", 4),
    ("xtask", 4),
];

/// In layers 0 and 1 the order within the layer matters too.
const ORDER: &[&str] = &["onggi-api", "onggi-machinery", "onggi-base"];

/// What layer 0 must not name: no I/O, no clock, no runtime.
const PURE: &[&str] = &["tokio", "std::fs", "std::net::Tcp", "SystemTime::now", "Timestamp::now"];

/// Checks the workspace at `root`; the error lists every fault.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for manifest in manifests(root)? {
        dependencies(root, &manifest, &mut faults)?;
    }
    for file in sources(root)? {
        source(root, &file, &mut faults)?;
    }
    if faults.is_empty() {
        return Ok(());
    }
    faults.sort();
    bail!("{} faults:\n{}", faults.len(), faults.join("\n"))
}

fn manifests(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.join("examples/shop/Cargo.toml")];
    for entry in fs::read_dir(root.join("crates"))? {
        found.push(entry?.path().join("Cargo.toml"));
    }
    found.sort();
    Ok(found)
}

/// Names in `[dependencies]` and `[dev-dependencies]`: only the first must obey the layers.
fn dependencies(root: &Path, manifest: &Path, faults: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let place = relative(root, manifest);
    let Some(name) = text
        .lines()
        .find_map(|line| line.strip_prefix("name = \"").and_then(|rest| rest.strip_suffix('"')))
    else {
        bail!("{place}: no name");
    };
    let Some(layer) = layer(name) else {
        faults.push(format!("{place}: {name} has no layer in xtask/src/tidy.rs"));
        return Ok(());
    };
    let mut section = "";
    for line in text.lines() {
        if let Some(head) = line.strip_prefix('[') {
            section = head.trim_end_matches(']');
            continue;
        }
        if !section.ends_with("dependencies") || line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if !line.contains("workspace = true") {
            faults.push(format!("{place}: {dependency} has a version of its own"));
        }
        if section == "dependencies" {
            faults.extend(wrong_arrow(name, layer, dependency).map(|f| format!("{place}: {f}")));
        }
    }
    Ok(())
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(crate_name, _)| *crate_name == name).map(|(_, layer)| *layer)
}

fn wrong_arrow(name: &str, own: u8, dependency: &str) -> Option<String> {
    let other = layer(dependency)?;
    let rank = |name: &str| ORDER.iter().position(|n| *n == name).unwrap_or(ORDER.len());
    // client stands on machinery, node-api on api: within the layer only downwards.
    let wrong = other > own
        || (own == 2 && other == 2)
        || (own == other && own < 2 && rank(dependency) == ORDER.len())
        || (own < 2 && rank(dependency) >= rank(name) && rank(name) < ORDER.len());
    let store =
        dependency == "onggi-store" && !matches!(name, "onggi-apiserver" | "onggi-supervisor");
    (wrong || store).then(|| format!("{name} must not use {dependency}"))
}

fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.join("crates"), root.join("examples")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn source(root: &Path, file: &Path, faults: &mut Vec<String>) -> Result<()> {
    let place = relative(root, file);
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {place}"))?;
    let lines = text.lines().count();
    if lines > LONG_FILE && !LONG_FILES.iter().any(|(path, _)| *path == place) {
        faults.push(format!("{place}: {lines} lines; split it, or give its reason in tidy.rs"));
    }
    if !text.starts_with("//!") {
        faults.push(format!("{place}: does not begin with //!"));
    }
    let in_tests = ["/tests/", "/benches/", "/tests.rs"].iter().any(|part| place.contains(part));
    if !place.starts_with("crates/sys/") && !in_tests && !place.ends_with("xtask/src/tidy.rs") {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("unsafe {")
                || code.contains("unsafe fn")
                || code.contains("unsafe impl")
            {
                faults.push(format!("{place}:{}: unsafe outside of sys", number + 1));
            }
        }
    }
    let pure = place.starts_with("crates/api/src") || place.starts_with("crates/machinery/src");
    if pure && !in_tests {
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in product.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            faults.extend(
                PURE.iter()
                    .filter(|word| code.contains(**word))
                    .map(|word| format!("{place}:{}: {word} in layer 0", number + 1)),
            );
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        if let Err(error) = check(root) {
            panic!("{error}");
        }
    }

    #[test]
    fn arrows() {
        let wrong = |name: &str, dependency: &str| {
            wrong_arrow(name, layer(name).unwrap(), dependency).is_some()
        };
        assert!(wrong("onggi-api", "onggi-machinery"));
        assert!(wrong("onggi-machinery", "onggi-client"));
        assert!(wrong("onggi-net", "onggi-dns"));
        assert!(wrong("onggi-client", "onggi-store"));
        assert!(wrong("onggi-kubelet", "onggi-store"));
        assert!(!wrong("onggi-machinery", "onggi-api"));
        assert!(!wrong("onggi-client", "onggi-machinery"));
        assert!(!wrong("onggi-client", "onggi-base"));
        assert!(!wrong("onggi-apiserver", "onggi-store"));
        assert!(!wrong("onggi-supervisor", "onggi-net"));
    }
}
