//! TLS before a fake: what comes in is deciphered and handed on as it is.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt as _, copy, copy_bidirectional, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Vouches for 127.0.0.1, and is known to nobody who is not told.
pub struct Authority {
    pem: String,
    config: Arc<ServerConfig>,
}

impl Authority {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("the name is good");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("its own versions suit it")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("the key fits the certificate");
        Self { pem: made.cert.pem(), config: Arc::new(config) }
    }

    /// For those who are to trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// How a connection ends that the one behind has ended.
#[derive(Clone, Copy, Debug)]
pub enum Parting {
    /// With TLS's goodbye (`close_notify`).
    Polite,
    /// Without.
    Silent,
}

/// A port that is taken before it is known what stands behind it.
pub struct Door {
    listener: TcpListener,
}

impl Door {
    pub async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port") }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Hands everything on to `behind`, for as long as the test runs.
    pub fn open(self, authority: &Authority, behind: &str, parting: Parting) {
        let acceptor = TlsAcceptor::from(Arc::clone(&authority.config));
        let behind: SocketAddr = behind.parse().expect("fakes have addresses");
        tokio::spawn(async move {
            while let Ok((stream, _)) = self.listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    // Who does not trust us leaves; that is what some come to see.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let Ok(mut inner) = TcpStream::connect(behind).await else { return };
                    let _ = inner.set_nodelay(true);
                    match parting {
                        Parting::Polite => drop(copy_bidirectional(&mut stream, &mut inner).await),
                        Parting::Silent => {
                            let ((mut from, mut to), (mut back, mut forth)) = (split(stream), inner.split());
                            tokio::select! {
                                _ = copy(&mut from, &mut forth) => {}
                                _ = copy(&mut back, &mut to) => {}
                            }
                            let _ = to.flush().await;
                        }
                    }
                });
            }
        });
    }
}
