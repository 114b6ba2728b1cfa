//! Certificates for TLS on loopback, fresh for each test.

use std::path::{Path, PathBuf};

use crate::netns::{FOUR, SIX};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Files of one authority and what it signed.
#[derive(Debug, Clone)]
pub struct Certs {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The server's certificate for `localhost`, `127.0.0.1` and the far end of a pair of namespaces.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// A client's certificate.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

/// Makes an authority, a server certificate and a client certificate, and writes them into `folder` as PEM.
#[must_use]
pub fn make(folder: &Path) -> Certs {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Tidegate test authority");
    let authority = CertifiedIssuer::self_signed(params, key()).expect("a self-signed authority");
    let (four, six) = (FOUR[1].to_string(), SIX[1].to_string());
    let (server, server_key) = signed(&authority, &["localhost", "127.0.0.1", &four, &six], "localhost");
    let (client, client_key) = signed(&authority, &[], "test client");
    Certs {
        ca: write(folder, "ca.pem", &authority.pem()),
        server: write(folder, "server.pem", &server),
        server_key: write(folder, "server.key", &server_key),
        client: write(folder, "client.pem", &client),
        client_key: write(folder, "client.key", &client_key),
    }
}

/// Like [`make`], but the server's certificate holds from one day to another (year, month, day), and for these names.
#[must_use]
pub fn make_for(folder: &Path, from: (i32, u8, u8), until: (i32, u8, u8), names: &[&str]) -> Certs {
    let certs = make(folder);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "Tidegate test authority");
    let authority = CertifiedIssuer::self_signed(authority, key()).expect("a self-signed authority");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names are valid");
    params.distinguished_name.push(DnType::CommonName, "Tidegate test server");
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    let key = key();
    let certificate = params.signed_by(&key, &authority).expect("the authority signs");
    write(folder, "ca.pem", &authority.pem());
    write(folder, "server.pem", &certificate.pem());
    write(folder, "server.key", &key.serialize_pem());
    certs
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key pair")
}

fn signed(authority: &CertifiedIssuer<'_, KeyPair>, names: &[&str], common_name: &str) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names of loopback are valid");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = key();
    let certificate = params.signed_by(&key, authority).expect("the authority signs");
    (certificate.pem(), key.serialize_pem())
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    path
}
