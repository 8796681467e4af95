//! The binary: arguments, signals, `up`, `down`, `demo`.

/// Prints to the output. What nobody reads any more nobody misses: the work goes on; of another
/// fault the exit code tells.
macro_rules! out {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let mut output = std::io::stdout().lock();
        let written = write!(output, $($text)*).and_then(|()| output.flush());
        drop(output);
        if let Err(error) = written {
            crate::unwritten(&error);
        }
    }};
}

/// As `out!`, with the end of the line.
macro_rules! outln {
    ($($text:tt)*) => {
        out!("{}\n", format_args!($($text)*))
    };
}

mod args;
mod demo;
mod doctor;
mod http;
mod images;
mod lifecycle;
mod status;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{CommandFactory, FromArgMatches};

use crate::args::{Args, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whether something could not be printed.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Says once why something could not be printed.
fn unwritten(error: &std::io::Error) {
    let is_unread = error.kind() == std::io::ErrorKind::BrokenPipe;
    if !is_unread && !UNWRITTEN.swap(true, Ordering::Relaxed) {
        eprintln!("error: cannot print: {error}");
    }
}

fn main() -> ExitCode {
    // The hidden roles come first: a shim must stay small and needs nothing of what follows.
    let given: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    match given.split_first() {
        Some((role, rest)) if role == "shim" => return exit(onggi_runtime::shim::main(rest)),
        Some((role, rest)) if role == "shop" => return shop(rest),
        _ => {}
    }
    let expanded = match preferred(&given) {
        Ok(expanded) => expanded,
        Err(error) => return onggi_ctl::ended(Err(error)),
    };
    for line in &expanded.said {
        eprintln!("{line}");
    }
    let meant = expanded.words;
    let args = match parse(&meant) {
        Ok(args) => args,
        Err(error) => {
            // A plugin gets the words as they were given; an alias names none.
            let plugin = if expanded.is_alias { None } else { plugin(&error, &given) };
            return plugin.unwrap_or_else(|| usage(&error, &meant));
        }
    };
    let globals = onggi_ctl::Globals { plugins: expanded.plugins, ..args.globals };
    match run(args.command, globals) {
        Ok(_) if UNWRITTEN.load(Ordering::Relaxed) => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// The command line as the user's preferences have it. They are those of kubectl's verbs: whatever
/// stands in them, a cluster can be ended.
fn preferred(given: &[String]) -> Result<onggi_ctl::kuberc::Expanded, onggi_ctl::Error> {
    use clap::Subcommand;
    let root = Args::command();
    let verb = onggi_ctl::kuberc::verb(&root, given);
    if verb.is_none_or(onggi_ctl::Verb::has_subcommand) {
        return onggi_ctl::kuberc::expand(&root, given);
    }
    Ok(onggi_ctl::kuberc::Expanded { words: given.to_vec(), ..Default::default() })
}

/// Reads the command line as kubectl would.
fn parse(given: &[String]) -> Result<Args, clap::Error> {
    let command = onggi_ctl::flags::as_kubectl(Args::command());
    let matches = match given.split_first() {
        // `help create cm` is `create cm --help`.
        Some((help, verb)) if help == "help" => {
            let words = about(&command, verb);
            command.try_get_matches_from(words)?
        }
        // As they came, where the preferences left them: a path may be no text.
        _ if std::env::args_os()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned())
            .eq(given.iter().cloned()) =>
        {
            command.try_get_matches()?
        }
        _ => command.try_get_matches_from(std::iter::once(&"onggi".to_owned()).chain(given))?,
    };
    Args::from_arg_matches(&matches)
}

/// The command line that tells of a verb: its words alone, lest the rest make it run.
fn about(command: &clap::Command, given: &[String]) -> Vec<String> {
    let (mut words, mut within) = (vec!["onggi".to_owned()], command);
    for word in given {
        let Some(verb) = within.find_subcommand(word) else { break };
        words.push(word.clone());
        within = verb;
    }
    words.push("--help".to_owned());
    words
}

/// Becomes the program `kubectl-VERB` or `onggi-VERB` where the verb is none of ours.
fn plugin(error: &clap::Error, given: &[String]) -> Option<ExitCode> {
    use std::os::unix::process::CommandExt;
    let first = given.first()?;
    if error.kind() != clap::error::ErrorKind::InvalidSubcommand || first == "help" {
        return None;
    }
    let found = onggi_ctl::plugin::find(given, &std::env::var_os("PATH")?);
    // What `create` cannot make, `kubectl-create-NAME` may.
    let (program, count) = match Args::command().find_subcommand(first) {
        None => found?,
        Some(verb) if verb.get_name() == "create" => found.filter(|(_, count)| *count > 1)?,
        Some(_) => return None,
    };
    let arguments = std::env::args_os().skip(1 + count);
    let failed = std::process::Command::new(&program).args(arguments).exec();
    eprintln!("error: {}: {failed}", program.display());
    Some(ExitCode::FAILURE)
}

/// Help and versions are answers; a command line that makes no sense is a failure like any other.
fn usage(error: &clap::Error, words: &[String]) -> ExitCode {
    if !error.use_stderr() {
        // Where nobody reads it, nobody misses it.
        let _unread = error.print();
        return ExitCode::SUCCESS;
    }
    eprint!("{}", onggi_ctl::flags::usage(error, "onggi", words));
    ExitCode::FAILURE
}

/// The error with its causes, without those that it names itself.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn run(command: Command, globals: onggi_ctl::Globals) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(node) => lifecycle::up(&node.options()?),
        Command::Demo(node) => demo::run(&node.options()?),
        Command::Down(down) => lifecycle::down(&down),
        Command::Server(server) => lifecycle::server(server.options()?),
        Command::Daemon { options } => lifecycle::daemon(&options),
        Command::Secrets(crate::args::Secrets::RotateKey(place)) => lifecycle::rotate_key(&place),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Kubeconfig(place) => lifecycle::kubeconfig(&place),
        Command::Status(status) => lifecycle::wait(status::run(&status)),
        Command::Images(verb) => lifecycle::wait(images::run(verb)),
        Command::Kubectl(verb) => match *verb {
            onggi_ctl::Verb::Complete(complete) => lifecycle::wait(async {
                let session = onggi_ctl::Session::new(globals);
                Ok(onggi_ctl::ended(complete.run(&session, Args::command()).await))
            }),
            verb => lifecycle::wait(async { Ok(verb.run(globals).await) }),
        },
    }
}

fn exit(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The sample application, which lives in this binary so that one file makes its image.
fn shop(arguments: &[String]) -> ExitCode {
    let service = arguments.first().map_or("", String::as_str);
    match onggi_shop::run(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster can be ended whatever stands in the preferences.
    #[test]
    fn preferences_are_those_of_kubectls_verbs() {
        use clap::Subcommand;
        for (line, is_kubectls) in [
            ("-v 3 down", false),
            ("-n down get pods", true),
            ("--context c up", false),
            ("delete cm down", true),
        ] {
            let given: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let root = Args::command();
            let verb = onggi_ctl::kuberc::verb(&root, &given);
            assert_eq!(verb.is_none_or(onggi_ctl::Verb::has_subcommand), is_kubectls, "{line}");
        }
    }

    #[test]
    fn help_runs_nothing() {
        let said = |line: &str| {
            let given: Vec<_> = line.split(' ').map(str::to_owned).collect();
            about(&Args::command(), &given).join(" ")
        };
        assert_eq!(said("create cm"), "onggi create cm --help");
        assert_eq!(said("delete -- pods --all"), "onggi delete --help");
        assert_eq!(said("delete pods x"), "onggi delete --help");
    }
}
