//! Exponential back-off without randomness of its own: the caller hands in the jitter.

use std::time::Duration;

/// Delays that double from `first` to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Begins at `first` and never exceeds `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The delay before the next try; doubles at each call until [`Self::reset`].
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.delay_after(self.failures);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// The delay after so many failures, the first being 0.
    pub fn delay_after(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first.checked_mul(factor).map_or(self.most, |delay| delay.min(self.most))
    }

    /// Success: begin anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_most() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(6));
        let delays: Vec<_> = (0..5).map(|_| backoff.next_delay().as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 6, 6]);
        assert_eq!(backoff.delay_after(200).as_secs(), 6);
        backoff.reset();
        assert_eq!(backoff.next_delay().as_secs(), 1);
    }
}
