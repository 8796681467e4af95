//! `cargo xtask schemas`: the condensed schema table from the published definitions, what they say in
//! words, and what the Go types say beyond them.

mod definitions;
mod go;
mod messages;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use onggi_api::schema::{Facts, Prose, Table};
use serde_json::Value;

use messages::Messages;

/// The version that is served.
const DEFINITIONS: &str =
    "kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json";
/// Where the table goes, from the root of the workspace.
const BLOB: &str = "crates/api/src/schema/schema.bin";
/// And the words.
const PROSE: &str = "crates/api/src/schema/prose.bin";
/// And what the Go types say.
const FACTS: &str = "crates/api/src/schema/facts.bin";

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
    let types = go::Types::read(&protobuf)?;
    let table = table.with_empties(|name, field, schema| types.empty(name, field, schema));
    let prose = definitions::prose(&definitions, &table, &messages)?;
    let facts = types.facts(&table);
    if check {
        return compare(&table, &prose, &facts);
    }
    let (blob, words, said) = (table.to_blob()?, prose.to_blob()?, facts.to_blob()?);
    println!("{BLOB}: {} schemas, {} bytes", table.len(), blob.len());
    println!("{PROSE}: {} texts, {} bytes", prose.len(), words.len());
    fs::write(place(BLOB), blob).context(BLOB)?;
    println!("{FACTS}: {} fields, {} bytes", facts.len(), said.len());
    fs::write(place(PROSE), words).context(PROSE)?;
    fs::write(place(FACTS), said).context(FACTS)
}

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Compares what is in the files and not their bytes: another version of the compressor may write
/// other ones.
fn compare(table: &Table, prose: &Prose, facts: &Facts) -> Result<()> {
    let stale = "is not what the definitions say; run cargo xtask schemas without --check";
    let read = Table::from_blob(&fs::read(place(BLOB)).context(BLOB)?)?;
    ensure!(read == *table, "{BLOB} {stale}");
    let read = Prose::from_blob(table, &fs::read(place(PROSE)).context(PROSE)?)?;
    ensure!(read == *prose, "{PROSE} {stale}");
    let read = Facts::from_blob(&fs::read(place(FACTS)).context(FACTS)?)?;
    ensure!(read == *facts, "{FACTS} {stale}");
    Ok(())
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
