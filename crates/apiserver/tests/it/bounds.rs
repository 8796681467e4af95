//! What a client may send, and how long it may take: beyond that there is an answer that says so, or
//! the connection is closed, and others notice nothing.

use std::time::Duration;

use http::Method;
use onggi_base::pki::Pair;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::http::send;
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn connect(s: &Server, client: Option<&Pair>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(s.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    s.tls(client).connect(name, stream).await.unwrap()
}

/// What comes until the server closes the connection.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut off has no proper end.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends bytes as HTTP/1.1 and gives the answer.
async fn raw(s: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(s, Some(&s.admin)).await;
    // What is refused early need not take all of it.
    let _ = stream.write_all(bytes).await;
    rest(&mut stream).await
}

async fn is_well(s: &Server) {
    assert_eq!(send(s, None, Method::GET, "/readyz", &[], "").await.status, 200);
}

/// A text that is nested so deep.
fn nested(levels: usize, open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(levels), close.repeat(levels))
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let s = Server::start().await;
    let json = ("content-type", "application/json");
    let yaml = ("content-type", "application/yaml");
    let lists = nested(200_000, "[", "]");
    let maps = nested(100_000, r#"{"a":"#, "}");
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..20 {
        let items = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    for (kind, body) in [
        (json, format!(r#"{{"metadata":{{"name":"x"}},"data":{lists}}}"#)),
        (json, format!(r#"{{"metadata":{{"name":"x"}},"data":{maps}}}"#)),
        (json, lists.clone()),
        (yaml, lists.clone()),
        (yaml, nested(20_000, "{a: ", "}")),
        (yaml, "- ".repeat(50_000)),
        (yaml, bomb),
    ] {
        let answer = send(&s, Some(&s.admin), Method::POST, MAPS, &[kind], &body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["reason"]), (400, &json!("BadRequest")));
    }
    let map = json!({"metadata": {"name": "m"}, "data": {"a": "b"}}).to_string();
    assert_eq!(send(&s, Some(&s.admin), Method::POST, MAPS, &[json], &map).await.status, 201);
    let path = format!("{MAPS}/m");
    let patch = async |kind: &str, body: &str| {
        let kind = [("content-type", kind)];
        send(&s, Some(&s.admin), Method::PATCH, &path, &kind, body).await.status.as_u16()
    };
    for kind in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
        assert_eq!(patch(kind, &maps).await, 400, "{kind}");
    }
    let apply = format!("{path}?fieldManager=m");
    let kind = [("content-type", "application/apply-patch+yaml")];
    let answer = send(&s, Some(&s.admin), Method::PATCH, &apply, &kind, &lists).await;
    assert_eq!(answer.status, 400);
    // Each doubles what is there.
    let mut operations =
        vec![json!({"op": "add", "path": "/data", "value": {"a": "x".repeat(1000)}})];
    for turn in 0..30 {
        let to = format!("/data/c{turn}");
        operations.push(json!({"op": "copy", "from": "/data", "path": to}));
    }
    let doubling = Value::from(operations).to_string();
    assert_eq!(patch("application/json-patch+json", &doubling).await, 413);
    let test = json!({"op": "test", "path": "/data/a", "value": "b"});
    let many = Value::from(vec![test; 10_001]).to_string();
    assert_eq!(patch("application/json-patch+json", &many).await, 413);
    is_well(&s).await;
}

#[tokio::test]
async fn bodies_have_a_largest_size() {
    let s = Server::start().await;
    let kind = "content-type: application/json\r\nhost: localhost\r\nconnection: close\r\n";
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    // Its length is not told.
    let pieces = format!(
        "POST {MAPS} HTTP/1.1\r\n{kind}transfer-encoding: chunked\r\n\r\n{}",
        piece.repeat(60)
    );
    let answer = raw(&s, pieces.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("RequestEntityTooLarge"), "{answer}");
    // What is told is believed: nothing of it has to come.
    let told = format!("POST {MAPS} HTTP/1.1\r\n{kind}content-length: 99999999999\r\n\r\n");
    let answer = raw(&s, told.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    for (method, path) in [("PUT", "/a"), ("PATCH", "/a"), ("DELETE", "/a"), ("DELETE", "")] {
        let kind = [("content-type", "application/json-patch+json")];
        let body = "x".repeat(4 << 20);
        let method = method.parse().unwrap();
        let path = format!("{MAPS}{path}");
        let answer = send(&s, Some(&s.admin), method, &path, &kind, &body).await;
        assert_eq!(answer.status, 413, "{path}");
    }
    is_well(&s).await;
}

#[tokio::test]
async fn heads_have_a_largest_size() {
    let s = Server::start().await;
    let head = |lines: &str| format!("GET /readyz HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    let many: String = (0..5000).map(|i| format!("x-{i}: {i}\r\n")).collect();
    for (bytes, code) in [
        (head(&many), "431"),
        (head(&format!("x: {}\r\n", "x".repeat(1 << 20))), "431"),
        (format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(70_000)), "414"),
    ] {
        let answer = raw(&s, bytes.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
    }
    let large = "x".repeat(200 << 10);
    let headers = [("x-one", large.as_str()), ("x-two", large.as_str())];
    let answer = send(&s, None, Method::GET, "/readyz", &headers, "").await;
    assert_eq!(answer.status, 431);
    // Room for long tokens.
    let long = format!("Bearer {}", "x".repeat(100 << 10));
    let headers = [("authorization", long.as_str())];
    assert_eq!(send(&s, None, Method::GET, "/readyz", &headers, "").await.status, 401);
    is_well(&s).await;
}

/// How long, by the clock of the test, until the connection is closed, and what was answered.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> (Duration, String) {
    // Whenever all wait, the clock goes on to the next moment that somebody waits for.
    tokio::time::pause();
    let began = Instant::now();
    let answer = rest(stream).await;
    let took = began.elapsed();
    tokio::time::resume();
    (took, answer)
}

#[tokio::test]
async fn who_says_nothing_is_cut_off() {
    let s = Server::start().await;
    let seconds = Duration::from_secs;
    // No handshake.
    let mut bare = TcpStream::connect(s.address).await.unwrap();
    let (took, _) = until_closed(&mut bare).await;
    assert!(took <= seconds(11), "{took:?}");
    // Nothing after the handshake; half a beginning of HTTP/2; half a head.
    for beginning in ["", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /readyz HT"] {
        let mut stream = connect(&s, None).await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let (took, _) = until_closed(&mut stream).await;
        assert!(took <= seconds(60), "{beginning:?}: {took:?}");
    }
    // Nothing after a request.
    let mut stream = connect(&s, None).await;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let (took, _) = until_closed(&mut stream).await;
    assert!(took <= seconds(100), "{took:?}");
    is_well(&s).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let s = Server::start().await;
    let mut stream = connect(&s, Some(&s.admin)).await;
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{\"meta"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (took, answer) = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains(r#""reason":"Timeout""#), "{answer}");
    assert!(took <= Duration::from_secs(160), "{took:?}");
    is_well(&s).await;
}
