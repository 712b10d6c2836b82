//! A type that the engine's answer does not fit.

use vault_config::secrecy::SecretString;
use vault_config::{Certificate, DatabaseCredentials, Leased, SignedSshKey, VaultConfig};

#[derive(VaultConfig)]
struct Config {
    #[vault(pki = "web")]
    text: SecretString,
    #[vault(pki = "web")]
    pair: Option<DatabaseCredentials>,
    #[vault(ssh = "deploy")]
    certificate: Leased<Certificate>,
    #[vault(pki = "web")]
    key: SignedSshKey,
}

fn main() {}
