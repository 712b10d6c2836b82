//! Certificates for https: valid ones, and invalid ones for tests of the refusal.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

use crate::process::temporary_directory;

/// A certificate authority of its own, with its files in a temporary directory.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    ca: PathBuf,
    count: AtomicUsize,
    directory: Arc<TempDir>,
}

/// A server's certificate as PEM files. They are deleted with the last clone.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that signed it.
    pub ca: PathBuf,
    _directory: Option<Arc<TempDir>>,
}

/// A client's certificate as PEM files. They are deleted with the last clone.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    _directory: Arc<TempDir>,
}

impl Authority {
    /// Creates an authority. No client trusts it yet.
    ///
    /// # Panics
    ///
    /// If the temporary directory is not writable.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let directory = temporary_directory("authority-");
        let mut params = params(&[], "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer =
            CertifiedIssuer::self_signed(params, key()).expect("an authority signs itself");
        let ca = write(directory.path(), "ca.pem", &issuer.pem());
        Self { issuer, ca, count: AtomicUsize::new(0), directory: Arc::new(directory) }
    }

    /// The authority's own certificate, for clients that have to trust it.
    #[must_use]
    pub fn ca_cert(&self) -> &Path {
        &self.ca
    }

    /// A valid certificate for 127.0.0.1 and localhost.
    #[must_use]
    pub fn server(&self) -> ServerCertificate {
        self.sign_server(server_params(&["localhost", "127.0.0.1"]))
    }

    /// A certificate that expired years ago.
    #[must_use]
    pub fn expired(&self) -> ServerCertificate {
        let mut params = server_params(&["localhost", "127.0.0.1"]);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
        self.sign_server(params)
    }

    /// A valid certificate for `other.example` only.
    #[must_use]
    pub fn wrong_name(&self) -> ServerCertificate {
        self.sign_server(server_params(&["other.example"]))
    }

    /// A client's certificate.
    #[must_use]
    pub fn client(&self, common_name: &str) -> ClientCertificate {
        let mut params = params(&[common_name], common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let [cert, key] = self.sign(&params);
        ClientCertificate { cert, key, _directory: self.directory.clone() }
    }

    fn sign_server(&self, params: CertificateParams) -> ServerCertificate {
        let [cert, key] = self.sign(&params);
        let directory = Some(self.directory.clone());
        ServerCertificate { cert, key, ca: self.ca.clone(), _directory: directory }
    }

    fn sign(&self, params: &CertificateParams) -> [PathBuf; 2] {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let key = key();
        let cert = params.signed_by(&key, &self.issuer).expect("an authority signs");
        let directory = self.directory.path();
        [
            write(directory, &format!("cert-{number}.pem"), &cert.pem()),
            write(directory, &format!("key-{number}.pem"), &key.serialize_pem()),
        ]
    }
}

impl ServerCertificate {
    /// The certificate that a dev server has created for itself.
    pub(crate) fn of_dev_server(directory: &Path) -> Self {
        let [cert, key, ca] =
            ["vault-cert.pem", "vault-key.pem", "vault-ca.pem"].map(|file| directory.join(file));
        Self { cert, key, ca, _directory: None }
    }
}

fn server_params(names: &[&str]) -> CertificateParams {
    let mut params = params(names, names[0]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("the names are plain");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key pair can be made")
}

fn write(directory: &Path, name: &str, pem: &str) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, pem).expect("the authority's directory is writable");
    file
}
