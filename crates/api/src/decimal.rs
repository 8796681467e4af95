//! Numbers as text without the formatter, for what is written for every object.

/// The decimal digits of a number.
pub(crate) struct Decimal {
    digits: [u8; Self::MOST],
    from: usize,
}

impl Decimal {
    /// As many as `u64` has.
    const MOST: usize = 20;

    pub(crate) fn of(mut number: u64) -> Self {
        let mut written = Self { digits: [b'0'; Self::MOST], from: Self::MOST };
        while number > 0 || written.from == Self::MOST {
            written.from -= 1;
            written.digits[written.from] += (number % 10) as u8;
            number /= 10;
        }
        written
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[self.from..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_the_formatter_writes() {
        for number in [0, 1, 9, 10, 99, 100, 1_234_567_890, u64::MAX - 1, u64::MAX] {
            assert_eq!(Decimal::of(number).as_str(), number.to_string());
        }
    }
}
