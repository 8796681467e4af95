//! Sizes of values and the arithmetic of costs: what does not fit counts as the largest number, so
//! that a bound that is missing is never taken for a small one.

/// How small and how large a text, list or map may be (`cel-go`'s `SizeEstimate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Size {
    /// Nothing is known of it.
    pub(super) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    /// Of a number, a truth value, or a point in time.
    pub(super) const ONE: Self = Self::exact(1);

    pub(super) const fn exact(size: u64) -> Self {
        Self { min: size, max: size }
    }

    pub(super) const fn up_to(max: u64) -> Self {
        Self { min: 0, max }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(super) const fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// One that both fit in.
    pub(super) fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// So much for each, rounded up.
pub(super) fn scaled(count: u64, factor: f64) -> u64 {
    // A cast of what is too large gives the largest number.
    (count as f64 * factor).ceil() as u64
}

/// The cost of reading a text once.
pub(super) fn traversal(size: Size) -> u64 {
    scaled(size.max, TRAVERSAL)
}

/// For a character that is looked at (`StringTraversalCostFactor`).
pub(super) const TRAVERSAL: f64 = 0.1;
/// For a character of a pattern (`RegexStringLengthCostFactor`).
pub(super) const PATTERN: f64 = 0.25;
/// For making a list, a map, or a message.
pub(super) const NEW_LIST: u64 = 10;
pub(super) const NEW_MAP: u64 = 30;
pub(super) const NEW_MESSAGE: u64 = 40;

/// Keys and values of a list or map that is made by the expression itself (`entrySizeEstimate`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    pub(super) is_list: bool,
    pub(super) key: Size,
    pub(super) value: Size,
}

impl Entries {
    /// Those of either, where both are known.
    pub(super) fn union(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (one, other) = (one?, other?);
        Some(Self {
            is_list: one.is_list,
            key: one.key.union(other.key),
            value: one.value.union(other.value),
        })
    }
}
