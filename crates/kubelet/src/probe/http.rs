//! `httpGet`: healthy when the answer's status is 200 to 399. Certificates are not checked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use onggi_api::core::{HTTPGetAction, Probe};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::tcp::connect;
use super::{ProbeType, Target};

/// How the kubelet calls itself, as applications filter it from their logs.
pub(super) const USER_AGENT: &str = "kube-probe/1.36";

pub(super) struct HttpGet;

/// What all HTTP probes share. A cheap handle.
#[derive(Clone)]
pub(crate) struct Prober {
    tls: TlsConnector,
}

/// The head of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
}

#[async_trait]
impl ProbeType for HttpGet {
    fn handles(&self, probe: &Probe) -> bool {
        probe.http_get.is_some()
    }

    async fn look(&self, target: &Target, probe: &Probe, timeout: Duration) -> Result<(), String> {
        let Some(action) = &probe.http_get else { return Ok(()) };
        let answer = get(&target.prober, target, action, timeout).await?;
        match answer.status {
            200..400 => Ok(()),
            status => Err(format!("HTTP probe failed with statuscode: {status}")),
        }
    }
}

/// Sends the request of a probe or a hook.
pub(crate) async fn get(
    prober: &Prober,
    target: &Target,
    action: &HTTPGetAction,
    timeout: Duration,
) -> Result<Answer, String> {
    let address = format!("{}:{}", target.host(action.host.as_ref())?, target.port(&action.port)?);
    let secure = action.scheme.as_deref() == Some("HTTPS");
    let path = action.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let scheme = if secure { "https" } else { "http" };
    let fail = |text: String| format!("Get \"{scheme}://{address}{path}\": {text}");
    let exchange = async {
        let stream = connect(&address, timeout).await?;
        let request = request(action, &address, &path)?;
        if !secure {
            return send(stream, request).await;
        }
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let stream = prober.tls.connect(name, stream).await.map_err(|error| error.to_string())?;
        send(stream, request).await
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(result) => result.map_err(fail),
        Err(_) => Err(fail(
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into(),
        )),
    }
}

fn request(
    action: &HTTPGetAction,
    address: &str,
    path: &str,
) -> Result<Request<Empty<Bytes>>, String> {
    let own = action.http_headers.as_deref().unwrap_or_default();
    let has = |name: &str| own.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    let mut request = Request::get(path);
    if !has("host") {
        request = request.header("Host", address);
    }
    if !has("user-agent") {
        request = request.header("User-Agent", USER_AGENT);
    }
    if !has("accept") {
        request = request.header("Accept", "*/*");
    }
    request = request.header("Connection", "close");
    for header in own {
        request = request.header(&header.name, &header.value);
    }
    request.body(Empty::new()).map_err(|error| error.to_string())
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection is driven here: it ends with the probe, whatever the other side does.
    let response: hyper::Response<Incoming> = tokio::select! {
        biased;
        response = &mut answer => response.map_err(text)?,
        ended = &mut connection => {
            ended.map_err(text)?;
            answer.await.map_err(text)?
        }
    };
    Ok(Answer { status: response.status().as_u16() })
}

impl Prober {
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        // A probe asks whether a program answers, not who it is.
        let config = onggi_client::tls::unverified()?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }
}
