//! SPDY frames: the same in whatever pieces they come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_apiserver::fuzzing::spdy;

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first() else { return };
    let whole = spdy(bytes, bytes.len());
    assert_eq!(spdy(bytes, usize::from(*size)), whole);
    // A block of headers cannot be blown up beyond its bound.
    assert!(whole.0.iter().all(|frame| frame.len() <= 8 * bytes.len() + (1 << 20)));
});
