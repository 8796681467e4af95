//! `cargo xtask schemas`: the condensed schema table from the published definitions.

mod definitions;
mod messages;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use onggi_api::schema::Table;
use serde_json::Value;

use messages::Messages;

/// The version that is served.
const DEFINITIONS: &str =
    "kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json";
/// Where the table goes, from the root of the workspace.
const BLOB: &str = "crates/api/src/schema/schema.bin";

/// Runs the chore; see the help text.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut from = None;
    let mut protobuf = None;
    let mut check = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--from" => from = Some(PathBuf::from(args.next().context("--from needs a path")?)),
            "--protobuf" => {
                protobuf = Some(PathBuf::from(args.next().context("--protobuf needs a path")?));
            }
            "--check" => check = true,
            other => bail!("schemas: {other:?} is no option"),
        }
    }
    let from = from.context("schemas: --from is missing")?;
    let protobuf = protobuf.context("schemas: --protobuf is missing")?;
    let definitions = read_definitions(&from)?;
    let messages = Messages::read(&protobuf)?;
    let (table, report) = definitions::build(&definitions, &messages)?;
    for line in report {
        println!("{line}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(BLOB);
    if check {
        return compare(&path, &table);
    }
    let blob = table.to_blob()?;
    println!("{BLOB}: {} schemas, {} bytes", table.len(), blob.len());
    fs::write(&path, blob).with_context(|| path.display().to_string())
}

/// Compares tables and not bytes: another version of the compressor may write other bytes.
fn compare(path: &Path, table: &Table) -> Result<()> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    if Table::from_blob(&bytes)? == *table {
        return Ok(());
    }
    bail!("{BLOB} is not what the definitions say; run cargo xtask schemas without --check");
}

fn read_definitions(from: &Path) -> Result<Value> {
    let mut text = Vec::new();
    if from.is_dir() {
        let path = from.join(DEFINITIONS);
        text = fs::read(&path).with_context(|| path.display().to_string())?;
    } else {
        let file = fs::File::open(from).with_context(|| from.display().to_string())?;
        let mut archive = zip::ZipArchive::new(file)?;
        archive.by_name(DEFINITIONS).context(DEFINITIONS)?.read_to_end(&mut text)?;
    }
    Ok(serde_json::from_slice(&text)?)
}
