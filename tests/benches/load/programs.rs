//! The programs that are compared. Each runs in a process of its own.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;
use vault_config::auth::AppRole;
use vault_config::secrecy::SecretString;
use vault_config::{Vault, VaultConfig};
use vaultrs::client::{Client as _, VaultClient, VaultClientSettingsBuilder};

use crate::shapes::{Count, Hundred, One, Secret, Section, Sections, Shape, Ten};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    HandWritten,
    VaultConfig,
    /// vault-config with this limit on connections.
    Limited(usize),
    VaultrsOneByOne,
    VaultrsJoined,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crypto {
    None,
    Ring,
    AwsLcRs,
    #[cfg(feature = "compare-native-tls")]
    NativeTls,
}

/// Where the server is and how to log in.
#[derive(Debug, Clone)]
pub struct Access {
    pub address: String,
    pub ca_cert: Option<String>,
    pub role_id: String,
    pub secret_id: String,
}

impl Client {
    pub const ALL: [Self; 4] =
        [Self::HandWritten, Self::VaultConfig, Self::VaultrsOneByOne, Self::VaultrsJoined];

    pub fn name(self) -> String {
        match self {
            Self::HandWritten => "hand-written".to_owned(),
            Self::VaultConfig => "vault-config".to_owned(),
            Self::Limited(connections) => format!("vault-config, {connections} connections"),
            Self::VaultrsOneByOne => "vaultrs one by one".to_owned(),
            Self::VaultrsJoined => "vaultrs joined".to_owned(),
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        let limit =
            || name.strip_prefix("vault-config, ")?.strip_suffix(" connections")?.parse().ok();
        let fixed = Self::ALL.into_iter().find(|client| client.name() == name);
        fixed.or_else(|| limit().map(Self::Limited))
    }

    /// vaultrs uses rustls whenever it is built in; limits say nothing about HTTP/2.
    pub fn can_use(self, crypto: Crypto) -> bool {
        match self {
            Self::HandWritten | Self::VaultConfig => true,
            Self::Limited(_) => crypto == Crypto::None,
            Self::VaultrsOneByOne | Self::VaultrsJoined => crypto.name() != "native-tls",
        }
    }

    /// Logs in, reads everything, and returns how many values were read.
    pub async fn run(self, crypto: Crypto, shape: Shape, access: &Access) -> usize {
        match self {
            Self::VaultConfig => vault_config(crypto, shape, access, None).await,
            Self::Limited(connections) => {
                vault_config(crypto, shape, access, Some(connections)).await
            }
            _ => match shape {
                Shape::Paths(_) => self.read::<Secret>(crypto, shape, access).await,
                Shape::Sections => self.read::<Section>(crypto, shape, access).await,
            },
        }
    }

    async fn read<T>(self, crypto: Crypto, shape: Shape, access: &Access) -> usize
    where
        T: DeserializeOwned + Count + Send + 'static,
    {
        let secrets: Vec<T> = match self {
            Self::VaultrsOneByOne => vaultrs_one_by_one(shape, access).await,
            Self::VaultrsJoined => vaultrs_joined(shape, access).await,
            _ => hand_written(crypto, shape, access).await,
        };
        secrets.iter().map(Count::count).sum()
    }
}

impl Crypto {
    #[cfg(not(feature = "compare-native-tls"))]
    pub const TLS: &[Self] = &[Self::Ring, Self::AwsLcRs];
    #[cfg(feature = "compare-native-tls")]
    pub const TLS: &[Self] = &[Self::Ring, Self::AwsLcRs, Self::NativeTls];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::Ring => "ring",
            Self::AwsLcRs => "aws-lc-rs",
            #[cfg(feature = "compare-native-tls")]
            Self::NativeTls => "native-tls",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::TLS.iter().copied().chain([Self::None]).find(|crypto| crypto.name() == name)
    }

    /// Makes it the process's own, as an application does. Nothing is computed yet.
    pub fn install(self) {
        let provider = match self {
            Self::AwsLcRs => rustls::crypto::aws_lc_rs::default_provider(),
            _ => rustls::crypto::ring::default_provider(),
        };
        provider.install_default().unwrap();
    }
}

async fn vault_config(
    crypto: Crypto,
    shape: Shape,
    access: &Access,
    connections: Option<usize>,
) -> usize {
    match shape {
        Shape::Paths(1) => derived::<One>(crypto, access, connections).await,
        Shape::Paths(10) => derived::<Ten>(crypto, access, connections).await,
        Shape::Paths(_) => derived::<Hundred>(crypto, access, connections).await,
        Shape::Sections => derived::<Sections>(crypto, access, connections).await,
    }
}

