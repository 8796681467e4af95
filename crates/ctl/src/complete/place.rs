//! Where in a command line the cursor stands, and what may stand there.

use clap::{Arg, Command};

/// Where the last word of a command line stands.
#[derive(Debug)]
pub(super) struct Place {
    /// The word that is begun.
    pub(super) word: String,
    /// What of it every candidate begins with: `--output=`.
    pub(super) prefix: String,
    /// The arguments before it that are no flags.
    pub(super) args: Vec<String>,
    /// What may stand there.
    pub(super) want: Want,
}

/// What may stand somewhere. Candidates come with what is said of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Want {
    Nothing,
    Files,
    Verbs(Vec<(String, String)>),
    Flags(Vec<(String, String)>),
    Fixed(Vec<String>),
    Namespaces,
    Contexts,
    Clusters,
    Users,
    /// A kind, or KIND/NAME.
    Kinds,
    /// The objects of a kind.
    Names(String),
    /// A pod, or KIND/NAME.
    Pods,
    Containers,
    Ports,
}

/// The place of the last word.
pub(super) fn of(root: &Command, words: &[String]) -> Place {
    let (word, given) = match words.split_last() {
        Some((word, given)) => (word.as_str(), given),
        None => ("", [].as_slice()),
    };
    let mut command = root;
    let mut path: Vec<&str> = Vec::new();
    let mut args: Vec<String> = Vec::new();
    let (mut pending, mut only_args) = (None, false);
    for one in given {
        if pending.take().is_some() {
            continue;
        }
        if only_args {
            args.push(one.clone());
        } else if one == "--" {
            only_args = true;
        } else if one.starts_with('-') && one.len() > 1 {
            pending = flag(root, command, one).filter(|arg| takes_next(arg) && is_bare(one));
        } else if let (true, Some(next)) = (args.is_empty(), command.find_subcommand(one)) {
            path.push(next.get_name());
            command = next;
        } else {
            args.push(one.clone());
        }
    }
    let place = |prefix: &str, want: Want| Place {
        word: word.to_owned(),
        prefix: prefix.to_owned(),
        args: args.clone(),
        want,
    };
    if let Some(arg) = pending {
        return place("", value(arg, &args));
    }
    if only_args {
        return place("", Want::Nothing);
    }
    if let Some((name, _)) = word.split_once('=').filter(|_| word.starts_with("--")) {
        let want = flag(root, command, name).map_or(Want::Nothing, |arg| value(arg, &args));
        return place(&format!("{name}="), want);
    }
    if word.starts_with('-') {
        return place("", Want::Flags(flags(root, command)));
    }
    if command.has_subcommands() && args.is_empty() {
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let verbs = shown.map(|verb| (verb.get_name().to_owned(), about(verb.get_about())));
        let mut verbs: Vec<_> = verbs.collect();
        verbs.sort();
        return place("", Want::Verbs(verbs));
    }
    let want =
        argument(&path, &args).or_else(|| choices(command, args.len())).unwrap_or(Want::Nothing);
    place("", want)
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or("").to_owned()
}

/// The flag of a word: `--output`, `--output=x`, `-o`, `-ox`.
fn flag<'c>(root: &'c Command, command: &'c Command, word: &str) -> Option<&'c Arg> {
    let mut known = command.get_arguments().chain(root.get_arguments());
    match word.strip_prefix("--") {
        Some(long) => known.find(|arg| arg.get_long() == long.split('=').next()),
        None => known.find(|arg| arg.get_short() == word.chars().nth(1)),
    }
}

