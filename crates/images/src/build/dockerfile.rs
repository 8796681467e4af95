//! A Dockerfile as stages of steps: owned, checked, not yet expanded.

use parse_dockerfile as syntax;
use syntax::Instruction;

use super::words;
use crate::spec::Healthcheck;
use crate::{Error, Result};

/// A whole file.
#[derive(Debug)]
pub(super) struct Dockerfile {
    /// `ARG` before the first `FROM`.
    pub(super) args: Vec<(usize, String, Option<String>)>,
    pub(super) stages: Vec<Stage>,
    pub(super) escape: char,
}

/// From one `FROM` to the next.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) image: String,
    pub(super) platform: Option<String>,
    pub(super) name: Option<String>,
    pub(super) steps: Vec<Step>,
}

/// An instruction.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// From 1.
    pub(super) line: usize,
    /// As it stands, on one line.
    pub(super) text: String,
    pub(super) op: Op,
}

/// What it does.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Arg(Vec<(String, Option<String>)>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Workdir(String),
    User(String),
    Expose(Vec<String>),
    Volume(Vec<String>),
    StopSignal(String),
    Cmd(Command),
    Entrypoint(Command),
    Shell(Vec<String>),
    Healthcheck(Healthcheck),
    Maintainer(String),
    OnBuild(String),
    Copy(Copy),
    Run(Run),
}

/// Exec or shell form.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Exec(Vec<String>),
    Shell(String),
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, Default)]
pub(super) struct Copy {
    /// `ADD`: archives are unpacked.
    pub(super) add: bool,
    pub(super) from: Option<String>,
    pub(super) chown: Option<String>,
    pub(super) chmod: Option<String>,
    pub(super) sources: Vec<String>,
    /// Here-documents: name, text, whether variables are replaced.
    pub(super) inline: Vec<(String, String, bool)>,
    pub(super) dest: String,
}

/// `RUN`.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) command: Command,
    pub(super) network: bool,
    /// `--mount=type=cache` targets with their ids.
    pub(super) caches: Vec<(String, String)>,
}

