//! What is shown, and what becomes of files that are no certificate: with real handshakes over loopback.

use std::path::Path;

use rcgen::{CertifiedKey as Made, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

/// A certificate for `localhost` in the files of a folder.
fn write(folder: &Path) -> CertificateDer<'static> {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let Made { cert, signing_key } = made;
    std::fs::write(folder.join("node.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("node.key"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn files(folder: &TempDir) -> Files {
    Files { certificate: folder.path().join("node.pem"), key: folder.path().join("node.key") }
}

/// A handshake with a client that trusts one certificate; the version they agreed on.
async fn connect(
    tls: &Tls,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> io::Result<Option<ProtocolVersion>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let stream = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));

    let (client, server) = tokio::join!(connector.connect(name, stream), tls.accept(accepted));

    client?;
    Ok(server?.get_ref().1.protocol_version())
}

#[tokio::test]
async fn both_versions_are_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = write(folder.path());
    let tls = Tls::load(files(&folder)).unwrap();

    let both = connect(&tls, &trusted, &[&TLS12, &TLS13], &[]).await.unwrap();
    let old = connect(&tls, &trusted, &[&TLS12], &[b"mqtt"]).await.unwrap();

    assert_eq!((both, old), (Some(ProtocolVersion::TLSv1_3), Some(ProtocolVersion::TLSv1_2)));
}

#[tokio::test]
async fn what_is_meant_for_another_protocol_is_not_spoken_here() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = write(folder.path());
    let tls = Tls::load(files(&folder)).unwrap();

    assert!(connect(&tls, &trusted, &[&TLS13], &[b"http/1.1"]).await.is_err());
}

#[tokio::test]
async fn new_files_are_shown_by_all_clones_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path());
    let tls = Tls::load(files(&folder)).unwrap();
    let clone = tls.clone();
    assert!(!tls.reload().unwrap(), "they are the same");

    let second = write(folder.path());
    assert!(connect(&clone, &first, &[&TLS13], &[]).await.is_ok(), "nobody has read them yet");
    assert!(tls.reload().unwrap());

    assert!(connect(&clone, &second, &[&TLS13], &[]).await.is_ok());
    assert!(connect(&clone, &first, &[&TLS13], &[]).await.is_err());
}

#[tokio::test]
async fn half_of_a_renewal_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path());
    let tls = Tls::load(files(&folder)).unwrap();

    std::fs::write(folder.path().join("node.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let refused = tls.reload().unwrap_err();

    assert!(matches!(refused, Error::Mismatch { .. }), "{refused}");
    assert!(connect(&tls, &first, &[&TLS13], &[]).await.is_ok());
}

#[test]
fn what_is_no_certificate_is_refused_by_its_file_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let key = std::fs::read_to_string(folder.path().join("node.key")).unwrap();
    let check = |file: &str, content: &str, words: &str| {
        let kept = std::fs::read(folder.path().join(file)).unwrap();
        std::fs::write(folder.path().join(file), content).unwrap();
        let said = Tls::load(files(&folder)).unwrap_err().to_string();
        std::fs::write(folder.path().join(file), kept).unwrap();
        assert!(said.contains(file) && said.contains(words), "{said}");
        assert!(!said.contains(key.lines().nth(1).unwrap()), "{said}");
    };

    check("node.pem", "", "holds no certificate in PEM");
    check("node.pem", &key, "holds no certificate in PEM");
    check("node.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "no certificate");
    check("node.pem", &"x".repeat(300 << 10), "more than 262144 bytes");
    check("node.key", "", "holds no private key in PEM");
    check("node.key", &key[..key.len() / 2], "holds no private key in PEM");
    let missing = Files { certificate: "gone.pem".into(), key: "gone.key".into() };
    assert!(Tls::load(missing).unwrap_err().to_string().starts_with("reading gone.pem: "));
}
