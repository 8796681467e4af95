//! Which controllers run: `--controllers` of kube-controller-manager.

use std::collections::BTreeSet;

use crate::harness;

/// What `--controllers` says: `*` are all, `name` one of them, `-name` not this one. Where `*` is
/// not among the words, only those named run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    others: bool,
    named: BTreeSet<String>,
    not: BTreeSet<String>,
}

impl Default for Chosen {
    fn default() -> Self {
        Self { others: true, named: BTreeSet::new(), not: BTreeSet::new() }
    }
}

impl Chosen {
    /// # Errors
    /// A word that names no controller, with the names of all.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        if words.is_empty() {
            return Ok(Self::default());
        }
        let mut chosen = Self { others: false, ..Self::default() };
        for word in words {
            let (name, not) = match word.strip_prefix('-') {
                Some(name) => (name, true),
                None => (word.as_str(), false),
            };
            if name == "*" {
                // `-*` alone: none at all.
                chosen.others |= !not;
                continue;
            }
            if !harness::options().any(|known| known == name) {
                let known: Vec<_> = harness::options().collect();
                return Err(format!("{name:?} is no controller; these are: {}", known.join(", ")));
            }
            let named = if not { &mut chosen.not } else { &mut chosen.named };
            named.insert(name.to_owned());
        }
        Ok(chosen)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        !self.not.contains(name) && (self.others || self.named.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose() {
        const ALL: usize = 20;
        let count = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
            let chosen = Chosen::parse(&words)?;
            Ok::<_, String>(harness::options().filter(|name| chosen.contains(name)).count())
        };
        assert_eq!(count(&[]), Ok(ALL));
        assert_eq!(count(&["*"]), Ok(ALL));
        assert_eq!(count(&["*", "-namespace-controller"]), Ok(ALL - 1));
        assert_eq!(count(&["-namespace-controller", "*"]), Ok(ALL - 1));
        assert_eq!(count(&["deployment-controller", "replicaset-controller"]), Ok(2));
        assert_eq!(count(&["-*"]), Ok(0));
        assert_eq!(count(&["-*", "garbage-collector-controller"]), Ok(1));
        let error = count(&["*", "-job"]).unwrap_err();
        assert!(error.starts_with(r#""job" is no controller; these are: bootstrap-"#), "{error}");
    }
}
