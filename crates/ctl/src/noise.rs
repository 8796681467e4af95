//! What `-v` tells of requests, as client-go does: 6 the answers, 7 and 8 the headers too, 9 a line
//! for curl.

use std::fmt::Write as _;

use http::HeaderMap;
use onggi_client::http::Exchange;

/// The lines of an exchange.
pub(crate) fn told(level: u8, exchange: &Exchange<'_>, now: jiff::Timestamp) -> String {
    let stamp = now.strftime("I%m%d %H:%M:%S%.6f");
    let begin = format!("{stamp} {:>7} round_trippers.go]", std::process::id());
    let (method, url) = (exchange.method, exchange.url);
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _infallible = match level {
        7.. => writeln!(
            text,
            "{begin} \"Request\" verb=\"{method}\" url=\"{url}\" headers=<\n{} >",
            headers(exchange.sent)
        ),
        _ => Ok(()),
    };
    if level >= 9 {
        let _infallible = writeln!(
            text,
            "{begin} \"Request\" curlCommand=<\n\tcurl -v -X{method} {} '{url}'\n >",
            spelled(exchange.sent)
                .iter()
                .map(|h| format!("-H \"{h}\""))
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    let (status, took) = (exchange.status, exchange.took.as_millis());
    let came = match level {
        8.. => format!(" headers=<\n{} >", headers(exchange.headers)),
        _ => String::new(),
    };
    let _infallible = writeln!(
        text,
        "{begin} \"Response\" verb=\"{method}\" url=\"{url}\" status=\"{status}\"{came} \
         milliseconds={took}"
    );
    text
}

/// `Name: value`; what lets somebody in is not told.
fn spelled(headers: &HeaderMap) -> Vec<String> {
    let one = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let secret = *name == http::header::AUTHORIZATION || value.is_sensitive();
        let value =
            if secret { "<masked>".into() } else { String::from_utf8_lossy(value.as_bytes()) };
        format!("{name}: {value}")
    };
    headers.iter().map(one).collect()
}

fn headers(headers: &HeaderMap) -> String {
    spelled(headers).iter().map(|line| format!("\t{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn levels() {
        let mut sent = HeaderMap::new();
        sent.insert("authorization", "Bearer x".parse().unwrap());
        let exchange = Exchange {
            method: &http::Method::GET,
            url: &"https://h/api".parse().unwrap(),
            sent: &sent,
            status: http::StatusCode::OK,
            headers: &HeaderMap::new(),
            took: Duration::from_millis(5),
        };
        let at = |level| told(level, &exchange, jiff::Timestamp::UNIX_EPOCH);
        let six = at(6);
        assert!(six.starts_with("I0101 00:00:00.000000 "), "{six}");
        let end =
            "\"Response\" verb=\"GET\" url=\"https://h/api\" status=\"200 OK\" milliseconds=5\n";
        assert!(six.ends_with(end), "{six}");
        assert!(at(7).contains("\tauthorization: <masked>\n"));
        assert!(at(9).contains("curl -v -XGET"));
    }
}
