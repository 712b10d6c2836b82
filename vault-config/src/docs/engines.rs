//! Every engine: the attribute, the type, what becomes of it while it is watched, and what the
//! administrator runs.
//!
//! The policy stanza is what [`Schema::policy`](crate::Schema::policy) writes for the field, here for
//! the engine's usual mount. Every source takes `mount = ".."` (`read` and `write` name it in their
//! path) and `namespace = ".."`. The commands are Vault's; `bao` takes the same.
//!
//! | engine | attribute | type | while it is watched | policy | what the administrator runs |
//! |---|---|---|---|---|---|
//! | KV, version 2 | `kv = "app"` | any secret type; `whole` for a map or struct | looked at every 5 min (`refresh`), read when its version is another | `path "secret/data/app" { capabilities = ["read"] }`; `secret/metadata/app` too saves reading what has not changed | `vault secrets enable -path=secret kv-v2`<br>`vault kv put -mount=secret app key=..` |
//! | KV, version 1 | the same; `kv_version = 1` for the policy | the same | read every 5 min, published when its content is another | `path "secret/app" { capabilities = ["read"] }` | `vault secrets enable -path=secret kv` |
//! | database, dynamic role | `database = "app"` | [`DatabaseCredentials`] | lease renewed, replaced before it ends | `path "database/creds/app" { capabilities = ["read"] }` | `vault write database/config/pg plugin_name=postgresql-database-plugin connection_url=.. allowed_roles=app`<br>`vault write database/roles/app db_name=pg creation_statements=.. default_ttl=1h max_ttl=24h` |
//! | database, static role | `database_static = "app"` | [`DatabaseCredentials`] | read again after each rotation | `path "database/static-creds/app" { capabilities = ["read"] }` | `vault write database/static-roles/app db_name=pg username=app rotation_period=24h` |
//! | PKI, feature `pki` | `pki = "web"`, `common_name`, `alt_names`, `ip_sans`, `ttl` | `Certificate` | issued again when two thirds of its life are over; the one before stays valid to its end | `path "pki/issue/web" { capabilities = ["update"] }` | `vault secrets enable pki`<br>`vault write pki/roles/web allowed_domains=example.com allow_subdomains=true max_ttl=72h no_store=true` |
//! | SSH, feature `ssh` | `ssh = "deploy"`, `public_key` or `public_key_file` or neither, `valid_principals`, `ttl` | `SignedSshKey` | signed again when two thirds of its life are over, with another pair when the pair is made here | `path "ssh/sign/deploy" { capabilities = ["update"] }` | `vault secrets enable ssh`<br>`vault write ssh/config/ca generate_signing_key=true key_type=ed25519`<br>`vault write ssh/roles/deploy key_type=ca allow_user_certificates=true allowed_users=deploy default_user=deploy ttl=30m` |
//! | transit | `transit = "app"` | any secret type | stays as it was decrypted | `path "transit/decrypt/app" { capabilities = ["update"] }` | `vault secrets enable transit`<br>`vault write -f transit/keys/app` |
//! | AWS | `read = "aws/creds/deploy"`, `write = "aws/sts/deploy"` with `data(ttl = "1h")` | map, or one key | lease renewed or replaced | `path "aws/creds/deploy" { capabilities = ["read"] }`, `path "aws/sts/deploy" { capabilities = ["update"] }` | `vault write aws/roles/deploy credential_type=iam_user policy_document=@policy.json` |
//! | Azure | `read = "azure/creds/app"` | the same | lease renewed or replaced | `path "azure/creds/app" { capabilities = ["read"] }` | `vault write azure/roles/app azure_roles=@roles.json ttl=1h` |
//! | Google Cloud | `read = "gcp/roleset/app/token"`, `read = "gcp/roleset/app/key"` | the same | a token has no lease and is made again before its `token_ttl` is over; a key has a lease | `path "gcp/roleset/app/token" { capabilities = ["read"] }` | `vault write gcp/roleset/app project=.. secret_type=access_token bindings=@b.hcl` |
//! | RabbitMQ, Consul, Nomad, Terraform, .. | `read = "rabbitmq/creds/app"` | the same | lease renewed or replaced | `path "rabbitmq/creds/app" { capabilities = ["read"] }` | `vault write rabbitmq/roles/app vhosts=..` |
//! | LDAP | `read = "ldap/creds/app"`, `read = "ldap/static-cred/app"` | the same | as a dynamic or a static role of a database | `path "ldap/creds/app" { capabilities = ["read"] }` | `vault write ldap/static-role/app dn=.. username=app rotation_period=24h` |
//! | Kubernetes | `write = "kubernetes/creds/app"` with `data(kubernetes_namespace = "prod")` | the same | lease replaced | `path "kubernetes/creds/app" { capabilities = ["update"] }` | `vault write kubernetes/roles/app allowed_kubernetes_namespaces=prod ..` |
//! | identity tokens | `read = "identity/oidc/token/app"`, `key = "token"` | [`SecretString`] | made again before its `ttl` is over | `path "identity/oidc/token/app" { capabilities = ["read"] }` | `vault write identity/oidc/role/app key=app ttl=10m` |
//! | TOTP, cubbyhole | `read = "totp/code/app"`, `read = "cubbyhole/app"` | one key, or a map | read every 5 min; say `refresh` for less or more | `path "totp/code/app" { capabilities = ["read"] }` | `vault write totp/keys/app generate=true ..` |
//!
//! [`Leased<T>`](crate::Leased) around any of these types tells for how long it was given. Fields that
//! ask for the same share one answer: two `pki` or `ssh` fields with the same words have one
//! certificate or pair between them.
//!
//! A `{variable}` may stand in all of these texts. In a path it cannot lead elsewhere; in a
//! `common_name`, in a list of names or in `data(..)` it is taken as it is, commas included.
//!
//! # A certificate
//!
#![cfg_attr(
    feature = "pki",
    doc = r##"
