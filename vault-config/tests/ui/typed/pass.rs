//! Fields of engines that return values of one type only.

#![allow(dead_code)]

use vault_config::{Certificate, Leased, SignedSshKey, VaultConfig};

#[derive(VaultConfig)]
struct Config<T: vault_config::Secret> {
    #[vault(pki = "web", common_name = "{host}.example.com", alt_names = "a.b,c.d", ttl = "24h")]
    certificate: Certificate,
    #[vault(pki = "{env}-web", mount = "team/pki", ip_sans = "127.0.0.1")]
    leased: Option<Leased<Certificate>>,
    #[vault(ssh = "deploy", valid_principals = "{user}", ttl = "30m")]
    key: SignedSshKey,
    #[vault(ssh = "deploy", public_key = "ssh-ed25519 AAAA")]
    key_in_attribute: Leased<SignedSshKey>,
    #[vault(ssh = "deploy", mount = "team/ssh", public_key_file = "/etc/{env}.pub")]
    key_in_file: Option<SignedSshKey>,
    #[vault(pki = "web")]
    generic: T,
}

fn main() {
    let _ = Config::<Certificate>::schema();
}
