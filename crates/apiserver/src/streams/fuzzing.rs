//! Doors for fuzzing.

use super::spdy::{Decoder, Encoder, Frame};

/// Reads frames out of bytes that come in pieces of a size; what they are, and whether the end was
/// malformed.
pub fn spdy(bytes: &[u8], size: usize) -> (Vec<String>, bool) {
    let (mut decoder, mut frames) = (Decoder::new(), Vec::new());
    let Ok(mut encoder) = Encoder::new() else { return (frames, true) };
    for piece in bytes.chunks(size.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(Frame::Open { id, headers })) => {
                    let headers: std::collections::BTreeMap<_, _> = headers.into_iter().collect();
                    frames.push(format!("{id} {headers:?}"));
                    if encoder.reply(id).is_err() {
                        return (frames, true);
                    }
                }
                Ok(Some(frame)) => frames.push(format!("{frame:?}")),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}
