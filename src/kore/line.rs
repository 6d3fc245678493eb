//! One GET over a connection of its own, and what the host sends beyond its answer.
//!
//! A client with a pool reads as far as `Content-Length` says and forgets the rest. Of a recording without a length of
//! its own that would archive the first part as the whole (FAULTS D4), so each file has a connection that nothing else
//! is asked on: the request says `Connection: close`, and behind the last byte of the answer there must be nothing.
//! Names are resolved, connections raced and certificates verified by the same crates and roots as for the API.
//!
//! What is seen of a surplus: all that came with the end of the body, and what follows it until the host closes, which
//! a host that honours `close` does at once. One that does not is waited for [`MOMENT`]; what it sends later than that
//! is not seen. The same holds behind the last chunk of a body in chunks; where closing is the end, all is body.
//!
//! The price, measured on loopback against kept connections: 0.07 ms of CPU a file, 0.23 ms over TLS, whose sessions are
//! resumed, and the round trips of both. Kept ones would hand a late surplus to the next file as the head of its answer.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower_service::Service;
use url::{Host, Position, Url};

use super::client::{CONNECT_TIMEOUT, USER_AGENT as OUR_NAME};
use super::resolver::Resolver;
use crate::clock::Clock;

/// Above the usual 100, so that what is "too large" to be read is a length, not a chatty proxy.
const MOST_HEADERS: usize = 1024;
/// Read at once at most, over all connections. Of each, some three such buffers are alive: at hyper's own limit (that of
/// [`READ_LARGEST`]) those of hundreds of sources that send in bursts came to more than all parts.
const READ_AT_ONCE: usize = 6 * 1024 * 1024;
/// A read below this costs more turns: a tenth of the CPU time of a fast file.
const READ_LEAST: usize = 128 * 1024;
/// One above this leaves the processor's cache before it is hashed.
const READ_LARGEST: usize = 400 * 1024;
/// Routers forget a connection on which nothing moves, and the bucket may keep one waiting.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long a host that sent everything may take to close: it costs each file so much where `close` is ignored.
const MOMENT: Duration = Duration::from_millis(20);

/// rustls asks for 4 KiB at a time, a quarter of a record: a call of the kernel each, without a buffer below it.
const READ_BELOW_TLS: usize = 32 * 1024;

type Stream = TokioIo<Either<TcpStream, TlsStream<BufReader<TcpStream>>>>;
/// Whatever a library says; `faults` sorts it.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Behind the end of the answer there was more.
#[derive(Debug, thiserror::Error)]
#[error("there is more behind its end")]
pub(crate) struct Surplus;

/// Opens connections to what a [`Resolver`] finds.
#[derive(Clone)]
pub(crate) struct Dialer {
    tcp: HttpConnector<Resolver>,
    tls: TlsConnector,
    most_read: usize,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("most_read", &self.most_read).finish_non_exhaustive()
    }
}

impl Dialer {
    /// `connections`: how many of them there may be at once.
    pub(crate) fn new(resolver: Resolver, connections: usize, clock: Arc<dyn Clock>) -> Result<Self, rustls::Error> {
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        let most_read = (READ_AT_ONCE / connections.max(1)).clamp(READ_LEAST, READ_LARGEST);
        Ok(Self { tcp, tls: TlsConnector::from(Arc::new(tls)), most_read, clock })
    }

    /// What is there, as it is: nothing is followed, unpacked, repeated or passed on.
    pub(crate) async fn get(&self, url: &Url, extra: &HeaderMap) -> Result<Response, BoxError> {
        let request = request(url, extra)?;
        let stream = tokio::select! {
            stream = self.connect(url) => stream?,
            () = self.clock.sleep(CONNECT_TIMEOUT) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time").into());
            }
        };
        let (mut sender, mut connection) =
            http1::Builder::new().max_headers(MOST_HEADERS).max_buf_size(self.most_read).handshake(stream).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its errors reach whoever waits for the head or the body; all that counts here is what is left over.
            let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
            connection.into_parts()
        });
        // The sender goes with this call: the connection is over when the answer is.
        let (head, body) = sender.send_request(request).await?.into_parts();
        let (url, clock) = (url.clone(), Arc::clone(&self.clock));
        Ok(Response { url, status: head.status, headers: head.headers, body, driver, after: None, clock })
    }

    async fn connect(&self, url: &Url) -> Result<Stream, BoxError> {
        // Host and port alone: what is secret in a URL is in its query.
        let address = url[..Position::AfterPort].parse()?;
        let mut tcp = self.tcp.clone();
        poll_fn(|cx| tcp.poll_ready(cx)).await?;
        let stream = tcp.call(address).await?.into_inner();
        if url.scheme() != "https" {
            return Ok(TokioIo::new(Either::Left(stream)));
        }
        let stream = BufReader::with_capacity(READ_BELOW_TLS, stream);
        // Of another kind: a handshake that ends short is no file that does.
        let stream = self.tls.connect(server_name(url)?, stream).await.map_err(io::Error::other)?;
        Ok(TokioIo::new(Either::Right(stream)))
    }
}

fn server_name(url: &Url) -> Result<ServerName<'static>, BoxError> {
    Ok(match url.host().ok_or("a URL without a host")? {
        Host::Domain(name) => ServerName::try_from(name.to_owned())?,
        Host::Ipv4(address) => IpAddr::from(address).into(),
        Host::Ipv6(address) => IpAddr::from(address).into(),
    })
}

