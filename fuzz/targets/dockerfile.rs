//! Dockerfiles, their words, and the patterns of `.dockerignore`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_images::Reference;
use onggi_images::build::fuzzing::{expand, matches, read_dockerfile};

fuzz_target!(|text: &str| {
    if let Ok((stages, steps)) = read_dockerfile(text) {
        assert!(stages + steps <= text.lines().count() + 1);
    }
    for escape in ['\\', '`'] {
        if let Ok(expanded) = expand(text, escape) {
            assert!(expanded.len() <= 4 * text.len() + 4, "it grows too much");
        }
    }
    if let Some((pattern, path)) = text.split_once('\n') {
        let (whole, tree) = matches(pattern, path);
        assert!(tree || !whole);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().ok(), Some(reference));
    }
});
