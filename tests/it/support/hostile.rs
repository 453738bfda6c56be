//! An HTTP server that does as a script says: for what a real registry will not do on demand, as stalling,
//! lying, dripping and hanging up, and for the token servers beside it.
//!
//! It speaks HTTP/1.1 by itself, on raw sockets: a library would not let it break the rules. It keeps every
//! request that it got, so that a test can tell what came, and what did not.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::certs::Authority;

/// How many connections are taken in all. Whoever comes later is hung up on.
const CONNECTIONS: usize = 256;
/// How long a connection lives, whatever happens on it.
const LIFETIME: Duration = Duration::from_secs(60);
/// The longest head of a request, in bytes.
const HEAD_LIMIT: usize = 64 << 10;
/// The longest body of a request, in bytes.
const BODY_LIMIT: usize = 16 << 20;
/// Where what never ends ends after all, in bytes: far more than anybody should read.
pub const ENDLESS: u64 = 64 << 20;
/// The pause between two bytes of what drips.
const DRIP: Duration = Duration::from_millis(200);

/// A server on loopback. Dropping it ends it, and every connection with it.
pub struct Hostile {
    address: SocketAddr,
    tls: bool,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// What the server does about a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers as one should.
    Answer(Reply),
    /// Sends the answer without the second half of its body and hangs up. Where no body goes out, the head
    /// loses its second half.
    CutOff(Reply),
    /// Sends the body of the answer byte by byte, five a second. Where no body goes out, the head.
    Drip(Reply),
    /// Sends the head of the answer, and then its body over and over.
    Endless(Reply),
    /// Sends the status, and then header after header.
    EndlessHeaders,
    /// Hangs up without a word.
    HangUp,
    /// Answers as one should, after this time.
    Later(Duration, Reply),
    /// Breaks the connection: the other end sees a reset.
    Reset,
    /// Says nothing, and does not hang up either.
    Silence,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method, as it came: `GET`.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// The server's own origin, as the one who asked calls it: `http://127.0.0.1:34567`.
    pub origin: String,
    /// When it had come.
    pub came: Instant,
    /// What came behind the head, if that said how long it is.
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

struct State {
    script: Box<dyn Fn(&Received) -> Act + Send + Sync>,
    received: Mutex<Vec<Received>>,
    connections: AtomicU64,
    sent: AtomicU64,
}

impl Hostile {
    /// Starts a server without TLS, which asks `script` what to do about each request.
    pub async fn start(script: impl Fn(&Received) -> Act + Send + Sync + 'static) -> Self {
        Self::start_with(None, Box::new(script)).await
    }

    /// Starts a server with a certificate that `authority` issues, for `127.0.0.1` and `localhost`.
    pub async fn start_tls(
        authority: &Authority,
        script: impl Fn(&Received) -> Act + Send + Sync + 'static,
    ) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(authority.server(&["127.0.0.1", "localhost"]).serving()));
        Self::start_with(Some(acceptor), Box::new(script)).await
    }

    async fn start_with(
        acceptor: Option<TlsAcceptor>,
        script: Box<dyn Fn(&Received) -> Act + Send + Sync>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script,
            received: Mutex::default(),
            connections: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        let tls = acceptor.is_some();
        let accepting = tokio::spawn(accept(listener, acceptor, state.clone()));
        Self { address, tls, state, accepting }
    }

    /// Its `host:port`, by address.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Its `host:port` by name: another site than the one by address, and the same server.
    pub fn named_host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// The origin of a URL, with the host by name.
    pub fn named_origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.named_host())
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// How many connections were made so far, with a request or without.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many bytes were sent so far, those included that still wait in the system's buffers.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        // The connections' tasks are the accepting task's own, and end with it.
        self.accepting.abort();
    }
}

impl Reply {
    /// An answer without headers and body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// The answer with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The answer with this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Everything up to the body. `framing` says how long that is.
    fn head(&self, framing: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        format!("{head}{framing}\r\n\r\n").into_bytes()
    }

    /// Head and body as they go over the wire. A HEAD gets no body, and still hears its length.
    fn wire(&self, method: &str) -> (Vec<u8>, Vec<u8>) {
        let head = self.head(&format!("content-length: {}", self.body.len()));
        (head, if method == "HEAD" { Vec::new() } else { self.body.clone() })
    }

    /// What is sent whole of a broken answer, and what is broken of it.
    fn parts(&self, method: &str) -> (Vec<u8>, Vec<u8>) {
        let (head, body) = self.wire(method);
        if body.is_empty() { (body, head) } else { (head, body) }
    }
}

impl Received {
    /// The value of the header `name`, if it came.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The parameter `name` of the query, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    }

