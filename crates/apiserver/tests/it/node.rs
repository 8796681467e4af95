//! A node that only pretends: logs of two lines, and a shell that knows `echo`, `cat` and `exit`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use onggi_client::node::{
    Duplex, ExecRequest, ExitStatus, LogRequest, NodeAnswer, NodeConnector, NodeError, NodeServer,
    PodRef, Streams,
};
use onggi_client::{Body, PatchKind};
use onggi_machinery::resource::Verb;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::server::Server;

pub(crate) struct FakeNode;

#[async_trait]
impl NodeConnector for FakeNode {
    async fn node(&self, name: &str) -> Result<Arc<dyn NodeServer>, NodeError> {
        if name == "n1" { Ok(Arc::new(Self)) } else { Err(NodeError::Unreachable(name.into())) }
    }
}

#[async_trait]
impl NodeServer for FakeNode {
    async fn logs(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, NodeError>>, NodeError> {
        let lines = [format!("{} one\n", request.container), "two\n".to_owned()];
        Ok(stream::iter(lines).map(|line| Ok(Bytes::from(line))).boxed())
    }

    async fn exec(&self, request: ExecRequest, io: Streams) -> Result<ExitStatus, NodeError> {
        let mut stdout = io.stdout.unwrap();
        match request.command[0].as_str() {
            "echo" => stdout.write_all(request.command[1..].join(" ").as_bytes()).await.unwrap(),
            "cat" => {
                let mut text = String::new();
                io.stdin.unwrap().read_to_string(&mut text).await.unwrap();
                stdout.write_all(text.as_bytes()).await.unwrap();
            }
            "size" => {
                assert!(request.tty && io.stderr.is_none());
                let size = io.resize.unwrap().recv().await.unwrap();
                stdout
                    .write_all(format!("{}x{}", size.width, size.height).as_bytes())
                    .await
                    .unwrap();
            }
            "exit" => {
                io.stderr.unwrap().write_all(b"as asked\n").await.unwrap();
                return Ok(ExitStatus(request.command[1].parse().unwrap()));
            }
            other => return Err(NodeError::Failed(format!("{other}: not found"))),
        }
        Ok(ExitStatus(0))
    }

    async fn attach(&self, mut request: ExecRequest, io: Streams) -> Result<ExitStatus, NodeError> {
        request.command = vec!["echo".into(), "attached".into()];
        self.exec(request, io).await
    }

    async fn port_forward(
        &self,
        _: PodRef,
        port: u16,
        mut stream: Box<dyn Duplex>,
    ) -> Result<(), NodeError> {
        if port == 8080 {
            return answer(stream).await.map_err(|e| NodeError::Failed(e.to_string()));
        }
        // Says something and no more, and waits for what the other side says.
        if port == 82 {
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            return Ok(());
        }
        if port != 80 {
            return Err(NodeError::Failed(format!("nobody listens on {port}")));
        }
        let mut text = vec![0; 5];
        stream.read_exact(&mut text).await.unwrap();
        text.make_ascii_uppercase();
        stream.write_all(&text).await.unwrap();
        Ok(())
    }

    /// Says what was asked for.
    async fn get(&self, target: &http::Uri) -> Result<NodeAnswer, NodeError> {
        match target.path() {
            "/none" => Ok(NodeAnswer::new(404, "text/plain", "404 page not found\n")),
            _ => Ok(NodeAnswer::new(200, "text/plain", format!("asked for {target}"))),
        }
    }
}

/// A web server that says what it was asked.
async fn answer(mut stream: Box<dyn Duplex>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.to_owned()))
    };
    let line = head.lines().next().unwrap_or_default().replace(" HTTP/1.1", "");
    let authorization = field("authorization").unwrap_or("no authorization".into());
    let text = format!("{line} {} {authorization}", field("host").unwrap_or_default());
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Gives the server this node and a pod `p` that runs on it; answers a connection of the admin.
pub(crate) async fn with_pod(s: &Server) -> TlsStream<TcpStream> {
    s.server.set_node_connector(Arc::new(FakeNode));
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
    });
    s.create("pods", "default", pod).await.unwrap();
    let running = Body::Patch(PatchKind::Merge, r#"{"status":{"phase":"Running"}}"#.into());
    let request = s.request(Verb::Patch, "pods", "default", "p").subresource("status");
    s.call(request.body(running)).await.unwrap();
    let stream = TcpStream::connect(s.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    s.tls(Some(&s.admin)).connect(name, stream).await.unwrap()
}