async fn derived<T: VaultConfig + Count>(
    crypto: Crypto,
    access: &Access,
    connections: Option<usize>,
) -> usize {
    let mut variables = vec![
        ("VAULT_ADDR", &access.address),
        ("VAULT_ROLE_ID", &access.role_id),
        ("VAULT_SECRET_ID", &access.secret_id),
    ];
    variables.extend(access.ca_cert.as_ref().map(|path| ("VAULT_CACERT", path)));
    let mut loader = T::loader().without_dotenv().env_source(variables);
    if let Some(vault) = by_hand(crypto, access, connections) {
        loader = loader.vault(vault);
    }
    loader.load().await.unwrap().count()
}

/// What the environment cannot say: the limit on connections, and a client on native-tls.
fn by_hand(crypto: Crypto, access: &Access, connections: Option<usize>) -> Option<Vault> {
    let login =
        AppRole::new(access.role_id.as_str(), SecretString::from(access.secret_id.as_str()));
    let builder = Vault::builder().address(&access.address).auth(login);
    let builder = match (connections, crypto.name()) {
        (Some(connections), _) => builder.max_connections(connections),
        (None, "native-tls") => builder.http_client(http_client(crypto, access)),
        (None, _) => return None,
    };
    Some(builder.build().unwrap())
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: Versioned<T>,
}

#[derive(Deserialize)]
struct Versioned<T> {
    data: T,
}

/// One authority and no others: reading the system's would cost more than all the rest.
fn http_client(crypto: Crypto, access: &Access) -> reqwest::Client {
    let authority = access.ca_cert.iter().map(|path| {
        let pem = std::fs::read(path).unwrap();
        reqwest::Certificate::from_pem(&pem).unwrap()
    });
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only(authority);
    let builder = match crypto {
        #[cfg(feature = "compare-native-tls")]
        Crypto::NativeTls => builder.tls_backend_native(),
        _ => builder.tls_backend_rustls(),
    };
    builder.build().unwrap()
}

/// What a careful programmer writes without a library for Vault.
async fn hand_written<T>(crypto: Crypto, shape: Shape, access: &Access) -> Vec<T>
where
    T: DeserializeOwned + Send + 'static,
{
    let client = http_client(crypto, access);
    let url = format!("{}/v1/auth/approle/login", access.address);
    let ids = json!({ "role_id": access.role_id, "secret_id": access.secret_id });
    let answer = client.post(url).json(&ids).send().await.unwrap().error_for_status().unwrap();
    let token = answer.json::<Login>().await.unwrap().auth.client_token;
    let mut reads = JoinSet::new();
    for path in shape.paths() {
        let url = format!("{}/v1/secret/data/{path}", access.address);
        let request = client.get(url).header("X-Vault-Token", &token);
        reads.spawn(async move {
            let answer = request.send().await.unwrap().error_for_status().unwrap();
            answer.json::<Answer<T>>().await.unwrap().data.data
        });
    }
    reads.join_all().await
}

async fn vaultrs_client(access: &Access) -> VaultClient {
    let mut settings = VaultClientSettingsBuilder::default();
    settings.address(&access.address).ca_certs(access.ca_cert.iter().cloned().collect());
    let mut client = VaultClient::new(settings.build().unwrap()).unwrap();
    let (role_id, secret_id) = (&access.role_id, &access.secret_id);
    let login = vaultrs::auth::approle::login(&client, "approle", role_id, secret_id).await;
    client.set_token(&login.unwrap().client_token);
    client
}

async fn vaultrs_one_by_one<T: DeserializeOwned>(shape: Shape, access: &Access) -> Vec<T> {
    let client = vaultrs_client(access).await;
    let mut secrets = Vec::new();
    for path in shape.paths() {
        secrets.push(vaultrs::kv2::read(&client, "secret", &path).await.unwrap());
    }
    secrets
}

async fn vaultrs_joined<T>(shape: Shape, access: &Access) -> Vec<T>
where
    T: DeserializeOwned + Send + 'static,
{
    let client = Arc::new(vaultrs_client(access).await);
    let mut reads = JoinSet::new();
    for path in shape.paths() {
        let client = Arc::clone(&client);
        reads.spawn(async move { vaultrs::kv2::read(&*client, "secret", &path).await.unwrap() });
    }
    reads.join_all().await
}
