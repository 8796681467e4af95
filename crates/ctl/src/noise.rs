//! What `-v` tells of requests, as client-go does: 6 the answers, 7 the headers that are sent, 8
//! those that come and the bodies, 9 a line for curl, 10 bodies of any length.

use std::path::Path;

use http::HeaderMap;
use onggi_client::http::Seen;

/// The line of a kubeconfig that was read.
pub(crate) fn loaded(path: &Path, now: jiff::Timestamp) -> String {
    format!("{} Config loaded from file:  {}\n", begin("loader.go", now), path.display())
}

fn begin(file: &str, now: jiff::Timestamp) -> String {
    let stamp = now.strftime("I%m%d %H:%M:%S%.6f");
    format!("{stamp} {:>7} {file}]", std::process::id())
}

/// The lines of what goes or comes.
pub(crate) fn told(level: u8, seen: &Seen<'_>, now: jiff::Timestamp) -> String {
    let begin = |file| begin(file, now);
    let mut text = String::new();
    match seen {
        Seen::Request { method, url, headers, body } => {
            if level >= 8 {
                text += &format!(
                    "{} \"Request Body\" body={}\n",
                    begin("helper.go"),
                    shown(level, body)
                );
            }
            let begin = begin("round_trippers.go");
            match level {
                0..=6 => {}
                7 | 8 => {
                    text += &format!(
                        "{begin} \"Request\" verb=\"{method}\" url=\"{url}\"{}\n",
                        block(headers)
                    );
                }
                _ => {
                    let sent: String =
                        spelled(headers).iter().map(|header| format!(" -H \"{header}\"")).collect();
                    text += &format!(
                        "{begin} \"Request\" curlCommand=<\n\tcurl -v -X{method} {sent} '{url}'\n >\n"
                    );
                }
            }
        }
        Seen::Response { method, url, status, headers, took } => {
            // Where the request was told of, its address stands there.
            let of = match level {
                7 | 8 => String::new(),
                _ => format!("verb=\"{method}\" url=\"{url}\" "),
            };
            let headers = if level >= 8 { block(headers) } else { String::new() };
            text += &format!(
                "{} \"Response\" {of}status=\"{status}\"{headers} milliseconds={}\n",
                begin("round_trippers.go"),
                took.as_millis()
            );
        }
        Seen::Body(body) if level >= 8 => {
            text +=
                &format!("{} \"Response Body\" body={}\n", begin("helper.go"), shown(level, body));
        }
        Seen::Body(_) => {}
    }
    text
}

/// A body as a quoted text, cut where the level does not ask for all of it.
fn shown(level: u8, body: &[u8]) -> String {
    let most = match level {
        ..=8 => 1024,
        9 => 10240,
        _ => usize::MAX,
    };
    let mut text = String::from_utf8_lossy(&body[..body.len().min(most)]).into_owned();
    if body.len() > most {
        text += &format!(" [truncated {} chars]", body.len() - most);
    }
    format!("{text:?}")
}

/// `Name: value`, by name; what lets somebody in is not told.
fn spelled(headers: &HeaderMap) -> Vec<String> {
    let one = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value_text = String::from_utf8_lossy(value.as_bytes());
        let secret = *name == http::header::AUTHORIZATION || value.is_sensitive();
        let value = match value_text.split_once(' ') {
            Some((scheme, _)) if secret => format!("{scheme} <masked>"),
            None if secret => "<masked>".to_owned(),
            _ => value_text.into_owned(),
        };
        format!("{}: {value}", canonical(name.as_str()))
    };
    let mut all: Vec<String> = headers.iter().map(one).collect();
    all.sort();
    all
}

/// `Content-Type`, as Go writes it.
fn canonical(name: &str) -> String {
    let mut begins = true;
    let one = |c: char| {
        let written = if begins { c.to_ascii_uppercase() } else { c };
        begins = c == '-';
        written
    };
    name.chars().map(one).collect()
}

fn block(headers: &HeaderMap) -> String {
    let lines: String = spelled(headers).iter().map(|line| format!("\t{line}\n")).collect();
    format!(" headers=<\n{lines} >")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn levels() {
        let mut sent = HeaderMap::new();
        sent.insert("authorization", "Bearer x".parse().unwrap());
        let url = "https://h/api".parse().unwrap();
        let method = &http::Method::GET;
        let at = |level, seen: &Seen<'_>| told(level, seen, jiff::Timestamp::UNIX_EPOCH);
        let request = Seen::Request { method, url: &url, headers: &sent, body: b"a\"b" };
        assert_eq!(at(6, &request), "");
        let seven = at(7, &request);
        assert!(seven.starts_with("I0101 00:00:00.000000 "), "{seven}");
        assert!(seven.ends_with("headers=<\n\tAuthorization: Bearer <masked>\n >\n"), "{seven}");
        assert!(at(8, &request).contains("\"Request Body\" body=\"a\\\"b\"\n"));
        let nine = at(9, &request);
        let curl = "curl -v -XGET  -H \"Authorization: Bearer <masked>\" 'https://h/api'";
        assert!(nine.contains(curl), "{nine}");
        let response = Seen::Response {
            method,
            url: &url,
            status: http::StatusCode::OK,
            headers: &HeaderMap::new(),
            took: Duration::from_millis(5),
        };
        let end =
            "\"Response\" verb=\"GET\" url=\"https://h/api\" status=\"200 OK\" milliseconds=5\n";
        assert!(at(6, &response).ends_with(end));
        assert!(at(7, &response).ends_with("\"Response\" status=\"200 OK\" milliseconds=5\n"));
        let long = vec![b'x'; 1030];
        assert!(at(8, &Seen::Body(&long)).ends_with("x [truncated 6 chars]\"\n"));
        assert_eq!(at(7, &Seen::Body(&long)), "");
    }
}