    fn parse(head: &str, tls: bool) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let (origin, body) = (String::new(), Vec::new());
        let mut received = Self { method, target, origin, came: Instant::now(), body, headers };
        let scheme = if tls { "https" } else { "http" };
        received.origin = format!("{scheme}://{}", received.header("host").unwrap_or_default());
        Some(received)
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<State>) {
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let Ok((stream, _)) = listener.accept().await else { return };
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, state) = (acceptor.clone(), state.clone());
        tasks.spawn(tokio::time::timeout(LIFETIME, async move {
            match acceptor {
                None => serve(stream, false, &state, TcpStream::set_zero_linger).await,
                Some(acceptor) => {
                    let stream = acceptor.accept(stream).await?;
                    serve(stream, true, &state, |stream| stream.get_ref().0.set_zero_linger()).await
                }
            }
        }));
    }
    // From here on whoever connects is hung up on.
    drop(listener);
    tasks.join_all().await;
}

/// Answers requests on one connection until it ends. An error is the other end's going away.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    tls: bool,
    state: &State,
    reset: impl Fn(&S) -> io::Result<()>,
) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if read.len() > HEAD_LIMIT || stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let head: Vec<u8> = read.drain(..end + 4).collect();
        let Some(mut request) = Received::parse(String::from_utf8_lossy(&head[..end]).as_ref(), tls) else {
            return Ok(());
        };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while read.len() < length {
            if length > BODY_LIMIT || stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        request.body = read.drain(..length).collect();
        let method = request.method.clone();
        let act = (state.script)(&request);
        state.received.lock().unwrap().push(request);
        let mut out = Counted { stream: &mut stream, sent: &state.sent };
        match act {
            Act::Answer(reply) => {
                let (head, body) = reply.wire(&method);
                out.send(&[head, body].concat()).await?;
            }
            Act::CutOff(reply) => {
                let (whole, rest) = reply.parts(&method);
                out.send(&whole).await?;
                out.send(&rest[..rest.len() / 2]).await?;
                return stream.shutdown().await;
            }
            Act::Drip(reply) => {
                let (whole, rest) = reply.parts(&method);
                out.send(&whole).await?;
                for byte in rest {
                    out.send(&[byte]).await?;
                    tokio::time::sleep(DRIP).await;
                }
            }
            Act::Endless(reply) => {
                out.send(&reply.head("transfer-encoding: chunked")).await?;
                let mut chunk = format!("{:x}\r\n", reply.body.len()).into_bytes();
                chunk.extend_from_slice(&reply.body);
                chunk.extend_from_slice(b"\r\n");
                return out.repeat(&chunk).await;
            }
            Act::EndlessHeaders => {
                out.send(b"HTTP/1.1 200 Scripted\r\n").await?;
                return out.repeat(format!("x-more: {}\r\n", "x".repeat(1000)).as_bytes()).await;
            }
            Act::HangUp => return stream.shutdown().await,
            Act::Later(pause, reply) => {
                tokio::time::sleep(pause).await;
                let (head, body) = reply.wire(&method);
                out.send(&[head, body].concat()).await?;
            }
            Act::Reset => return reset(&stream),
            Act::Silence => std::future::pending().await,
        }
    }
}

/// Counts what it sends.
struct Counted<'a, S> {
    stream: &'a mut S,
    sent: &'a AtomicU64,
}

impl<S: AsyncWrite + Unpin> Counted<'_, S> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        self.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    async fn repeat(&mut self, bytes: &[u8]) -> io::Result<()> {
        for _ in 0..ENDLESS.div_ceil(bytes.len() as u64) {
            self.send(bytes).await?;
        }
        Ok(())
    }
}

/// A gzip stream of under half a MiB that unpacks to 64 MiB of zeros.
///
/// Written by hand (RFC 1951 §3.2.6): one zero, and then "258 bytes more of the same" in 13 bits each.
pub fn gzip_bomb() -> Vec<u8> {
    const TIMES: u32 = 260_112;
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut held, mut bits) = (0u32, 0u32);
    // Huffman codes come with their first bit first, numbers with their last.
    let mut put = |code: u32, length: u32| {
        held |= (code.reverse_bits() >> (32 - length)) << bits;
        bits += length;
        while bits >= 8 {
            bomb.push((held & 0xff) as u8);
            held >>= 8;
            bits -= 8;
        }
    };
    put(0b1_10, 3); // the last block, with fixed codes
    put(0x30, 8); // the byte 0
    for _ in 0..TIMES {
        put(0b1100_0101, 8); // a length of 258
        put(0, 5); // from one byte before
    }
    put(0, 7); // the end of the block
    put(0, 7);
    // What would follow is a checksum, which nobody reaches who unpacks all that first.
    bomb
}
