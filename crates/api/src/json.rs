//! Reading and writing JSON values where every request does it: eight bytes are looked at together,
//! where the libraries look at each alone.

use serde_json::Value;

/// What stands at a dotted path (`spec.template.metadata`).
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let (mut here, mut rest) = (value, path);
    while let Some(dot) = dot(rest.as_bytes()) {
        here = get(here, &rest[..dot])?;
        rest = &rest[dot + 1..];
    }
    get(here, rest)
}

/// What stands behind a key. In a small map names of another length are passed by, where a search
/// would compare their letters.
pub fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let map = value.as_object()?;
    if map.len() > SMALL {
        return map.get(key);
    }
    map.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value)
}

/// As many keys as a node of a tree may have.
const SMALL: usize = 11;

/// Where the first dot is.
pub fn dot(path: &[u8]) -> Option<usize> {
    first(path, b'.')
}

/// Where a byte is first. Most paths are one short key, for which a searcher of texts costs more
/// than the lookup.
pub fn first(path: &[u8], byte: u8) -> Option<usize> {
    let (eights, rest) = path.as_chunks::<8>();
    for (number, eight) in eights.iter().enumerate() {
        let zeros = zeros(u64::from_le_bytes(*eight) ^ (ONES * u64::from(byte)));
        if zeros != 0 {
            return Some(number * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|other| *other == byte)?;
    Some(path.len() - rest.len() + at)
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// The highest bit of each byte that is zero is set, of no byte before the first of them.
const fn zeros(bytes: u64) -> u64 {
    bytes.wrapping_sub(ONES) & !bytes & (ONES << 7)
}

/// Writes a value behind what is there, byte for byte as `serde_json` does.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            use std::io::Write;
            // Nothing can fail: a vector takes everything.
            let _ = write!(out, "{number}");
        }
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            out.push(b'{');
            for (n, (key, value)) in map.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_text(out, key);
                out.push(b':');
                write(out, value);
            }
            out.push(b'}');
        }
    }
}

/// Writes a text with its quotes.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    // Nearly all are plain: then this is all the room that they need.
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_inside(out, text);
    out.push(b'"');
}

/// Writes what stands between the quotes of a text.
pub fn write_inside(out: &mut Vec<u8>, text: &str) {
    let (start, text) = (out.len(), text.as_bytes());
    if !write_plain(out, text) {
        out.truncate(start);
        write_escaped(out, text);
    }
}

/// Copies a text, and looks at it meanwhile; says whether all of it could stand as it is: no quote,
/// backslash or control character (RFC 8259, section 7).
fn write_plain(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let (eights, rest) = text.as_chunks::<8>();
    // What does not fill a word is written with some of what was before it, which is taken back.
    let more = |out: &mut Vec<u8>, last: &[u8]| {
        out.truncate(out.len() + rest.len() % last.len() - last.len());
        out.extend_from_slice(last);
    };
    if eights.len() > 8 {
        // One large copy is faster.
        out.extend_from_slice(text);
        let last = text.last_chunk::<8>();
        return eights.iter().chain(last).all(|eight| odd(u64::from_le_bytes(*eight)) == 0);
    }
    if let Some(last) = text.last_chunk::<8>() {
        let mut found = odd(u64::from_le_bytes(*last));
        for eight in eights {
            found |= odd(u64::from_le_bytes(*eight));
            out.extend_from_slice(eight);
        }
        if !rest.is_empty() {
            more(out, last);
        }
        return found == 0;
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let (a, b) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        out.extend_from_slice(first);
        if text.len() > 4 {
            more(out, last);
        }
        return odd(u64::from(a) << 32 | u64::from(b)) == 0;
    }
    let mut word = u64::from_le_bytes(*b"        ");
    for byte in text {
        word = word << 8 | u64::from(*byte);
        out.push(*byte);
    }
    odd(word) == 0
}

fn write_escaped(out: &mut Vec<u8>, mut rest: &[u8]) {
    let is_plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    loop {
        let plain = rest.iter().take_while(is_plain).count();
        out.extend_from_slice(&rest[..plain]);
        let Some(byte) = rest.get(plain) else { break };
        escape(out, *byte);
        rest = &rest[plain + 1..];
    }
}

/// Not nothing where one of eight bytes cannot stand as it is.
const fn odd(bytes: u64) -> u64 {
    let quotes = zeros(bytes ^ (ONES * b'"' as u64));
    let backslashes = zeros(bytes ^ (ONES * b'\\' as u64));
    // Without its five lowest bits a control character is zero.
    quotes | backslashes | zeros(bytes & (ONES * 0xe0))
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let digit = |n: u8| HEX[usize::from(n & 15)];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn same(value: &Value) {
        let mut out = Vec::new();
        write(&mut out, value);
        assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }

    #[test]
    fn writes_what_serde_json_writes() {
        same(&json!({
            "null": null, "yes": true, "no": false, "whole": -7, "large": u64::MAX,
            "float": 1.5e300, "one": 1.0, "empty": {}, "none": [], "": "",
            "list": [1, "two", [null], {"three": {}}], "k\"ey\n": "옹기 \u{7f}\u{80}\u{2028}",
        }));
    }

    #[test]
    fn the_first_dot() {
        for length in 0..40 {
            let plain = "-/\u{ae}".repeat(length);
            assert_eq!(dot(plain.as_bytes()), None);
            for place in 0..plain.len() {
                let mut path = plain.clone().into_bytes();
                path[place] = b'.';
                path.extend(b"..");
                assert_eq!(dot(&path), Some(place));
            }
        }
    }

    #[test]
    fn every_character_at_every_place() {
        for code in (0..0x180).filter_map(char::from_u32) {
            for before in 0..18 {
                for after in [0, 1, 7, 9] {
                    let text = format!("{}{code}{}", "é".repeat(before), "x".repeat(after));
                    same(&Value::String(text));
                    let text = format!("{}{code}{code}{}", "a".repeat(before), "~".repeat(after));
                    same(&Value::String(text));
                }
            }
        }
    }
}
