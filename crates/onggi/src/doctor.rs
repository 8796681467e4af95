//! `doctor`: what this machine lacks to run a cluster, why that matters, and what to do.

use std::process::ExitCode;

use onggi_supervisor::check::{Finding, Severity, examine};
use onggi_supervisor::{Paths, lock};

use crate::args::Node;

/// Flags of `doctor`.
#[derive(clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    node: Node,
    /// json
    #[arg(long, short, default_value = "", value_parser = ["", "json"])]
    output: String,
}

/// Prints every finding. The exit code is 1 where nothing can start as things are.
pub(crate) fn run(doctor: &Doctor) -> anyhow::Result<ExitCode> {
    let options = doctor.node.options()?;
    let paths = Paths::new(&options.data_dir)?;
    // Without the right to look, the directory is not in use by us.
    let running = lock::holder(&paths.lock()).unwrap_or(None);
    let findings = examine(&options, &paths, running);
    if doctor.output == "json" {
        outln!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        out!("{}", text(&findings));
    }
    let fails = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.severity {
            Severity::Ok => "ok     ",
            Severity::Warning => "warning",
            Severity::Error => "ERROR  ",
        };
        text += &format!("{mark}  {}: {}\n", finding.check, finding.found);
        if finding.severity != Severity::Ok {
            text += &format!("         why: {}\n", finding.why);
        }
        if !finding.fix.is_empty() {
            text += &format!("         do:  {}\n", finding.fix);
        }
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    text += &match (errors, warnings) {
        (0, 0) => "\nThis machine has all that onggi needs.\n".to_owned(),
        (0, warnings) => format!("\nonggi runs here; warnings: {warnings}.\n"),
        (errors, _) => format!("\nonggi cannot start here; errors: {errors}.\n"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_say_why_and_what_to_do() {
        let finding = |severity, fix: &str| Finding {
            check: "x",
            severity,
            found: "f".into(),
            why: "w",
            fix: fix.into(),
        };
        let all = [finding(Severity::Ok, ""), finding(Severity::Error, "mend it")];
        let expected = "ok       x: f\nERROR    x: f\n         why: w\n         do:  mend it\n\
                        \nonggi cannot start here; errors: 1.\n";
        assert_eq!(text(&all), expected);
        assert!(text(&all[..1]).ends_with("has all that onggi needs.\n"));
    }
}
