//! What becomes of an object whose owners are gone or going.

use onggi_api::OwnerReference;

use super::graph::{FOREGROUND, ORPHAN};
use crate::view::Dependent;

/// How an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owns {
    /// It is there.
    Solid,
    /// It is not there any more.
    Absent,
    /// It is being deleted and waits for what it owns.
    Waiting,
}

/// The propagation policy of who waits for all that it owns.
pub(super) const FOREGROUND_POLICY: &str = "Foreground";

/// What to do with the object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    Nothing,
    /// Take these owners off; others are there.
    Disown(Vec<String>),
    /// Delete it with this propagation policy.
    Delete(&'static str),
}

/// Decides for an object that is not being deleted.
pub(super) fn plan(
    object: &Dependent,
    owners: &[(&OwnerReference, Owns)],
    has_dependents: bool,
) -> Action {
    let any = |wanted: Owns| owners.iter().any(|(_, owns)| *owns == wanted);
    if owners.is_empty() {
        return Action::Nothing;
    }
    if any(Owns::Solid) {
        let off = owners.iter().filter(|(_, owns)| *owns != Owns::Solid);
        let off: Vec<String> = off.map(|(owner, _)| owner.uid.clone()).collect();
        return if off.is_empty() { Action::Nothing } else { Action::Disown(off) };
    }
    if any(Owns::Waiting) && has_dependents {
        // The owner waits for all below it.
        return Action::Delete(FOREGROUND_POLICY);
    }
    Action::Delete(if object.has_finalizer(ORPHAN) {
        "Orphan"
    } else if object.has_finalizer(FOREGROUND) {
        FOREGROUND_POLICY
    } else {
        "Background"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        use Owns::{Absent, Solid, Waiting};
        let object = |finalizers: &[&str]| Dependent {
            uid: "x".into(),
            deleting: false,
            finalizers: finalizers.iter().map(|&f| f.to_owned()).collect(),
            owners: Vec::new(),
        };
        let disown = |uids: &[&str]| Action::Disown(uids.iter().map(|&u| u.to_owned()).collect());
        for (owners, dependents, finalizers, expected) in [
            (&[][..], false, &[][..], Action::Nothing),
            (&[Solid], false, &[], Action::Nothing),
            (&[Absent], false, &[], Action::Delete("Background")),
            (&[Absent], true, &[], Action::Delete("Background")),
            (&[Absent, Solid], false, &[], disown(&["0"])),
            (&[Waiting, Solid, Absent], false, &[], disown(&["0", "2"])),
            (&[Waiting], false, &[], Action::Delete("Background")),
            (&[Waiting], true, &[], Action::Delete("Foreground")),
            (&[Absent], false, &["orphan"], Action::Delete("Orphan")),
            (&[Absent], false, &["foregroundDeletion"], Action::Delete("Foreground")),
        ] {
            let references: Vec<_> = (0..owners.len())
                .map(|n| OwnerReference { uid: n.to_string(), ..OwnerReference::default() })
                .collect();
            let owners: Vec<_> = references.iter().zip(owners.iter().copied()).collect();
            assert_eq!(plan(&object(finalizers), &owners, dependents), expected, "{owners:?}");
        }
    }
}
