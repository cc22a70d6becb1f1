//! Receivers whose certificates do not hold get nothing.
//!
//! The client trusts what the system trusts. A test of the soundest certificate, and so of what makes the others unsound, needs an
//! authority that the system knows: the tests below run again in a process whose environment names one.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use xthonpay_egress::WebhookClient;
use xthonpay_payments::port::egress::EgressError;

use crate::receiver::{ScriptedLookup, allowing, post};

/// Names the file of the authority for the process that the tests start.
const AUTHORITY_FILE: &str = "SSL_CERT_FILE";
/// Holds the authority's key for that process. An authority of a test, that nobody else trusts.
const AUTHORITY_KEY: &str = "EGRESS_TEST_AUTHORITY_KEY";

const NAME: &str = "shop.example";

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A receiver that speaks TLS with a certificate, and counts the requests that come through.
struct TlsReceiver {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl TlsReceiver {
    async fn start(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        // Named, because other crates of the workspace bring another one.
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not like the certificate hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    // The client may have gone.
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        Self { address, requests }
    }
}

/// Runs a test of this file in a process that trusts an authority of ours, and returns what it printed when it passed.
fn run_with_authority(test: &str) {
    let key = KeyPair::generate().expect("a key");
    let authority = authority_params().self_signed(&key).expect("a certificate");
    let file = std::env::temp_dir().join(format!("egress-authority-{}.pem", std::process::id()));
    std::fs::write(&file, authority.pem()).expect("a file");
    let mut child = Command::new(std::env::current_exe().expect("the path of the tests"));
    child.args(["--exact", test]).env(AUTHORITY_FILE, &file).env(AUTHORITY_KEY, key.serialize_pem());
    let output = child.output().expect("the tests run again");
    std::fs::remove_file(&file).expect("the file goes");
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}{said}");
}

/// Runs twice: as the tests are run, and from there once more in a process that has the authority.
#[tokio::test]
async fn only_a_certificate_that_holds_is_talked_to() {
    match std::env::var(AUTHORITY_KEY) {
        Ok(pem) => certificates_under_a_trusted_authority(&pem).await,
        Err(_) => run_with_authority("tls::only_a_certificate_that_holds_is_talked_to"),
    }
}

async fn certificates_under_a_trusted_authority(pem: &str) {
    let key = KeyPair::from_pem(pem).expect("a key");
    let authority = CertifiedIssuer::self_signed(authority_params(), key).expect("a certificate");
    let stranger_key = KeyPair::generate().expect("a key");
    let stranger = CertifiedIssuer::self_signed(authority_params(), stranger_key).expect("a certificate");
    let named = |name: &str| CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let expired = {
        let mut params = named(NAME);
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        params
    };
    let future = {
        let mut params = named(NAME);
        (params.not_before, params.not_after) = (date_time_ymd(4000, 1, 1), date_time_ymd(4001, 1, 1));
        params
    };
    let own_key = KeyPair::generate().expect("a key");
    let signed_by = |params: CertificateParams, issuer: &CertifiedIssuer<'_, KeyPair>| {
        params.signed_by(&own_key, issuer).expect("a certificate").der().clone()
    };
    let self_signed = named(NAME).self_signed(&own_key).expect("a certificate").der().clone();
    for (what, certificate, reached) in [
        ("sound", signed_by(named(NAME), &authority), true),
        ("of another name", signed_by(named("other.example"), &authority), false),
        ("of a name above", signed_by(named("example"), &authority), false),
        ("of the address", signed_by(named("127.0.0.1"), &authority), false),
        ("expired", signed_by(expired, &authority), false),
        ("not yet valid", signed_by(future, &authority), false),
        ("of an authority that nobody knows", signed_by(named(NAME), &stranger), false),
        ("self-signed", self_signed, false),
    ] {
        let receiver = TlsReceiver::start(vec![certificate], &own_key).await;
        let lookup = ScriptedLookup::new(&[&["127.0.0.1"]]);
        let client = WebhookClient::with_lookup(allowing(&["127.0.0.0/8"]), lookup).expect("a sound config");
        let answer = post(&client, &format!("https://{NAME}:{}/hook", receiver.address.port())).await;
        if reached {
            assert_eq!(answer.map(|answer| answer.status), Ok(200), "{what}");
        } else {
            let Err(EgressError::Unreachable { reason }) = answer else { unreachable!("{what}: {answer:?}") };
            assert!(reason.starts_with("TLS failed"), "{what}: {reason}");
        }
        assert_eq!(receiver.requests.load(Ordering::SeqCst), usize::from(reached), "{what}");
    }
}
