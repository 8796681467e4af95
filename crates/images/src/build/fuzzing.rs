//! Doors for fuzzing.

use super::{dockerfile, glob, words};

/// Reads a Dockerfile; the stages and steps that it has, or the line of its fault.
pub fn read_dockerfile(text: &str) -> Result<(usize, usize), String> {
    let file = dockerfile::parse("Dockerfile", text).map_err(|error| error.to_string())?;
    Ok((file.stages.len(), file.stages.iter().map(|stage| stage.steps.len()).sum()))
}

/// Puts variables into a text.
pub fn expand(text: &str, escape: char) -> Result<String, String> {
    let lookup = |name: &str| (name.len() == 1).then(|| "a b".to_owned());
    let _ = (words::split(text, escape), words::pairs(text, escape));
    let _ = words::expand_text(text, escape, &lookup);
    words::expand(text, escape, &lookup)
}

/// Whether a pattern matches a path, or a folder on the way to it.
pub fn matches(pattern: &str, path: &str) -> (bool, bool) {
    (glob::matches(pattern, path), glob::matches_tree(pattern, path))
}