```
use vault_config::{Certificate, VaultConfig};

#[derive(Debug, VaultConfig)]
struct AppConfig {
    #[vault(pki = "web", common_name = "{host}.example.com", ttl = "24h")]
    tls: Certificate,
}
```
"##
)]
//!
//! `Certificate::certificate_ders` and `private_key_der` are what rustls takes, `identity_pem` is what
//! `reqwest::Identity::from_pem` takes. A certificate does not die with the token that it was issued
//! under, unless the role says `generate_lease=true`. An HTTPS server that shows every connection
//! the newest certificate runs by `cargo run -p vault-config-examples --bin https`.
//!
//! In development `TLS_CERTIFICATE` and `TLS_PRIVATE_KEY` are the two PEM texts of a field `tls`.
//!
//! # A signed SSH key
//!
#![cfg_attr(
    feature = "ssh",
    doc = r##"
```
use vault_config::{SignedSshKey, VaultConfig};

#[derive(Debug, VaultConfig)]
struct AppConfig {
    // An ed25519 pair that is made in memory, and made anew each time.
    #[vault(ssh = "deploy", valid_principals = "deploy", ttl = "10m")]
    deploy: SignedSshKey,
    // A key of your own, whose private half stays where it is.
    #[vault(ssh = "deploy", public_key_file = "{home}/.ssh/id_ed25519.pub")]
    backup: SignedSshKey,
}
```
"##
)]
//!
//! `{home}` is a variable as in any path, here `VAULT_CONFIG_VAR_HOME`; `~` is not expanded. What is no
//! public key is not sent.
//!
//! # An encrypted value
//!
//! What is encrypted may lie in the repository: in a TOML file, in `.env`, or in the environment of
//! a manifest.
//!
//! ```
//! use vault_config::{VaultConfig, secrecy::SecretString};
//!
//! #[derive(Debug, VaultConfig)]
//! #[vault(env_prefix = "APP")]
//! struct AppConfig {
//!     #[vault(transit = "app")]
//!     license: SecretString,
//! }
//! ```
//!
//! ```sh
//! printf %s "$license" | base64 | vault write -field=ciphertext transit/encrypt/app plaintext=-
//! # vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==
//! ```
//!
//! ```toml
//! license = "vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w=="
//! ```
//!
//! All fields of one key are decrypted by one request. A list or a map is one ciphertext, of its JSON
//! text; line breaks and spaces around a ciphertext are none of it. A value that is not encrypted is refused in
//! Vault mode, so that none gets in by mistake; in local mode it is taken as it is, and a ciphertext
//! is refused. A key that was rotated decrypts what its older versions encrypted, down to its
//! `min_decryption_version`. A field's `default` is a plain value: it is in the program.
//!
//! [`Vault::resolve`](crate::Vault::resolve) does not look into the figment that its values are merged
//! into, which would keep a ciphertext as it is: there, the variable has to be set.
//!
//! # An engine that answers a write
//!
//! ```
//! use std::collections::HashMap;
//! use vault_config::{Leased, VaultConfig, secrecy::SecretString};
//!
//! #[derive(Debug, VaultConfig)]
//! struct AppConfig {
//!     #[vault(write = "aws/sts/deploy", data(ttl = "1h", role_arn = "{role_arn}"))]
//!     aws: Leased<HashMap<String, SecretString>>,
//! }
//! ```
//!
//! `data` holds texts; the server reads numbers and switches from them. No secret belongs there: it
//! would stand in the program. What has no lease is written once, or as often as `refresh` says, and
//! never twice for one answer that was lost.
//!
//! [`DatabaseCredentials`]: crate::DatabaseCredentials
//! [`SecretString`]: crate::secrecy::SecretString