/// Path and query go out byte for byte as they are in the URL.
fn request(url: &Url, extra: &HeaderMap) -> Result<Request<String>, BoxError> {
    let mut request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(CONNECTION, HeaderValue::from_static("close"))
        .header(USER_AGENT, HeaderValue::from_static(OUR_NAME))
        .header(ACCEPT, HeaderValue::from_static("*/*"))
        .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
        .body(String::new())?;
    request.headers_mut().extend(extra.clone());
    Ok(request)
}

/// An answer whose body is still to come. Dropped, it ends its connection.
pub(crate) struct Response {
    url: Url,
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    /// Carries the connection, until it yields what was left over.
    driver: JoinSet<http1::Parts<Stream>>,
    /// What was left over, until it is judged.
    after: Option<http1::Parts<Stream>>,
    clock: Arc<dyn Clock>,
}

impl Response {
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next bytes of the body; `None` is its end, behind which there was nothing. May be given up and asked again.
    ///
    /// # Errors
    /// [`Surplus`], or what the libraries say of a body that broke off.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, BoxError> {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
            // Trailers say nothing that is asked for.
            if let Ok(bytes) = frame?.into_data() {
                return Ok(Some(bytes));
            }
        }
        if self.has_surplus().await { Err(Surplus.into()) } else { Ok(None) }
    }

    async fn has_surplus(&mut self) -> bool {
        if let Some(parts) = self.driver.join_next().await {
            self.after = parts.ok();
        }
        let Some(after) = self.after.as_mut() else { return false };
        let surplus = !after.read_buf.is_empty() || {
            let mut byte = [0];
            tokio::select! {
                biased;
                read = after.io.inner_mut().read(&mut byte) => matches!(read, Ok(1..)),
                () = self.clock.sleep(MOMENT) => false,
            }
        };
        self.after = None;
        surplus
    }
}

#[cfg(test)]
mod tests {
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::clock::SystemClock;
    use crate::hosts::Reach;
    use crate::kore::faults::{Fault, describe, fault};
    use crate::kore::testing::{Act, FrozenClock, Server, send};

    const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n0123";

    /// The body that a host makes of these acts, by this clock.
    async fn body(acts: Vec<Act>, clock: Arc<dyn Clock>) -> Result<Vec<u8>, BoxError> {
        let server = Server::start(move |_, _| acts.clone()).await;
        let dialer = Dialer::new(Resolver(Reach::Any), 1, clock).unwrap();
        let mut response = dialer.get(server.file("/f").url(), &HeaderMap::new()).await?;
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await? {
            body.extend(bytes);
        }
        assert!(matches!(response.chunk().await, Ok(None)), "an end stays one");
        Ok(body)
    }

    #[tokio::test]
    async fn what_comes_until_the_host_closes_is_seen() {
        let later = body(vec![send(WHOLE), Act::Drip], Arc::new(FrozenClock)).await;
        assert!(later.unwrap_err().is::<Surplus>());
        let at_once = body(vec![send(WHOLE), send("4")], Arc::new(FrozenClock)).await;
        assert!(at_once.unwrap_err().is::<Surplus>());
    }

    #[tokio::test]
    async fn a_host_that_closes_is_not_waited_for_and_one_that_stays_costs_a_moment() {
        for end in [vec![], vec![Act::Reset]] {
            let acts = [vec![send(WHOLE)], end].concat();
            assert_eq!(body(acts, Arc::new(FrozenClock)).await.unwrap(), b"0123");
        }
        assert_eq!(body(vec![send(WHOLE), Act::Hang], Arc::new(SystemClock::new())).await.unwrap(), b"0123");
    }

    #[tokio::test]
    async fn a_handshake_that_is_cut_is_no_file_that_ends_short() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/f", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
        });
        let dialer = Dialer::new(Resolver(Reach::Any), 1, Arc::new(FrozenClock)).unwrap();
        let error = dialer.get(&url, &HeaderMap::new()).await.err().unwrap();
        assert_eq!(fault(&*error), Fault::Broken, "{}", describe(&*error));
    }

    #[test]
    fn certificates_are_asked_for_by_the_name_in_the_url() {
        let name = |url: &str| server_name(&url.parse().unwrap()).unwrap().to_str().into_owned();
        let names = [
            ("https://a.example:8443/f?k=v", "a.example"),
            ("https://[::1]/", "::1"),
            ("https://10.0.0.1/", "10.0.0.1"),
        ];
        for (url, expected) in names {
            assert_eq!(name(url), expected);
        }
    }

    #[tokio::test]
    async fn a_file_host_whose_certificate_nobody_vouches_for_is_told_nothing() {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/f?s=CANARY", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            TlsAcceptor::from(Arc::new(tls)).accept(stream).await.is_ok()
        });
        let dialer = Dialer::new(Resolver(Reach::Any), 1, Arc::new(FrozenClock)).unwrap();
        let error = dialer.get(&url, &HeaderMap::new()).await.err().unwrap();
        let words = describe(&*error);
        assert!(words.contains("certificate") && !words.contains("CANARY"), "{words}");
        assert!(!server.await.unwrap(), "no handshake, no request");
    }
}
