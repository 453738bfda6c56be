//! The listeners: HTTPS for the API server, plain HTTP for probes and Prometheus.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{App, HttpServer, dev, web};
use rustls::ServerConfig;
use tokio::task::JoinHandle;

/// Longer than the 90 s for which Go's HTTP client keeps an idle connection, so that it is the API
/// server that closes one and never in the middle of a request.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// How long a request's head may take.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// How many connections a worker holds. An API server keeps up to 25 idle ones per host.
const CONNECTIONS: usize = 4096;
/// How many handshakes a worker has under way.
const HANDSHAKES: usize = 512;
/// How long requests under way may still take at the end: as long as the API server waits at most.
const DRAIN_SECONDS: u64 = 30;

/// A listener at work.
pub struct Server {
    address: SocketAddr,
    handle: dev::ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {cause}; is another program there, or does the address belong to another machine?"
)]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub cause: io::Error,
}

impl Server {
    /// Listens on `address`, with TLS if there is a `tls` configuration. Port 0 takes a free one.
    ///
    /// Must be called inside a tokio runtime, which must outlive the server.
    pub fn start(
        address: SocketAddr,
        tls: Option<ServerConfig>,
        workers: usize,
        configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> Result<Self, ListenError> {
        let failed = |cause| ListenError { address, cause };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = HttpServer::new(move || App::new().configure(configure.clone()))
            .workers(workers)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_TIME)
            .tls_handshake_timeout(HANDSHAKE_TIME)
            .max_connections(CONNECTIONS)
            .max_connection_rate(HANDSHAKES)
            .shutdown_timeout(DRAIN_SECONDS)
            // Otherwise the first answer on a connection waits 40 ms for the peer's delayed acknowledgement
            // of the TLS session tickets that were sent before it.
            .tcp_nodelay(true)
            .disable_signals();
        let server = match tls {
            Some(tls) => server.listen_rustls_0_23(listener, tls),
            None => server.listen(listener),
        };
        let server = server.map_err(failed)?.run();
        Ok(Self { address, handle: server.handle(), task: tokio::spawn(server) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connections, closes idle ones, and answers what is under way.
    pub async fn drain(&self) {
        self.handle.stop(true).await;
    }

    /// Waits until it ends, which it should only when it is told to.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.task).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}
