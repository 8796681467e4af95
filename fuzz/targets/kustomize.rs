//! Kustomizations over files in memory.
#![no_main]

use std::collections::BTreeMap;
use std::io;

use libfuzzer_sys::fuzz_target;
use onggi_ctl::kustomize::{Source, build};
use onggi_machinery::yaml;

/// Paths and contents.
struct Files<'a>(BTreeMap<&'a str, &'a [u8]>);

impl Source for Files<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let found = self.0.get(path).map(|content| content.to_vec());
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn is_dir(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        path == "." || self.0.keys().any(|name| name.starts_with(&prefix))
    }
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.split(|byte| *byte == 0);
    let mut files = BTreeMap::new();
    while let (Some(path), Some(content)) = (parts.next(), parts.next()) {
        let Ok(path) = std::str::from_utf8(path) else { return };
        files.insert(path, content);
    }
    let files = Files(files);
    let first = build(&files, ".");
    assert_eq!(build(&files, "."), first, "twice the same");
    let Ok(built) = first else { return };
    for object in built.objects {
        let written = yaml::to_string(&object);
        let back = yaml::parse(&written).unwrap_or_else(|error| panic!("{error}:\n{written}"));
        assert_eq!(back, object, "{written}");
    }
});
