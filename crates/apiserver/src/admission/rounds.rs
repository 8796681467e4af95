//! Mutation goes in rounds: what one webhook or policy puts in, another that was asked before may
//! have to see. The second round is the last.

use std::collections::HashSet;

use serde_json::Value;

/// How far mutation has come.
#[derive(Default)]
pub(super) struct Rounds {
    /// 0, then 1.
    pub(super) number: usize,
    /// Whether something that is not ours has changed the object.
    pub(super) changed: bool,
    pub(super) policies: Asked,
    pub(super) hooks: Asked,
}

/// Who has been asked, and who is to be asked again.
#[derive(Default)]
pub(super) struct Asked {
    /// Those that want to be asked again, since the last change.
    before: HashSet<String>,
    again: HashSet<String>,
    last: Option<Value>,
}

impl Asked {
    /// A round begins with this object.
    pub(super) fn begin(&mut self, round: usize, object: &Value) {
        if round > 0 && self.last.as_ref() != Some(object) {
            self.ask_again();
        }
    }

    /// And ends with that.
    pub(super) fn end(&mut self, object: &Value) {
        self.last = Some(object.clone());
    }

    /// The object has changed: who was asked before is asked again.
    pub(super) fn ask_again(&mut self) {
        self.again.extend(self.before.drain());
    }

    /// It was asked, and wants to be asked again when something changes.
    pub(super) fn asked(&mut self, id: &str) {
        self.before.insert(id.to_owned());
    }

    /// Whether it is asked in this round.
    pub(super) fn admits(&self, round: usize, id: &str) -> bool {
        round == 0 || self.again.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_asked_again() {
        let mut asked = Asked::default();
        let (one, two) = (json!(1), json!(2));
        asked.begin(0, &one);
        asked.asked("early");
        asked.ask_again();
        asked.asked("late");
        asked.end(&two);
        asked.begin(1, &two);
        assert!(asked.admits(1, "early") && !asked.admits(1, "late"));
        // Somebody else has changed it since.
        asked.begin(1, &one);
        assert!(asked.admits(1, "late"));
    }
}
