//! The type of a field must be able to hold the value that its engine returns.

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