/// Parses; `file` is for messages.
pub(super) fn parse(file: &str, text: &str) -> Result<Dockerfile> {
    let parsed = syntax::parse(text).map_err(|e| Error::Build {
        file: file.to_owned(),
        line: e.line(),
        message: e.to_string(),
    })?;
    let escape = parsed.parser_directives.escape.as_ref().map_or('\\', |d| d.value.value);
    let reader = Reader { file, text: text.strip_prefix('\u{feff}').unwrap_or(text), escape };
    let mut args = Vec::new();
    for arg in parsed.global_args() {
        let line = reader.line(arg.arg.span.start);
        for (name, value) in reader.args(line, &arg.arguments.value)? {
            args.push((line, name, value));
        }
    }
    let mut stages = Vec::new();
    for stage in parsed.stages() {
        let from = stage.from;
        let line = reader.line(from.from.span.start);
        let mut platform = None;
        for flag in &from.options {
            match (&*flag.name.value, &flag.value) {
                ("platform", Some(value)) => platform = Some(value.value.to_string()),
                (other, _) => return Err(reader.unknown_flag(line, "FROM", other)),
            }
        }
        let mut text = format!("FROM {}", from.image.value);
        if let Some((_, name)) = &from.as_ {
            text.push_str(&format!(" AS {}", name.value));
        }
        stages.push(Stage {
            line,
            text,
            image: from.image.value.to_string(),
            platform,
            name: from.as_.as_ref().map(|(_, name)| name.value.to_lowercase()),
            steps: stage.instructions.iter().map(|i| reader.step(i)).collect::<Result<_>>()?,
        });
    }
    Ok(Dockerfile { args, stages, escape })
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    escape: char,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
    }

    fn error(&self, line: usize, message: impl Into<String>) -> Error {
        Error::Build { file: self.file.to_owned(), line, message: message.into() }
    }

    fn unknown_flag(&self, line: usize, instruction: &str, flag: &str) -> Error {
        self.error(line, format!("{instruction} --{flag} is not supported"))
    }

    fn args(&self, line: usize, text: &str) -> Result<Vec<(String, Option<String>)>> {
        let words = words::split(text, self.escape);
        if words.is_empty() {
            return Err(self.error(line, "ARG needs a name"));
        }
        Ok(words
            .iter()
            .map(|word| match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            })
            .collect())
    }

    fn step(&self, instruction: &Instruction<'_>) -> Result<Step> {
        let (name, start) = keyword(instruction);
        let line = self.line(start);
        let (op, rest) = self.op(instruction, line)?;
        Ok(Step { line, text: format!("{name} {rest}"), op })
    }

    fn pairs(&self, line: usize, what: &str, text: &str) -> Result<Vec<(String, String)>> {
        words::pairs(text, self.escape).map_err(|e| self.error(line, format!("{what}: {e}")))
    }

    /// The operation, and how it is shown.
    fn op(&self, instruction: &Instruction<'_>, line: usize) -> Result<(Op, String)> {
        let plain = |text: &str| text.trim().to_owned();
        Ok(match instruction {
            Instruction::Arg(i) => {
                (Op::Arg(self.args(line, &i.arguments.value)?), plain(&i.arguments.value))
            }
            Instruction::Env(i) => {
                (Op::Env(self.pairs(line, "ENV", &i.arguments.value)?), plain(&i.arguments.value))
            }
            Instruction::Label(i) => (
                Op::Label(self.pairs(line, "LABEL", &i.arguments.value)?),
                plain(&i.arguments.value),
            ),
            Instruction::Workdir(i) => {
                (Op::Workdir(plain(&i.arguments.value)), plain(&i.arguments.value))
            }
            Instruction::User(i) => {
                (Op::User(plain(&i.arguments.value)), plain(&i.arguments.value))
            }
            Instruction::Stopsignal(i) => {
                (Op::StopSignal(plain(&i.arguments.value)), plain(&i.arguments.value))
            }
            Instruction::Maintainer(i) => {
                (Op::Maintainer(plain(&i.name.value)), plain(&i.name.value))
            }
            Instruction::Expose(i) => {
                let ports: Vec<String> = i.arguments.iter().map(|a| a.value.to_string()).collect();
                let shown = ports.join(" ");
                (Op::Expose(ports), shown)
            }
            Instruction::Volume(i) => {
                let paths: Vec<String> = match &i.arguments {
                    syntax::JsonOrStringArray::Json(list) => {
                        list.value.iter().map(|a| a.value.to_string()).collect()
                    }
                    syntax::JsonOrStringArray::String(list) => {
                        list.iter().map(|a| a.value.to_string()).collect()
                    }
                };
                let shown = paths.join(" ");
                (Op::Volume(paths), shown)
            }
            Instruction::Cmd(i) => {
                let command = self.command(&i.arguments);
                let shown = show(&command);
                (Op::Cmd(command), shown)
            }
            Instruction::Entrypoint(i) => {
                let command = self.command(&i.arguments);
                let shown = show(&command);
                (Op::Entrypoint(command), shown)
            }
            Instruction::Shell(i) => {
                let shell: Vec<String> = i.arguments.iter().map(|a| a.value.to_string()).collect();
                let shown = show(&Command::Exec(shell.clone()));
                (Op::Shell(shell), shown)
            }
            Instruction::Healthcheck(i) => self.healthcheck(i, line)?,
            Instruction::Onbuild(i) => {
                let step = self.step(&i.instruction)?;
                (Op::OnBuild(step.text.clone()), step.text)
            }
            Instruction::Add(i) => self.copy(line, true, &i.options, &i.src, &i.dest)?,
            Instruction::Copy(i) => self.copy(line, false, &i.options, &i.src, &i.dest)?,
            Instruction::Run(i) => self.run(i, line)?,
            _ => return Err(self.error(line, "this instruction is not supported")),
        })
    }

    fn command(&self, command: &syntax::Command<'_>) -> Command {
        match command {
            syntax::Command::Exec(list) => {
                Command::Exec(list.value.iter().map(|a| a.value.to_string()).collect())
            }
            syntax::Command::Shell(text) => Command::Shell(self.joined(text.value)),
            _ => Command::Exec(Vec::new()),
        }
    }

    /// Continued lines made one; comment lines between them go.
    fn joined(&self, text: &str) -> String {
        let mut out = String::new();
        let mut continued = false;
        for line in text.lines() {
            if continued && line.trim_start().starts_with('#') {
                continue;
            }
            match line.trim_end().strip_suffix(self.escape) {
                Some(head) => {
                    out.push_str(head);
                    continued = true;
                }
                None if continued && line.trim().is_empty() => {}
                None => {
                    out.push_str(line);
                    out.push('\n');
                    continued = false;
                }
            }
        }
        out.trim().to_owned()
    }

    fn copy(
        &self,
        line: usize,
        add: bool,
        flags: &[syntax::Flag<'_>],
        sources: &[syntax::Source<'_>],
        dest: &syntax::UnescapedString<'_>,
    ) -> Result<(Op, String)> {
        let what = if add { "ADD" } else { "COPY" };
        let mut copy = Copy { add, dest: dest.value.to_string(), ..Copy::default() };
        let mut shown = String::new();
        for flag in flags {
            let value = flag.value.as_ref().map(|v| v.value.to_string());
            if let Some(value) = &value {
                shown.push_str(&format!("--{}={value} ", flag.name.value));
            }
            match (&*flag.name.value, value) {
                ("chown", Some(value)) => copy.chown = Some(value),
                ("chmod", Some(value)) => copy.chmod = Some(value),
                ("from", Some(value)) if !add => copy.from = Some(value),
                // How layers are kept is our affair.
                ("link", _) => {}
                (other, _) => return Err(self.unknown_flag(line, what, other)),
            }
        }
        for source in sources {
            match source {
                syntax::Source::Path(path) => {
                    shown.push_str(&format!("{} ", path.value));
                    copy.sources.push(path.value.to_string());
                }
                syntax::Source::HereDoc(doc) => {
                    let name = self.delimiter(line, copy.inline.len());
                    shown.push_str(&format!("<<{name} "));
                    copy.inline.push((name, doc.value.to_string(), doc.expand));
                }
                _ => {
                    return Err(
                        self.error(line, format!("{what}: this kind of source is not supported"))
                    );
                }
            }
        }
        shown.push_str(&copy.dest);
        Ok((Op::Copy(copy), shown))
    }

    /// The word of the n-th here-document of a line.
    fn delimiter(&self, line: usize, n: usize) -> String {
        let text = self.text.lines().nth(line - 1).unwrap_or_default();
        let word = text.split("<<").nth(n + 1).unwrap_or("EOF");
        let word = word.trim_start_matches(['-', '"', '\'']);
        word.chars().take_while(|c| c.is_alphanumeric() || "_.-".contains(*c)).collect()
    }

    fn run(&self, i: &syntax::RunInstruction<'_>, line: usize) -> Result<(Op, String)> {
        let mut run =
            Run { command: self.command(&i.arguments), network: true, caches: Vec::new() };
        for flag in &i.options {
            let value = flag.value.as_ref().map(|v| v.value.to_string()).unwrap_or_default();
            match &*flag.name.value {
                "network" => match value.as_str() {
                    "default" | "host" => {}
                    "none" => run.network = false,
                    _ => {
                        return Err(self.error(line, format!("RUN --network={value} is not known")));
                    }
                },
                "mount" => run.caches.push(self.mount(line, &value)?),
                other => return Err(self.unknown_flag(line, "RUN", other)),
            }
        }
        // The parser knows here-documents only right behind RUN.
        if let (Command::Shell(rest), [doc]) = (&run.command, &i.here_docs[..]) {
            run.command = Command::Shell(if rest.is_empty() {
                doc.value.to_string()
            } else {
                let name = self.delimiter(line, 0);
                let quote = if doc.expand { "" } else { "'" };
                format!("<<{quote}{name}{quote} {rest}\n{}{name}\n", doc.value)
            });
        }
        let shown = show(&run.command);
        Ok((Op::Run(run), shown))
    }

    fn mount(&self, line: usize, value: &str) -> Result<(String, String)> {
        let field = |name: &str| {
            value
                .split(',')
                .find_map(|part| part.split_once('=').filter(|(k, _)| *k == name).map(|(_, v)| v))
        };
        let target = field("target").or_else(|| field("dst")).or_else(|| field("destination"));
        match (field("type"), target) {
            (Some("cache"), Some(target)) => {
                Ok((target.to_owned(), field("id").unwrap_or(target).to_owned()))
            }
            (Some("cache"), None) => Err(self.error(line, "RUN --mount=type=cache needs a target")),
            (kind, _) => Err(self.error(
                line,
                format!(
                    "RUN --mount=type={} is not supported yet, only cache",
                    kind.unwrap_or("bind")
                ),
            )),
        }
    }

    fn healthcheck(
        &self,
        i: &syntax::HealthcheckInstruction<'_>,
        line: usize,
    ) -> Result<(Op, String)> {
        let mut check = Healthcheck::default();
        for flag in &i.options {
            let value = flag.value.as_ref().map(|v| v.value.to_string()).unwrap_or_default();
            let bad = || {
                self.error(line, format!("HEALTHCHECK --{}={value} is not valid", flag.name.value))
            };
            match &*flag.name.value {
                "interval" => check.interval = nanoseconds(&value).ok_or_else(bad)?,
                "timeout" => check.timeout = nanoseconds(&value).ok_or_else(bad)?,
                "start-period" => check.start_period = nanoseconds(&value).ok_or_else(bad)?,
                "retries" => check.retries = value.parse().map_err(|_| bad())?,
                other => return Err(self.unknown_flag(line, "HEALTHCHECK", other)),
            }
        }
        let shown = match &i.arguments {
            syntax::HealthcheckArguments::Cmd { arguments, .. } => {
                let command = self.command(arguments);
                let shown = format!("CMD {}", show(&command));
                check.test = match command {
                    Command::Exec(args) => std::iter::once("CMD".to_owned()).chain(args).collect(),
                    Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
                };
                shown
            }
            _ => {
                check.test = vec!["NONE".to_owned()];
                "NONE".to_owned()
            }
        };
        Ok((Op::Healthcheck(check), shown))
    }
}

/// How a command is shown: on one line.
fn show(command: &Command) -> String {
    match command {
        Command::Exec(args) => serde_json::to_string(args).unwrap_or_default(),
        Command::Shell(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// Go's durations: `1m30s`, `500ms`.
fn nanoseconds(text: &str) -> Option<i64> {
    let mut total = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match rest.get(..unit)? {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = rest.get(unit..)?;
    }
    Some(total as i64)
}

fn keyword(instruction: &Instruction<'_>) -> (&'static str, usize) {
    match instruction {
        Instruction::Add(i) => ("ADD", i.add.span.start),
        Instruction::Arg(i) => ("ARG", i.arg.span.start),
        Instruction::Cmd(i) => ("CMD", i.cmd.span.start),
        Instruction::Copy(i) => ("COPY", i.copy.span.start),
        Instruction::Entrypoint(i) => ("ENTRYPOINT", i.entrypoint.span.start),
        Instruction::Env(i) => ("ENV", i.env.span.start),
        Instruction::Expose(i) => ("EXPOSE", i.expose.span.start),
        Instruction::From(i) => ("FROM", i.from.span.start),
        Instruction::Healthcheck(i) => ("HEALTHCHECK", i.healthcheck.span.start),
        Instruction::Label(i) => ("LABEL", i.label.span.start),
        Instruction::Maintainer(i) => ("MAINTAINER", i.maintainer.span.start),
        Instruction::Onbuild(i) => ("ONBUILD", i.onbuild.span.start),
        Instruction::Run(i) => ("RUN", i.run.span.start),
        Instruction::Shell(i) => ("SHELL", i.shell.span.start),
        Instruction::Stopsignal(i) => ("STOPSIGNAL", i.stopsignal.span.start),
        Instruction::User(i) => ("USER", i.user.span.start),
        Instruction::Volume(i) => ("VOLUME", i.volume.span.start),
        Instruction::Workdir(i) => ("WORKDIR", i.workdir.span.start),
        _ => ("?", 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let file = parse(
            "Dockerfile",
            "ARG V=1\nFROM node:$V AS Build\n# c\nRUN a && \\\n  # comment\n  b\nCOPY --chown=1:2 a b /c/\n\
             CMD [\"x\", \"y\"]\nHEALTHCHECK --interval=1m30s CMD true\n\nFROM scratch\nCOPY --from=build /a /b\n\
             RUN <<EOF\none\ntwo\nEOF\n",
        )
        .unwrap();
        assert_eq!(file.args[0].1, "V");
        assert_eq!(file.stages.len(), 2);
        let build = &file.stages[0];
        assert_eq!((build.name.as_deref(), build.line), (Some("build"), 2));
        let Op::Run(run) = &build.steps[0].op else { panic!() };
        assert_eq!(run.command, Command::Shell("a &&   b".into()));
        assert_eq!(build.steps[0].line, 4);
        assert_eq!(build.steps[1].text, "COPY --chown=1:2 a b /c/");
        assert_eq!(build.steps[2].text, "CMD [\"x\",\"y\"]");
        let Op::Healthcheck(check) = &build.steps[3].op else { panic!() };
        assert_eq!((check.interval, check.test.len()), (90_000_000_000, 2));
        let Op::Run(run) = &file.stages[1].steps[1].op else { panic!() };
        assert_eq!(run.command, Command::Shell("one\ntwo\n".into()));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("FROM a\nCOPY --weird=1 a b\n", 2),
            ("FROM a\n\nNONSENSE x\n", 3),
            ("FROM a\nENV A\n", 2),
            ("FROM a\nRUN --mount=type=secret,id=x true\n", 2),
            ("RUN x\n", 1),
        ] {
            match parse("D", text) {
                Err(Error::Build { line: at, .. }) => assert_eq!(at, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
