//! What authentication counts, under Kubernetes' names (`apiserver/pkg/endpoints/filters`).

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::title;

/// Users that are counted by their names; of all others only the sort is told.
const NAMES: [&str; 7] = [
    "admin",
    "client",
    "kube_proxy",
    "kubelet",
    "system:serviceaccount:kube-system:default",
    "email_id",
    "other",
];

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt<'a> {
    /// It is this user.
    Success(&'a str),
    /// Nothing was shown.
    Failure,
    /// What was shown is not good.
    Error,
}

/// See the module.
#[derive(Default)]
pub(super) struct Counts {
    users: [AtomicU64; NAMES.len()],
    failure: AtomicU64,
    error: AtomicU64,
}

impl Counts {
    pub(super) fn count(&self, attempt: Attempt<'_>) {
        let counter = match attempt {
            Attempt::Success(user) => &self.users[place(user)],
            Attempt::Failure => &self.failure,
            Attempt::Error => &self.error,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// In the text format of Prometheus.
    pub(super) fn write(&self, out: &mut String) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let users: Vec<u64> = self.users.iter().map(read).collect();
        title(out, "authenticated_user_requests", "counter", "Requests of known users.");
        for (name, count) in NAMES.iter().zip(&users).filter(|(_, count)| **count > 0) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "authenticated_user_requests{{username=\"{name}\"}} {count}");
        }
        title(out, "authentication_attempts", "counter", "Requests by whether it is known whose.");
        for (result, count) in [
            ("error", read(&self.error)),
            ("failure", read(&self.failure)),
            ("success", users.iter().sum()),
        ] {
            let _ = writeln!(out, "authentication_attempts{{result=\"{result}\"}} {count}");
        }
    }
}

fn place(user: &str) -> usize {
    let [.., email, other] = [0, 1, 2, 3, 4, 5, 6];
    match NAMES[..email].iter().position(|name| *name == user) {
        Some(place) => place,
        None if user.contains('@') => email,
        None => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_counted_by_their_sort() {
        let counts = Counts::default();
        for user in ["admin", "jo@example.com", "system:node:a", "other"] {
            counts.count(Attempt::Success(user));
        }
        counts.count(Attempt::Failure);
        let mut text = String::new();
        counts.write(&mut text);
        for line in [
            "authenticated_user_requests{username=\"admin\"} 1",
            "authenticated_user_requests{username=\"email_id\"} 1",
            "authenticated_user_requests{username=\"other\"} 2",
            "authentication_attempts{result=\"success\"} 4",
            "authentication_attempts{result=\"failure\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
