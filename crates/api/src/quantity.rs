//! Quantities of resources: `250m`, `64Mi`, `1e3`
//! (`k8s.io/apimachinery/pkg/api/resource.Quantity`).

use std::fmt;
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// How a quantity is written; kept so that it is written as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `500m`, `12k`.
    DecimalSi,
    /// `64Mi`.
    BinarySi,
    /// `1e3`.
    DecimalExponent,
}

/// An exact number down to a billionth, and how it is written.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct ParseQuantityError;

impl Quantity {
    /// A whole number written as decimal SI.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, format: Format::DecimalSi }
    }

    /// A whole number of bytes written as binary SI.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANO, format: Format::BinarySi }
    }

    /// Thousandths written as decimal SI.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// The value in whole units, rounded up.
    pub fn units(&self) -> i64 {
        clamp(div_up(self.nanos, NANO))
    }

    /// The value in thousandths, rounded up.
    pub fn millis(&self) -> i64 {
        clamp(div_up(self.nanos, NANO / 1000))
    }

    /// The sum; written like the first one, or like the second where the first is nothing.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    /// The difference; written as [`Quantity::plus`] does.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&Self { nanos: other.nanos.saturating_neg(), format: other.format })
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// The value, as near as a double comes.
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// The sum, written as this one; `None` when it is out of range.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self { nanos: self.nanos.checked_add(other.nanos)?, format: self.format })
    }

    /// The difference, written as this one; `None` when it is out of range.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        Some(Self { nanos: self.nanos.checked_sub(other.nanos)?, format: self.format })
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether it is a whole number.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }

    /// The text that Kubernetes stores for a text that came in: `1024Mi` becomes `1Gi`.
    pub fn canonical(text: &str) -> Result<String, ParseQuantityError> {
        if Self::plain(text).is_some() {
            return Ok(text.to_owned());
        }
        Ok(text.parse::<Self>()?.to_string())
    }

    /// What most are: below a thousand, without sign and fraction, with an everyday suffix. Such a
    /// text is canonical.
    fn plain(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits);
        if !(1..=3).contains(&digits) || number.starts_with('0') {
            return None;
        }
        let (nanos, format) = match suffix {
            "m" => (NANO / 1000, Format::DecimalSi),
            "" => (NANO, Format::DecimalSi),
            "k" => (NANO * 1000, Format::DecimalSi),
            "M" => (NANO * 1_000_000, Format::DecimalSi),
            "G" => (NANO * 1_000_000_000, Format::DecimalSi),
            "Ki" => (NANO << 10, Format::BinarySi),
            "Mi" => (NANO << 20, Format::BinarySi),
            "Gi" => (NANO << 30, Format::BinarySi),
            _ => return None,
        };
        let number = number
            .bytes()
            .fold(0_i128, |sum, digit| sum * 10 + i128::from(digit.wrapping_sub(b'0')));
        Some(Self { nanos: number * nanos, format })
    }

    fn parse_any(text: &str) -> Result<Self, ParseQuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(ParseQuantityError);
        }
        let (multiplier, format) = suffix_multiplier(suffix)?;
        let nanos = scale(whole, fraction, multiplier).ok_or(ParseQuantityError)?;
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

fn div_up(value: i128, by: i128) -> i128 {
    // Away from zero, as Kubernetes rounds.
    let quotient = value / by;
    if value % by == 0 { quotient } else { quotient + value.signum() }
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        Self::plain(text).map_or_else(|| Self::parse_any(text), Ok)
    }
}

enum Multiplier {
    Ten(i32),
    Two(u32),
}

fn suffix_multiplier(suffix: &str) -> Result<(Multiplier, Format), ParseQuantityError> {
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Multiplier::Ten(*power), Format::DecimalSi));
    }
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Multiplier::Two(*power), Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseQuantityError)?;
    let power: i32 = exponent.parse().map_err(|_| ParseQuantityError)?;
    Ok((Multiplier::Ten(power), Format::DecimalExponent))
}

