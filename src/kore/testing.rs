//! A server of a few lines on a real socket, for this module tree's tests: it sends the bytes that a test wrote down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::budget::Budget;
use super::client::KoreClient;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{BotSettings, ClientSecret, TransferSettings};
use crate::hosts::MediaHost;
use crate::source::{FetchError, FileHost, SignedUrl};

/// A sleep on it never ends: who waits beside one is out of patience with nobody.
#[derive(Debug)]
pub(crate) struct FrozenClock;

#[async_trait]
impl Clock for FrozenClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(0)
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending::<()>().await;
    }
}

/// Real time, twenty times as fast: what takes seconds in the field takes milliseconds here.
#[derive(Debug, Default)]
struct HastyClock(SystemClock);

const HASTE: u32 = 20;

#[async_trait]
impl Clock for HastyClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed() * HASTE
    }

    async fn sleep(&self, wait: Duration) {
        self.0.sleep(wait / HASTE).await;
    }
}

/// What the server does on a connection, after it read a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends this.
    Send(Vec<u8>),
    /// Sends a byte a tenth of a second, for ever.
    Drip,
    /// Does nothing more, and keeps the connection open.
    Hang,
    /// Ends the connection with RST. Without it, FIN.
    Reset,
}

pub(crate) fn send(text: impl Into<String>) -> Act {
    Act::Send(text.into().into_bytes())
}

/// A running server and the heads of the requests that it got.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers request number n (from 0) with what `script(n, head)` says, one request a connection.
    pub(crate) async fn start(script: impl Fn(usize, &str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (server, script) = (Self { address, requests }, Arc::new(script));
        let requests = Arc::clone(&server.requests);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let (requests, script) = (Arc::clone(&requests), Arc::clone(&script));
                tokio::spawn(async move {
                    let Some(head) = read_head(&mut connection).await else { return };
                    let number = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(head.clone());
                        requests.len() - 1
                    };
                    play(connection, script(number, &head)).await;
                });
            }
        });
        server
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// A signed URL on this server.
    pub(crate) fn file(&self, path_and_query: &str) -> SignedUrl {
        SignedUrl::parse(&format!("http://{}{path_and_query}", self.address)).unwrap()
    }

    /// A client whose API and file host this server is.
    pub(crate) fn client(&self, secret: ClientSecret, limits: TransferSettings) -> KoreClient {
        let clock: Arc<dyn Clock> = Arc::new(HastyClock::default());
        let bot = BotSettings {
            host: format!("http://{}", self.address).parse().unwrap(),
            bot_id: "st-1/../x".into(),
            client_id: "cs-1".into(),
            client_secret: secret,
            requests_per_minute: 60_000,
            account: "default".into(),
            media_hosts: vec![MediaHost::parse(&self.address.to_string()).unwrap()],
            allow_insecure_http: true,
        };
        let budget = Arc::new(Budget::new(bot.requests_per_minute, Arc::clone(&clock)));
        KoreClient::new("default", &bot, Duration::from_secs(30), &limits, budget, clock).unwrap()
    }
}

/// The defaults of the settings, less a few zeros.
pub(crate) fn limits() -> TransferSettings {
    TransferSettings {
        concurrency: 1,
        memory: 1 << 20,
        part_size: 5 << 20,
        max_bytes: 1 << 20,
        min_throughput: 1024,
        stall_window: Duration::from_secs(15),
        drain_timeout: Duration::from_secs(1),
    }
}

/// The client secret, which no output may hold. File URLs of these tests hold the same word.
pub(crate) fn canary() -> ClientSecret {
    ClientSecret::Environment("CANARY".into())
}

/// What comes of a file whose host follows the script; request 0 is the first.
pub(crate) async fn fetch(
    script: impl Fn(usize, &str) -> Vec<Act> + Send + Sync + 'static,
) -> Result<Vec<u8>, FetchError> {
    let server = Server::start(script).await;
    fetch_from(&server).await
}

/// The file of that server, whole.
pub(crate) async fn fetch_from(server: &Server) -> Result<Vec<u8>, FetchError> {
    let client = server.client(canary(), limits());
    let result = all_of(&client, &server.file("/f.wav?e=4102444800&n=1&s=a$b%24'CANARY")).await;
    if let Err(error) = &result {
        assert!(!format!("{error} {error:?}").contains("CANARY"), "{error}");
    }
    result
}

/// Every byte of a file.
pub(crate) async fn all_of(client: &impl FileHost, url: &SignedUrl) -> Result<Vec<u8>, FetchError> {
    let chunks: Vec<_> = client.open(url).await?.body.try_collect().await?;
    Ok(chunks.concat())
}

async fn read_head(connection: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

async fn play(mut connection: TcpStream, acts: Vec<Act>) {
    for act in acts {
        match act {
            Act::Send(bytes) => drop(connection.write_all(&bytes).await),
            Act::Drip => {
                while connection.write_all(b"x").await.is_ok() {
                    SystemClock::new().sleep(Duration::from_millis(100)).await;
                }
            }
            Act::Hang => std::future::pending().await,
            Act::Reset => {
                // The client must have read what came before, which a reset would discard.
                SystemClock::new().sleep(Duration::from_millis(30)).await;
                return connection.set_zero_linger().unwrap();
            }
        }
    }
    drop(connection.shutdown().await);
}
