//! `grpc`: healthy when the program's `grpc.health.v1.Health` says `SERVING`.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use onggi_api::core::Probe;

use super::http::USER_AGENT;
use super::tcp::connect;
use super::{ProbeType, Target};

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// An answer has a few bytes; whoever sends more is no health service.
const MOST: usize = 4 << 10;
/// Codes of gRPC.
const UNIMPLEMENTED: &str = "12";
/// `HealthCheckResponse.ServingStatus`.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

pub(super) struct Grpc;

#[async_trait]
impl ProbeType for Grpc {
    fn handles(&self, probe: &Probe) -> bool {
        probe.grpc.is_some()
    }

    async fn look(&self, target: &Target, probe: &Probe, timeout: Duration) -> Result<(), String> {
        let Some(action) = &probe.grpc else { return Ok(()) };
        let address = format!("{}:{}", target.host(None)?, action.port);
        let service = action.service.as_deref().unwrap_or_default();
        match tokio::time::timeout(timeout, ask(&address, service, timeout)).await {
            Ok(Ok("SERVING")) => Ok(()),
            Ok(Ok(status)) => Err(format!("service unhealthy (responded with {status:?})")),
            Ok(Err(text)) => Err(text),
            Err(_) => Err(format!("timeout: health rpc did not complete within {timeout:?}")),
        }
    }
}

async fn ask(address: &str, service: &str, timeout: Duration) -> Result<&'static str, String> {
    let failed = |text: String| format!("error: health rpc probe failed: {text}");
    let stream = connect(address, timeout)
        .await
        .map_err(|text| format!("error: failed to connect service at {address:?}: {text}"))?;
    let request = Request::post(format!("http://{address}{METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", USER_AGENT)
        .body(Full::new(question(service)))
        .map_err(|error| failed(error.to_string()))?;
    let exchange =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = exchange.await.map_err(|error| failed(error.to_string()))?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MOST).collect().await.map_err(|error| error.to_string())?;
        let trailers = body.trailers().cloned();
        Ok::<_, String>((head.headers, trailers, body.to_bytes()))
    };
    // The connection is driven here: it ends with the probe, whatever the other side does.
    let (head, trailers, body) = tokio::select! {
        biased;
        answer = talk => answer.map_err(failed)?,
        ended = connection => {
            let why = ended.err().map_or("the connection was closed".to_owned(), |e| e.to_string());
            return Err(failed(why));
        }
    };
    let code = text(trailers.as_ref(), "grpc-status").or_else(|| text(Some(&head), "grpc-status"));
    let message =
        text(trailers.as_ref(), "grpc-message").or_else(|| text(Some(&head), "grpc-message"));
    match (code.as_deref(), message.unwrap_or_default()) {
        (Some("0"), _) => {
            serving_status(&body).ok_or_else(|| failed("the answer cannot be read".into()))
        }
        (Some(UNIMPLEMENTED), message) => Err(format!(
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): {message}"
        )),
        (Some(code), message) => Err(failed(format!("rpc error: code = {code} desc = {message}"))),
        (None, _) => Err(failed("the answer has no grpc-status".into())),
    }
}

fn text(headers: Option<&HeaderMap>, name: &str) -> Option<String> {
    Some(headers?.get(name)?.to_str().ok()?.to_owned())
}

/// `HealthCheckRequest{service}` in its frame: not compressed, its length, the message.
fn question(service: &str) -> Bytes {
    const SERVICE: u8 = 1 << 3 | 2;
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// `HealthCheckResponse{status}`.
fn serving_status(frame: &[u8]) -> Option<&'static str> {
    const STATUS: u8 = 1 << 3;
    let (head, message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head.get(1..)?.try_into().ok()?);
    if head.first() != Some(&0) || usize::try_from(length) != Ok(message.len()) {
        return None;
    }
    match message {
        // Zero is not written.
        [] => STATUSES.first().copied(),
        [STATUS, status, ..] => STATUSES.get(usize::from(*status)).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
        for (frame, status) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some("SERVING")),
            (&[0, 0, 0, 0, 2, 8, 2], Some("NOT_SERVING")),
            (&[0, 0, 0, 0, 0], Some("UNKNOWN")),
            (&[0, 0, 0, 0, 2, 8, 9], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 9, 8, 1], None),
            (&[0, 0], None),
        ] {
            assert_eq!(serving_status(frame), status, "{frame:?}");
        }
    }

    #[tokio::test]
    async fn a_program_is_asked() {
        use http_body_util::StreamBody;
        use hyper::body::{Frame, Incoming};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = async |request: Request<Incoming>| {
                    assert_eq!(request.uri().path(), METHOD);
                    let asked = request.into_body().collect().await.unwrap().to_bytes();
                    let (code, status) = match &asked[5..] {
                        [] => ("0", 1),
                        [10, 1, b's'] => ("0", 2),
                        _ => ("12", 0),
                    };
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", code.parse().unwrap());
                    let frames = [
                        Frame::data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status])),
                        Frame::trailers(trailers),
                    ];
                    let frames = frames.map(Ok::<_, std::convert::Infallible>);
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(StreamBody::new(
                        futures::stream::iter(frames),
                    )))
                };
                let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer));
                // A client that leaves is no fault.
                let _ = serve.await;
            }
        });
        let ask = async |service| ask(&address, service, Duration::from_secs(60)).await;
        assert_eq!(ask("").await, Ok("SERVING"));
        assert_eq!(ask("s").await, Ok("NOT_SERVING"));
        assert!(ask("other").await.unwrap_err().contains("does not implement"));
        let nobody = super::ask("127.0.0.1:1", "", Duration::from_secs(60)).await.unwrap_err();
        assert!(
            nobody.starts_with("error: failed to connect service at \"127.0.0.1:1\""),
            "{nobody}"
        );
    }
}
