//! Policies of the audit log, and what they keep.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_machinery::audit::{self, Attributes, Target};

fuzz_target!(|text: &str| {
    let Ok(policy) = audit::read(text) else { return };
    let groups = ["system:masters".to_owned(), "dev".to_owned()];
    for (verb, target) in [("get", Target::Path("/healthz")), ("patch", Target::Path("/"))] {
        let asked = Attributes { user: Some(("jo", &groups)), verb, target };
        let first = policy.keeps(&asked);
        assert_eq!(first.level, policy.keeps(&asked).level);
    }
});
