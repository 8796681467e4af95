//! What the tests run in containers: one static program that does what its arguments say.
//!
//! Steps are divided by `,`: `guest write /ready yes , serve 8080`. A step that fails ends the
//! program with code 1.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use tokio::signal::unix::{SignalKind, signal};

const TIMEOUT: Duration = Duration::from_secs(5);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for step in arguments.split(|word| word == ",") {
        let words: Vec<&str> = step.iter().map(String::as_str).collect();
        if let Err(error) = run(&words) {
            eprintln!("{}: {error}", words.join(" "));
            std::process::exit(1);
        }
    }
}

fn run(words: &[&str]) -> io::Result<()> {
    match words {
        ["say", text @ ..] => println!("{}", text.join(" ")),
        ["warn", text @ ..] => eprintln!("{}", text.join(" ")),
        ["count", to] => (1..=number(to)?).for_each(|n| println!("line {n}")),
        ["cat", files @ ..] => {
            for file in files {
                io::stdout().write_all(&fs::read(file)?)?;
            }
        }
        ["ls", directory] => {
            let names = fs::read_dir(directory)?.map(|e| Ok(e?.file_name()));
            let mut names: Vec<_> = names.collect::<io::Result<_>>()?;
            names.sort();
            names.iter().for_each(|name| println!("{}", name.display()));
        }
        ["stat", file] => {
            let about = fs::metadata(file)?;
            println!("{:o} {}:{} {}", about.mode(), about.uid(), about.gid(), about.len());
        }
        ["env", names @ ..] => {
            for name in names {
                println!("{name}={}", std::env::var(name).unwrap_or_else(|_| "<none>".to_owned()));
            }
        }
        ["where"] => println!("{}", std::env::current_dir()?.display()),
        ["stdin"] => {
            io::copy(&mut io::stdin(), &mut io::stdout())?;
        }
        ["line"] => {
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            print!("{line}");
        }
        ["write", file, text @ ..] => fs::write(file, text.join(" "))?,
        ["append", file, text] => {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(file)?;
            writeln!(file, "{text}")?;
        }
        ["remove", file] => fs::remove_file(file)?,
        ["fill", megabytes] => {
            let size = usize::try_from(number(megabytes)?).map_err(io::Error::other)? << 20;
            println!("{}", vec![1_u8; size].iter().map(|byte| u64::from(*byte)).sum::<u64>());
        }
        ["exit", code] => {
            std::process::exit(code.parse().map_err(io::Error::other)?);
        }
        ["wait"] => wait()?,
        // The first process of a PID namespace is deaf to signals that it does not handle.
        ["deaf"] => std::thread::park(),
        ["serve", port] => serve(port.parse().map_err(io::Error::other)?)?,
        ["shop", service] => onggi_shop::run(service).map_err(io::Error::other)?,
        ["resolve", name] => {
            let mut found: Vec<_> = resolve(name)?.iter().map(ToString::to_string).collect();
            found.sort();
            println!("{}", found.join(" "));
        }
        ["get", url] => get(url)?,
        _ => return Err(io::Error::other("no such step")),
    }
    Ok(())
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| io::Error::other(format!("{text:?} is no number")))
}

/// Until SIGTERM.
fn wait() -> io::Result<()> {
    runtime()?.block_on(async {
        signal(SignalKind::terminate())?.recv().await;
        println!("told to end");
        Ok(())
    })
}

/// A file server, so that a test decides by files how a probe goes. `/` answers the host's name.
/// It ends at SIGTERM.
fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("serves on port {port}");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || stream.and_then(answer));
        }
    });
    wait()
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut line = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    lines.read_line(&mut line)?;
    while lines.by_ref().read_line(&mut String::new())? > 2 {}
    let path = line.split(' ').nth(1).unwrap_or("/");
    let content = match path {
        "/" => Ok(std::env::var("HOSTNAME").unwrap_or_default().into_bytes()),
        "/peer" => Ok(stream.peer_addr()?.ip().to_string().into_bytes()),
        file => fs::read(file),
    };
    let (code, content) = match content {
        Ok(content) => ("200 OK", content),
        Err(error) => ("404 Not Found", error.to_string().into_bytes()),
    };
    let length = content.len();
    write!(stream, "HTTP/1.1 {code}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    stream.write_all(&content)
}

/// Prints the body; anything but 200 fails.
fn get(url: &str) -> io::Result<()> {
    let rest = url.strip_prefix("http://").ok_or_else(|| io::Error::other("only http"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let address = match host.parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) => *resolve(host)?.first().ok_or_else(|| io::Error::other("no address"))?,
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("{head}\n{body}")));
    }
    println!("{}", body.trim_end());
    Ok(())
}

/// By `/etc/resolv.conf`, as programs of other people's images do.
fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    runtime()?.block_on(async {
        let resolver = TokioResolver::builder_tokio()
            .and_then(|builder| builder.build())
            .map_err(io::Error::other)?;
        let found = resolver.lookup_ip(name).await.map_err(io::Error::other)?;
        Ok(found.iter().collect())
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