/// `whole.fraction` times the multiplier in billionths, rounded up; the largest value where it
/// would not fit, as Kubernetes caps it.
fn scale(whole: &str, fraction: &str, multiplier: Multiplier) -> Option<i128> {
    const CAP: i128 = i64::MAX as i128 * NANO;
    let fraction = fraction.trim_end_matches('0');
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
    let mut mantissa = 0_i128;
    for (place, digit) in digits.enumerate() {
        if place == 30 {
            return Some(CAP);
        }
        mantissa = mantissa * 10 + i128::from(digit.wrapping_sub(b'0'));
    }
    if mantissa == 0 {
        return Some(0);
    }
    let fraction_len = i32::try_from(fraction.len()).ok()?;
    let (power, shift) = match multiplier {
        Multiplier::Ten(power) => (power.clamp(-60, 60), 0),
        Multiplier::Two(shift) => (0, shift),
    };
    let power = power - fraction_len + 9;
    let Some(shifted) = mantissa.checked_mul(1_i128 << shift) else { return Some(CAP) };
    let value = if power >= 0 {
        10_i128.checked_pow(power.unsigned_abs()).and_then(|factor| shifted.checked_mul(factor))
    } else {
        match 10_i128.checked_pow(power.unsigned_abs()) {
            Some(factor) => Some(div_up(shifted, factor)),
            None => Some(1),
        }
    };
    Some(value.unwrap_or(CAP).min(CAP))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        let nanos = self.nanos.unsigned_abs();
        let nano = NANO.unsigned_abs();
        // Below 1024, or not whole, binary is written as decimal: Kubernetes does the same.
        if self.format == Format::BinarySi && nanos.is_multiple_of(nano) && nanos / nano >= 1024 {
            let units = nanos / nano;
            let fit = BINARY.iter().rev().find(|(_, power)| units.is_multiple_of(1 << power));
            return match fit {
                Some((suffix, power)) => write!(f, "{}{suffix}", units >> power),
                None => write!(f, "{units}"),
            };
        }
        let fit = DECIMAL.iter().rev().find_map(|(suffix, power)| {
            let unit = 10_u128.pow((power + 9).unsigned_abs());
            nanos.is_multiple_of(unit).then(|| (nanos / unit, *suffix, *power))
        });
        let (number, suffix, power) = fit.unwrap_or((nanos, "n", -9));
        match self.format {
            Format::DecimalExponent if power != 0 => write!(f, "{number}e{power}"),
            Format::DecimalExponent => write!(f, "{number}"),
            _ => write!(f, "{number}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_ones_are_as_all() {
        for suffix in ["m", "", "k", "M", "G", "Ki", "Mi", "Gi"] {
            for number in 1..1000 {
                let text = format!("{number}{suffix}");
                let (plain, any) =
                    (Quantity::plain(&text).unwrap(), Quantity::parse_any(&text).unwrap());
                assert_eq!((plain.nanos, plain.format), (any.nanos, any.format), "{text}");
                assert_eq!(any.to_string(), text);
            }
        }
        for other in ["0", "01", "1000", "1n", "1E", "-1", "+1", "1.5", "", "Mi", "1e3", "1 Mi"] {
            assert!(Quantity::plain(other).is_none(), "{other}");
        }
    }

    #[test]
    fn canonical_texts() {
        for (given, canonical) in [
            ("0", "0"),
            ("250m", "250m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("64Mi", "64Mi"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1e3", "1e3"),
            ("512Ki", "512Ki"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("100n", "100n"),
            ("-2", "-2"),
            ("12345678901234567890", "9223372036854775807"),
        ] {
            assert_eq!(Quantity::canonical(given).as_deref(), Ok(canonical), "{given}");
        }
    }

    #[test]
    fn not_quantities() {
        for text in ["", "Mi", "1.2.3", "1x", "1 Gi", "--1", "1ee3", "e3", "."] {
            assert_eq!(Quantity::canonical(text), Err(ParseQuantityError), "{text}");
        }
    }

    #[test]
    fn sums() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        for (a, b, sum, difference) in [
            ("1Gi", "512Mi", "1536Mi", "512Mi"),
            ("0", "1Gi", "1Gi", "-1Gi"),
            ("500m", "1", "1500m", "-500m"),
        ] {
            let (a, b) = (quantity(a), quantity(b));
            assert_eq!(
                (a.plus(&b).to_string().as_str(), a.minus(&b).to_string().as_str()),
                (sum, difference)
            );
        }
    }

    #[test]
    fn numbers() {
        let cpu: Quantity = "1500m".parse().unwrap();
        assert_eq!((cpu.units(), cpu.millis()), (2, 1500));
        assert!(cpu > "1".parse().unwrap());
        assert_eq!("1Gi".parse::<Quantity>().unwrap().units(), 1 << 30);
    }
}