fn takes_next(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

/// Whether a flag's word holds no value.
fn is_bare(word: &str) -> bool {
    if word.starts_with("--") { !word.contains('=') } else { word.chars().count() == 2 }
}

/// The flags of a command, and those that all have.
fn flags(root: &Command, command: &Command) -> Vec<(String, String)> {
    let all = command.get_arguments().chain(root.get_arguments());
    let shown = all.filter(|arg| !arg.is_hide_set());
    let mut names: Vec<_> = shown
        .filter_map(|arg| Some((format!("--{}", arg.get_long()?), about(arg.get_help()))))
        .collect();
    names.sort();
    names.dedup_by(|a, b| a.0 == b.0);
    names
}

/// The values of a flag.
fn value(arg: &Arg, args: &[String]) -> Want {
    let known = arg.get_possible_values();
    let known: Vec<String> = known.iter().map(|one| one.get_name().to_owned()).collect();
    if !known.is_empty() {
        return Want::Fixed(known.into_iter().filter(|one| !one.is_empty()).collect());
    }
    match arg.get_long().unwrap_or_default() {
        "namespace" | "namespaces" => Want::Namespaces,
        "context" => Want::Contexts,
        "cluster" => Want::Clusters,
        "user" => Want::Users,
        "container" | "target" if !args.is_empty() => Want::Containers,
        "output" => Want::Fixed(
            [
                "custom-columns=",
                "custom-columns-file=",
                "go-template=",
                "go-template-file=",
                "json",
                "jsonpath=",
                "jsonpath-as-json=",
                "jsonpath-file=",
                "kyaml",
                "name",
                "wide",
                "yaml",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        "filename"
        | "kustomize"
        | "kubeconfig"
        | "kuberc"
        | "custom"
        | "from-file"
        | "from-env-file"
        | "certificate-authority"
        | "client-certificate"
        | "client-key"
        | "patch-file"
        | "output-directory"
        | "cert"
        | "key" => Want::Files,
        _ => Want::Nothing,
    }
}

/// What a verb takes at a place, where it is more than text.
fn argument(path: &[&str], args: &[String]) -> Option<Want> {
    // `pods a b`, and `pod/a pod/b`.
    let objects = || match args.first().filter(|first| !first.contains('/')) {
        Some(kind) => Want::Names(kind.clone()),
        None => Want::Kinds,
    };
    let only_first = |want: Want| if args.is_empty() { want } else { Want::Nothing };
    Some(match path {
        [
            "get" | "describe" | "delete" | "edit" | "patch" | "wait" | "scale" | "expose"
            | "autoscale" | "label" | "annotate",
        ]
        | ["rollout" | "set", _]
        | ["apply", _] => objects(),
        ["explain"] => only_first(Want::Kinds),
        ["exec" | "attach" | "debug"] => only_first(Want::Pods),
        ["logs" | "log"] => match args.len() {
            0 => Want::Pods,
            1 => Want::Containers,
            _ => Want::Nothing,
        },
        ["port-forward"] if args.is_empty() => Want::Pods,
        ["port-forward"] => Want::Ports,
        ["cordon" | "uncordon" | "drain"] => Want::Names("nodes".to_owned()),
        ["taint"] if args.is_empty() => Want::Fixed(vec!["nodes".to_owned()]),
        ["taint"] => Want::Names("nodes".to_owned()),
        ["top", "pod" | "pods"] => only_first(Want::Names("pods".to_owned())),
        ["top", "node" | "nodes"] => only_first(Want::Names("nodes".to_owned())),
        ["certificate", _] => Want::Names("certificatesigningrequests".to_owned()),
        ["create", "token"] => only_first(Want::Names("serviceaccounts".to_owned())),
        [
            "config",
            "use-context" | "delete-context" | "get-contexts" | "set-context" | "rename-context",
        ] => only_first(Want::Contexts),
        ["config", "delete-cluster" | "set-cluster"] => only_first(Want::Clusters),
        ["config", "delete-user" | "set-credentials"] => only_first(Want::Users),
        ["cp" | "kustomize"] => Want::Files,
        _ => return None,
    })
}

/// The values that the arguments of a command are among.
fn choices(command: &Command, at: usize) -> Option<Want> {
    let arg = command.get_positionals().nth(at)?;
    let known: Vec<String> =
        arg.get_possible_values().iter().map(|one| one.get_name().to_owned()).collect();
    (!known.is_empty()).then_some(Want::Fixed(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Want {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let root = crate::flags::as_kubectl(crate::verbs::own_command());
        of(&root, &words).want
    }

    #[test]
    fn what_may_stand_there() {
        let names = |kind: &str| Want::Names(kind.to_owned());
        for (line, want) in [
            ("get ", Want::Kinds),
            ("get po", Want::Kinds),
            ("get pod/a", Want::Kinds),
            ("get pods ", names("pods")),
            ("get -n x pods a", names("pods")),
            ("get pods -n ", Want::Namespaces),
            ("--context ", Want::Contexts),
            ("get pods --cluster=", Want::Clusters),
            ("logs web ", Want::Containers),
            ("logs -f web -c ", Want::Containers),
            ("exec web -- ", Want::Nothing),
            ("port-forward web 80 ", Want::Ports),
            ("drain ", names("nodes")),
            ("rollout status ", Want::Kinds),
            ("rollout status deploy ", names("deploy")),
            ("config use-context ", Want::Contexts),
            ("apply -f ", Want::Files),
            ("create token ", names("serviceaccounts")),
            ("version ", Want::Nothing),
        ] {
            assert_eq!(wanted(line), want, "{line}");
        }
        let Want::Verbs(verbs) = wanted("rollout ") else { panic!() };
        assert!(verbs.iter().any(|(name, about)| name == "undo" && !about.is_empty()));
        let Want::Flags(flags) = wanted("get --") else { panic!() };
        assert!(flags.iter().any(|(name, _)| name == "--all-namespaces"));
        assert!(flags.iter().any(|(name, _)| name == "--kubeconfig"));
        let Want::Fixed(shells) = wanted("completion ") else { panic!() };
        assert_eq!(shells, ["bash", "zsh", "fish", "powershell"]);
        let words = ["get".to_owned(), "--output=y".to_owned()];
        let root = crate::flags::as_kubectl(crate::verbs::own_command());
        assert_eq!(of(&root, &words).prefix, "--output=");
    }
}
