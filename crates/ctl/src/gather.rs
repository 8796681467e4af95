//! What a command line chooses: arguments, files and selectors together, and what of it may not
//! stand together.

use onggi_machinery::value::str_at;

use crate::apply::modernize;
use crate::discovery::Mapper;
use crate::error::Error;
use crate::manifest::{Files, Manifest};
use crate::select::{Found, Selectors, Target, targets};
use crate::session::Session;
use crate::verbs::apply::{Labels, labels};

/// What is meant.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// TYPE NAME…, TYPE/NAME….
    pub args: &'a [String],
    /// Files with objects.
    pub files: &'a Files,
    /// Labels and fields that the objects have.
    pub selectors: &'a Selectors,
    /// `--all`, where it is as a selector that everything fits.
    pub all: bool,
    /// A kind alone means all objects of it.
    pub whole_kinds: bool,
    /// Those of every namespace.
    pub all_namespaces: bool,
}

/// What was found, and why other things were not.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The objects, as the server has them.
    pub found: Vec<Found>,
    /// What went wrong for others.
    pub errors: Vec<Error>,
}

/// An object that a file holds.
pub(crate) struct InFile {
    pub(crate) target: Target,
    /// The namespace that it is in.
    pub(crate) namespace: String,
    pub(crate) manifest: Manifest,
}

impl<'a> Wanted<'a> {
    /// Of one namespace, by name or as the selectors say.
    pub fn new(args: &'a [String], files: &'a Files, selectors: &'a Selectors) -> Self {
        let (all, whole_kinds, all_namespaces) = (false, false, false);
        Self { args, files, selectors, all, whole_kinds, all_namespaces }
    }

    /// Whether a kind alone means all of its objects.
    pub fn whole_kinds(self, whole_kinds: bool) -> Self {
        Self { whole_kinds, ..self }
    }

    /// Whether those of every namespace are meant.
    pub fn in_all_namespaces(self, all_namespaces: bool) -> Self {
        Self { all_namespaces, ..self }
    }

    /// Refuses what contradicts itself, before anything is done.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (first, rest) = match self.args.split_first() {
            Some((first, rest)) => (first.as_str(), rest),
            None => ("", [].as_slice()),
        };
        // `pods,svc web` is read as `pods/web svc/web`.
        let slashed = self.args.iter().any(|arg| arg.contains('/'))
            || (first.contains(',') && !rest.is_empty());
        let selects = self.all || !self.selectors.is_empty();
        let refusal = if !self.files.is_empty() {
            match (slashed, first) {
                (true, _) => "resource/name arguments cannot be provided when a path is specified",
                (false, "") => return Ok(()),
                _ => {
                    "when paths, URLs, or stdin is provided as input, you may not specify resource \
                     arguments as well"
                }
            }
        } else if selects && slashed {
            "selectors and the all flag cannot be used when passing resource/name arguments"
        } else if selects && !rest.is_empty() {
            "name cannot be provided when a selector is specified"
        } else if selects && first.is_empty() {
            "at least one resource must be specified to use a selector"
        } else {
            return Ok(());
        };
        Err(Error::new(refusal))
    }

    /// The kinds and names of the arguments.
    pub(crate) fn targets(&self, mapper: &Mapper) -> Result<Vec<Target>, Error> {
        self.check()?;
        let targets = targets(mapper, self.args)?;
        let by_name = |target: &Target| target.name.is_some() && target.mapping.namespaced;
        if self.all_namespaces && targets.iter().any(by_name) {
            return Err(Error::new("a resource cannot be retrieved by name across all namespaces"));
        }
        let selects = self.all || self.whole_kinds || !self.selectors.is_empty();
        if !selects && targets.iter().any(|target| target.name.is_none()) {
            return Err(Error::new("resource(s) were provided, but no name was specified"));
        }
        Ok(targets)
    }

    fn labels(&self) -> Result<Option<Labels>, Error> {
        let parsed = self.selectors.selector.as_deref().map(|text| {
            labels(text).map_err(|error| {
                Error::new(format!("the provided selector {text:?} is not valid: {error}"))
            })
        });
        parsed.transpose()
    }
}

