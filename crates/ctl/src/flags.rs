//! Flags that many verbs have, and the command line as kubectl reads it.

use clap::{ArgAction, Command};

use crate::error::Error;
use crate::output::Format;
use crate::select::DryRun;

/// How objects are printed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Printing {
    /// json, yaml, name, go-template=…, jsonpath=…, custom-columns=…
    #[arg(long, short, default_value = "", value_name = "FORMAT")]
    pub output: String,
    /// A template, or its file, for go-template and go-template-file
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<String>,
    /// What a template does not find is no error
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = ArgAction::Set)]
    pub allow_missing_template_keys: bool,
    /// Print the managers of fields too
    #[arg(long)]
    pub show_managed_fields: bool,
}

/// How a change is sent.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Writing {
    /// Try it out only
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value = "none", default_missing_value = "client")]
    pub dry_run: DryRun,
    /// Name of the manager of the fields
    #[arg(long, value_name = "NAME")]
    pub field_manager: Option<String>,
}

impl Printing {
    /// The format that is asked for, where there are no columns.
    pub fn format(&self) -> Result<Format, Error> {
        const KNOWN: &[&str] = &[
            "",
            "go-template",
            "go-template-file",
            "json",
            "jsonpath",
            "jsonpath-as-json",
            "jsonpath-file",
            "kyaml",
            "name",
            "template",
            "templatefile",
            "yaml",
        ];
        let name = self.output.split('=').next().unwrap_or_default();
        if !KNOWN.contains(&name) {
            return Err(Error::new(format!(
                "unable to match a printer suitable for the output format {name:?}, allowed \
                 formats are: {}",
                KNOWN[1..].join(",")
            )));
        }
        self.any_format()
    }

    /// The format that is asked for.
    pub fn any_format(&self) -> Result<Format, Error> {
        let format = match (&self.template, self.output.as_str()) {
            (Some(template), "" | "go-template" | "template") => {
                Format::parse(&format!("go-template={template}"))?
            }
            (Some(file), output @ ("go-template-file" | "templatefile" | "jsonpath-file")) => {
                Format::parse(&format!("{output}={file}"))?
            }
            (Some(template), "jsonpath") => Format::parse(&format!("jsonpath={template}"))?,
            _ => Format::parse(&self.output)?,
        };
        let text = self.output.split_once('=').map_or("", |(_, text)| text);
        let text = self.template.as_deref().unwrap_or(text);
        Ok(if self.allow_missing_template_keys { format } else { format.strict(text) })
    }
}

impl Writing {
    /// The manager that is named, else the verb's own.
    pub fn manager<'a>(&'a self, own: &'a str) -> &'a str {
        self.field_manager.as_deref().filter(|name| !name.is_empty()).unwrap_or(own)
    }
}

/// A program's command line with the verbs in it, as kubectl reads one: every switch takes
/// `=true` and `=false`.
pub fn as_kubectl(command: Command) -> Command {
    command
        .args_override_self(true)
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .value_parser(boolean)
                .default_value("false")
                .default_missing_value("true")
                .hide_possible_values(true)
                .hide_default_value(true),
            _ => arg,
        })
        .mut_subcommands(as_kubectl)
}

