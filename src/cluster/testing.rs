//! An API server for unit tests: real HTTP on loopback, answers as scripted.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use super::watch::Pace;

/// A pace at which a test need not wait for minutes.
pub(super) const QUICK: Pace = Pace {
    answer: Duration::from_millis(500),
    window: Duration::from_secs(1),
    patience: Duration::from_secs(120),
    relist: Duration::from_secs(600),
    shortest_pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(20),
};

/// What the scripted server does with one request.
pub(super) enum Reply {
    /// Answers with this status and document.
    Json(u16, Value),
    /// Answers with this text, whatever it is.
    Text(String),
    /// Begins a watch with these events, and then …
    Watch(Vec<Value>, Then),
    /// Says nothing at all.
    Nothing,
}

/// How a watch goes on after its events.
pub(super) enum Then {
    /// The server ends it in good order.
    End,
    /// The connection breaks.
    Break,
    /// Nothing comes any more.
    Silence,
}

/// The server. Dropping it stops it.
pub(super) struct FakeApi {
    asked: Arc<Mutex<Vec<String>>>,
    port: u16,
    task: JoinHandle<()>,
}

impl FakeApi {
    /// Serves what `script` makes of a path (with its query) and of how often it was asked before.
    pub(super) async fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (script, log) = (Arc::new(script), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (script.clone(), log.clone());
                let answer = move |path: &str| {
                    let mut log = log.lock().unwrap();
                    let before = log.iter().filter(|asked| *asked == path).count();
                    log.push(path.to_owned());
                    script(path, before)
                };
                tokio::spawn(serve(stream, answer));
            }
        });
        Self { asked, port, task }
    }

    pub(super) fn client(&self) -> Client {
        let url = format!("http://127.0.0.1:{}", self.port);
        Client::try_from(Config::new(url.parse().unwrap())).unwrap()
    }

    /// Every path that was asked for, with its query, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: impl Fn(&str) -> Reply) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap();
        match answer(path) {
            Reply::Json(status, document) => send(&mut stream, status, &document.to_string()).await?,
            Reply::Text(text) => send(&mut stream, 200, &text).await?,
            Reply::Nothing => std::future::pending().await,
            Reply::Watch(events, then) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                for event in events {
                    let line = format!("{event}\n");
                    stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
                }
                match then {
                    Then::End => stream.write_all(b"0\r\n\r\n").await?,
                    Then::Break => return Ok(()),
                    Then::Silence => std::future::pending().await,
                }
            }
        }
    }
}

async fn send(stream: &mut TcpStream, status: u16, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}

/// One page of a list, the last one.
pub(super) fn list(version: &str, items: &[Value]) -> Reply {
    Reply::Json(200, json!({"metadata": {"resourceVersion": version}, "items": items}))
}

/// An API server's refusal.
pub(super) fn refusal(code: u16, message: &str) -> Reply {
    Reply::Json(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}),
    )
}

/// An event of a watch.
pub(super) fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

/// Waits until something holds that must come to hold.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "this has not come true: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