impl Session {
    /// What the files hold, as far as the labels fit, without a look at the server; and what was
    /// wrong with the rest.
    pub(crate) async fn in_files(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<(Vec<InFile>, Vec<Error>), Error> {
        wanted.check()?;
        let fits = wanted.labels()?;
        let mapper = self.mapper().await?;
        let namespace = self.namespace();
        let read = wanted.files.read_each(self)?;
        let (mut found, mut errors) = (Vec::new(), read.errors);
        for mut manifest in read.manifests {
            if fits.as_ref().is_some_and(|labels| !labels.fits(&manifest.value)) {
                continue;
            }
            // Old versions are those that they were applied as; that has been said by then.
            modernize(&mut manifest.value);
            let mapping = match mapper.of_object(&manifest.value, &manifest.source) {
                Ok(mapping) => mapping.clone(),
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let namespace = match str_at(&manifest.value, "metadata.namespace") {
                "" => namespace.clone(),
                own => own.to_owned(),
            };
            let name = Some(str_at(&manifest.value, "metadata.name").to_owned());
            if name.as_deref() == Some("") {
                errors.push(Error::Nameless(manifest.source));
                continue;
            }
            found.push(InFile { target: Target { mapping, name }, namespace, manifest });
        }
        Ok((found, errors))
    }

    /// The objects that are meant; that one is not there does not keep the others back.
    pub async fn gather(&self, wanted: &Wanted<'_>) -> Result<Gathered, Error> {
        let mut gathered = Gathered::default();
        if !wanted.files.is_empty() {
            let (in_files, errors) = self.in_files(wanted).await?;
            gathered.errors = errors;
            for InFile { target: Target { mapping, name }, namespace, .. } in in_files {
                let name = name.unwrap_or_default();
                let value = self.object(&mapping, &namespace, &name).await;
                gathered.add(value.map(|value| Found { mapping, value }));
            }
            return Ok(gathered);
        }
        let namespace = if wanted.all_namespaces { String::new() } else { self.namespace() };
        for Target { mapping, name } in wanted.targets(self.mapper().await?)? {
            if let Some(name) = name {
                let value = self.object(&mapping, &namespace, &name).await;
                gathered.add(value.map(|value| Found { mapping, value }));
                continue;
            }
            match self.list(&mapping, &namespace, wanted.selectors).await {
                Ok(values) => gathered.found.extend(
                    values.into_iter().map(|value| Found { mapping: mapping.clone(), value }),
                ),
                Err(error) => gathered.errors.push(error),
            }
        }
        Ok(gathered)
    }

    /// The objects that are meant: all of them, or what went wrong.
    pub async fn find(&self, wanted: &Wanted<'_>) -> Result<Vec<Found>, Error> {
        let Gathered { found, errors } = self.gather(wanted).await?;
        Error::all(errors)?;
        Ok(found)
    }
}

impl Gathered {
    fn add(&mut self, one: Result<Found, Error>) {
        match one {
            Ok(found) => self.found.push(found),
            Err(error) => self.errors.push(error),
        }
    }

    /// The objects, and the errors to go on with; with nothing found at all, the errors or that.
    pub(crate) fn or_nothing(self, verb: &str) -> Result<(Vec<Found>, Vec<Error>), Error> {
        if self.found.is_empty() {
            Error::all(self.errors)?;
            return Err(Error::new(format!("no objects passed to {verb}")));
        }
        Ok((self.found, self.errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_stand_together() {
        let mapper = Mapper::builtin();
        let by_label = Selectors { selector: Some("a=b".to_owned()), ..Selectors::default() };
        let by_field = Selectors { field_selector: Some("a=b".to_owned()), ..Selectors::default() };
        let none = Selectors::default();
        let file = Files { filename: vec!["x.yaml".to_owned()], ..Files::default() };
        let said = |line: &str, files: &Files, selectors: &Selectors, all: bool, spaces: bool| {
            let args: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let wanted = Wanted { all, ..Wanted::new(&args, files, selectors) };
            let wanted = wanted.in_all_namespaces(spaces);
            let result = wanted.targets(&mapper);
            result.map_or_else(|error| error.to_string(), |targets| targets.len().to_string())
        };
        let files = Files::default();
        let names = "name cannot be provided when a selector is specified";
        let slashes =
            "selectors and the all flag cannot be used when passing resource/name arguments";
        for (line, selectors, all, expected) in [
            ("cm cm1", &none, false, "1"),
            ("cm cm1", &by_label, false, names),
            ("cm cm1", &by_field, false, names),
            ("cm cm1", &none, true, names),
            ("cm/cm1", &by_label, false, slashes),
            ("cm/cm1", &none, true, slashes),
            ("cm,secret a", &none, true, slashes),
            ("cm", &by_label, false, "1"),
            ("cm", &none, true, "1"),
            ("cm", &none, false, "resource(s) were provided, but no name was specified"),
        ] {
            assert_eq!(said(line, &files, selectors, all, false), expected, "{line}");
        }
        let across = "a resource cannot be retrieved by name across all namespaces";
        assert_eq!(said("cm cm1", &files, &none, false, true), across);
        assert_eq!(said("node n1", &files, &none, false, true), "1");
        let as_well = "when paths, URLs, or stdin is provided as input, you may not specify \
                       resource arguments as well";
        assert_eq!(said("cm cm1", &file, &none, false, false), as_well);
        let as_well = "resource/name arguments cannot be provided when a path is specified";
        assert_eq!(said("cm/cm1", &file, &none, false, false), as_well);
    }
}