/// What is printed for a command line that makes no sense, as kubectl says it where it has words
/// for it.
pub fn usage(error: &clap::Error, program: &str, words: &[String]) -> String {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let verb = words.iter().find(|word| !word.starts_with('-')).map_or("", String::as_str);
    let help = if verb.is_empty() {
        format!("{program} --help")
    } else {
        format!("{program} {verb} --help")
    };
    let given = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    match error.kind() {
        ErrorKind::UnknownArgument if given(ContextKind::InvalidArg).starts_with("--") => {
            let flag = given(ContextKind::InvalidArg);
            format!("error: unknown flag: {flag}\nSee '{help}' for usage.\n")
        }
        ErrorKind::UnknownArgument if given(ContextKind::InvalidArg).starts_with('-') => {
            let flag = given(ContextKind::InvalidArg);
            let letter = flag.chars().nth(1).unwrap_or('-');
            format!(
                "error: unknown shorthand flag: '{letter}' in {flag}\nSee '{help}' for usage.\n"
            )
        }
        ErrorKind::InvalidSubcommand => {
            let unknown = given(ContextKind::InvalidSubcommand);
            let near = match error.get(ContextKind::SuggestedSubcommand) {
                Some(ContextValue::Strings(names)) if !names.is_empty() => {
                    let names: String = names.iter().map(|name| format!("\t{name}\n")).collect();
                    format!("\nDid you mean this?\n{names}")
                }
                _ => String::new(),
            };
            format!("error: unknown command {unknown:?} for {program:?}\n{near}")
        }
        ErrorKind::ValueValidation => {
            let (flag, value) = (given(ContextKind::InvalidArg), given(ContextKind::InvalidValue));
            let flag = flag.split(' ').next().unwrap_or(flag);
            let why = std::error::Error::source(error).map_or_else(String::new, |e| e.to_string());
            let why = match why.as_str() {
                "invalid digit found in string" | "cannot parse integer from empty string" => {
                    format!("strconv.ParseInt: parsing {value:?}: invalid syntax")
                }
                _ => why,
            };
            format!(
                "error: invalid argument {value:?} for {flag:?} flag: {why}\nSee '{help}' for \
                 usage.\n"
            )
        }
        ErrorKind::InvalidValue if given(ContextKind::InvalidValue).is_empty() => {
            let flag = given(ContextKind::InvalidArg).split([' ', '=']).next().unwrap_or_default();
            format!("error: flag needs an argument: {flag}\nSee '{help}' for usage.\n")
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(names)) => names.as_slice(),
                _ => &[],
            };
            let name = |arg: &String| {
                let flag = arg.strip_prefix("--")?;
                Some(format!("{:?}", flag.split([' ', '=']).next().unwrap_or(flag)))
            };
            let flags: Vec<String> = missing.iter().filter_map(name).collect();
            match flags.as_slice() {
                [] if missing.iter().any(|arg| arg == "<NAME>") => {
                    let words = words.iter().take_while(|word| !word.starts_with('-'));
                    let verb = words.take(2).cloned().collect::<Vec<_>>().join(" ");
                    format!(
                        "error: exactly one NAME is required, got 0\nSee '{program} {verb} -h' \
                         for help and examples\n"
                    )
                }
                [] => error.to_string(),
                flags => format!("error: required flag(s) {} not set\n", flags.join(", ")),
            }
        }
        _ => error.to_string(),
    }
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[arg(long, short)]
        on: bool,
        #[command(flatten)]
        writing: Writing,
    }

    #[test]
    fn what_makes_no_sense() {
        use clap::CommandFactory;
        let said = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let error = Line::command().try_get_matches_from(&words).unwrap_err();
            usage(&error, "onggi", &words[1..])
        };
        let expected = "error: unknown flag: --foo\nSee 'onggi --help' for usage.\n";
        assert_eq!(said("x --foo"), expected);
        let expected = "error: unknown shorthand flag: 'z' in -z\nSee 'onggi --help' for usage.\n";
        assert_eq!(said("x -z"), expected);
    }

    #[test]
    fn switches_take_values() {
        use clap::CommandFactory;
        for (line, on) in
            [("", false), ("--on", true), ("-o", true), ("--on=false", false), ("--on=T", true)]
        {
            let words = std::iter::once("x").chain(line.split_whitespace());
            let matches = as_kubectl(Line::command()).try_get_matches_from(words).unwrap();
            let read = Line::from_arg_matches(&matches).unwrap();
            assert_eq!((read.on, read.writing.dry_run), (on, DryRun::None), "{line}");
        }
        let words = ["x", "--on=maybe"];
        assert!(as_kubectl(Line::command()).try_get_matches_from(words).is_err());
    }
}
