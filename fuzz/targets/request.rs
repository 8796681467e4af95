//! Methods, paths, queries and `Accept` of requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_apiserver::fuzzing::request;

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\n');
    let (Some(method), Some(uri)) = (parts.next(), parts.next()) else { return };
    let accept = parts.next().unwrap_or_default();
    assert_eq!(request(method, uri, accept), request(method, uri, accept));
});
