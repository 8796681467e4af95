//! The clock, handed in so that plans can be tested and replayed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// Wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Now, in whole seconds since 1970.
    fn seconds(&self) -> i64 {
        self.now().as_second()
    }

    /// Now as `metav1.Time` writes it: RFC 3339 in UTC, whole seconds.
    fn rfc3339(&self) -> String {
        rfc3339(self.now())
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug, Clone, Default)]
pub struct FakeClock(Arc<AtomicI64>);

impl FakeClock {
    /// At a second since 1970.
    pub fn at(seconds: i64) -> Self {
        Self(Arc::new(AtomicI64::new(seconds)))
    }

    /// Moves it on.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// `metav1.Time`: RFC 3339 in UTC, whole seconds.
pub fn rfc3339(time: Timestamp) -> String {
    const SECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
    SECONDS.timestamp_to_string(&time)
}

/// `metav1.MicroTime`: RFC 3339 in UTC, microseconds.
pub fn rfc3339_micro(time: Timestamp) -> String {
    const MICROSECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    MICROSECONDS.timestamp_to_string(&time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_kubernetes_writes_them() {
        let time: Timestamp = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2026-01-02T03:04:05Z");
        assert_eq!(rfc3339_micro(time), "2026-01-02T03:04:05.123456Z");
        let whole: Timestamp = "0999-12-31T23:59:59Z".parse().unwrap();
        assert_eq!(rfc3339(whole), "0999-12-31T23:59:59Z");
        assert_eq!(rfc3339_micro(whole), "0999-12-31T23:59:59.000000Z");
        let clock = FakeClock::at(10);
        clock.advance(5);
        assert_eq!(clock.seconds(), 15);
    }
}
