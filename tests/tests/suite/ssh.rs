//! Signed SSH keys.

use std::time::{Duration, SystemTime};

use insta::assert_snapshot;
use serde_json::json;
use vault_config::secrecy::ExposeSecret;
use vault_config::{ErrorKind, Loader, Mode, SignedSshKey, VaultConfig};
use vault_config_tests::{OpenBao, ScriptedAnswer, ScriptedServer, Sshd};

use crate::support::problems;
use crate::support::until;

const PUBLIC_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0kjUUKXUMCiPxC8v2KVjd4sbNmmWlbYSzG4zSzrHCe deploy";

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(ssh = "deploy", valid_principals = "{user}", ttl = "10m")]
    made: SignedSshKey,
    #[vault(
        ssh = "deploy",
        public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0kjUUKXUMCiPxC8v2KVjd4sbNmmWlbYSzG4zSzrHCe deploy"
    )]
    given: SignedSshKey,
    #[vault(ssh = "deploy", public_key_file = "{key_file}")]
    of_a_file: SignedSshKey,
}

async fn server() -> OpenBao {
    let bao = OpenBao::dev().await;
    bao.ssh_authority().await;
    bao
}

async fn loader<T: VaultConfig>(bao: &OpenBao, key_file: &str) -> Loader<T> {
    bao.policy("app", &T::schema().policy()).await;
    let ids = bao.approle("app", &["app"], json!({})).await;
    T::loader().without_dotenv().startup_deadline(Duration::ZERO).env_source([
        ("VAULT_ADDR", bao.address().to_owned()),
        ("VAULT_ROLE_ID", ids.role_id),
        ("VAULT_SECRET_ID", ids.secret_id),
        ("VAULT_CONFIG_VAR_USER", "alice".to_owned()),
        ("VAULT_CONFIG_VAR_KEY_FILE", key_file.to_owned()),
    ])
}

#[tokio::test]
async fn keys_are_signed_and_pairs_are_made() {
    let bao = server().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, format!("{PUBLIC_KEY}\n")).unwrap();
    let loader = loader::<Config>(&bao, &file.path().display().to_string()).await;
    let (config, report) = loader.load_with_report().await.unwrap();
    let private = config.made.private_key().unwrap().expose_secret();
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    assert_eq!(config.made.valid_principals(), ["alice"]);
    let left = config.made.valid_before().duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(540) && left <= Duration::from_secs(600), "{left:?}");
    assert!(config.made.valid_after() <= SystemTime::now());
    for signed in [&config.given, &config.of_a_file] {
        assert!(signed.private_key().is_none());
        assert!(signed.signed_key().starts_with("ssh-ed25519-cert-v01@openssh.com AAAA"));
        assert_eq!(signed.valid_principals(), ["deploy"]);
    }
    assert_ne!(config.given.serial(), config.of_a_file.serial());
    let shown = format!("{config:?}");
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains("AAAA"), "{shown}");
    let line = report.provenance("made").unwrap().to_string();
    assert!(line.starts_with("vault ssh ssh/sign/deploy (valid for "), "{line}");
}

/// OpenSSH's own server trusts the authority, and nothing else.
#[tokio::test]
async fn openssh_accepts_it_until_it_ends() {
    #[derive(Debug, VaultConfig)]
    struct Keys {
        #[vault(ssh = "deploy")]
        key: SignedSshKey,
        #[vault(ssh = "deploy", ttl = "6s")]
        short: SignedSshKey,
        #[vault(ssh = "deploy", valid_principals = "alice")]
        of_another: SignedSshKey,
    }
    let bao = server().await;
    let authority = bao.read("ssh/config/ca").await["data"]["public_key"].clone();
    let sshd = Sshd::start(authority.as_str().unwrap(), &["deploy"]).await;
    let live = loader::<Keys>(&bao, "").await.watch().await.unwrap();
    let first = live.current();
    let login = async |key: &SignedSshKey| {
        sshd.login(key.private_key().unwrap().expose_secret(), key.signed_key()).await
    };
    login(&first.key).await.unwrap();
    let refused = login(&first.of_another).await.unwrap_err();
    assert!(refused.contains("Permission denied"), "{refused}");
    until("it is expired", async || login(&first.short).await.is_err()).await;
    assert!(sshd.log().contains("Certificate invalid: expired"), "{}", sshd.log());
    // Another certificate was signed meanwhile.
    until("the newest is accepted", async || login(&live.current().short).await.is_ok()).await;
    live.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_key_pair_is_issued_again_before_it_expires() {
    #[derive(Debug, VaultConfig)]
    struct Short {
        #[vault(ssh = "deploy", ttl = "6s")]
        key: SignedSshKey,
    }
    let bao = server().await;
    let live = loader::<Short>(&bao, "").await.watch().await.unwrap();
    let mut key = live.select(|config| &config.key);
    let mut before = live.current().key.clone();
    for _ in 0..2 {
        let new = key.changed().await.unwrap();
        assert!(before.valid_before() > SystemTime::now(), "the one before still works");
        let [old, fresh] =
            [&before, &*new].map(|key| key.private_key().unwrap().expose_secret().to_owned());
        assert_ne!(old, fresh);
        before = (*new).clone();
    }
    assert_eq!(live.status().counters.failures, 0);
    live.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_refused_is_reported() {
    #[derive(VaultConfig)]
    struct Wrong {
        #[vault(ssh = "deploy", valid_principals = "root")]
        principal: SignedSshKey,
        #[vault(ssh = "no-such-role")]
        role: SignedSshKey,
        #[vault(ssh = "deploy", public_key = "no key")]
        key: SignedSshKey,
        #[vault(ssh = "deploy", public_key_file = "/no/such/file.pub")]
        file: SignedSshKey,
    }
    let bao = server().await;
    let error = loader::<Wrong>(&bao, "").await.load().await.err().unwrap();
    assert_snapshot!(problems(&error, ErrorKind::Server), @r#"
    principal: SignedSshKey
    vault ssh/sign/deploy: root is not a valid value for valid_principals (HTTP 400)
    help: compare the field with what the role allows: vault read ssh/roles/deploy

    role: SignedSshKey
    vault ssh/sign/no-such-role: Unknown role: no-such-role
    help: create the role, or correct its name: vault list ssh/roles

    key: SignedSshKey
    vault ssh/sign/deploy: failed to parse public_key as SSH key: illegal base64 data at input byte 0 (HTTP 400)
    help: compare the field with what the role allows: vault read ssh/roles/deploy

    file: SignedSshKey
    vault ssh/sign/deploy: the public key /no/such/file.pub cannot be read: No such file or directory (os error 2)
    help: check the path in public_key_file = "..", and that this process may read the file
    "#);
}

#[tokio::test]
async fn in_local_mode_it_is_two_texts_or_one() {
    #[derive(Debug, VaultConfig)]
    struct Local {
        #[vault(ssh = "deploy")]
        made: SignedSshKey,
        #[vault(ssh = "deploy", public_key = "ssh-ed25519 AAAA")]
        given: Option<SignedSshKey>,
    }
    let bao = server().await;
    #[derive(Debug, VaultConfig)]
    struct One {
        #[vault(ssh = "deploy")]
        made: SignedSshKey,
    }
    let made = loader::<One>(&bao, "").await.load().await.unwrap().made;
    let private = made.private_key().unwrap().expose_secret();
    let variables = [
        ("MADE_SIGNED_KEY", made.signed_key()),
        ("MADE_PRIVATE_KEY", private),
        ("GIVEN_SIGNED_KEY", made.signed_key()),
    ];
    let local = |variables: Vec<(&'static str, &str)>| {
        Local::loader().mode(Mode::Local).without_dotenv().env_source(variables).load()
    };
    let config = local(variables.to_vec()).await.unwrap();
    assert_eq!(config.made.serial(), made.serial());
    assert!(config.given.unwrap().private_key().is_none());
    let error = local(variables[..1].to_vec()).await.unwrap_err();
    assert_snapshot!(problems(&error, ErrorKind::Environment), @"
    env: MADE_SIGNED_KEY is set and MADE_PRIVATE_KEY is not: both must come from one source
    help: set both, or neither
    ");
}

/// Whatever keys the authority and its users have.
#[tokio::test]
async fn keys_of_every_kind_are_signed_by_authorities_of_every_kind() {
    #[derive(Debug, VaultConfig)]
    struct Keys {
        #[vault(ssh = "deploy")]
        made: SignedSshKey,
        #[vault(ssh = "deploy", public_key_file = "{key_file}")]
        of_a_file: SignedSshKey,
    }
    let bao = server().await;
    let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBG2ua5OsCCsz\
                 uFFyftXxSOMIacFBgmimBkgfHeffYMoTEG9xk8qj7mxCkli9msdh0riObmLBiTjx8tiiLnIFYFg= a";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, ecdsa).unwrap();
    for key_type in ["ssh-rsa", "ecdsa-sha2-nistp256", "ed25519"] {
        bao.delete("ssh/config/ca").await;
        let authority = json!({ "generate_signing_key": true, "key_type": key_type });
        bao.write("ssh/config/ca", authority).await;
        let loader = loader::<Keys>(&bao, &file.path().display().to_string()).await;
        let keys = loader.load().await.unwrap_or_else(|error| panic!("{key_type}: {error}"));
        assert_eq!(keys.of_a_file.valid_principals(), ["deploy"]);
        assert!(keys.made.private_key().is_some());
    }
}

/// A path without `.pub` names the private half, which stays where it is.
#[tokio::test]
async fn a_private_key_is_never_sent() {
    #[derive(Debug, VaultConfig)]
    struct Mistaken {
        #[vault(ssh = "deploy", public_key_file = "{key_file}")]
        key: SignedSshKey,
    }
    let server = ScriptedServer::start(|_| ScriptedAnswer::status(502)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let private =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2hunter2\n-----END OPENSSH PRIVATE KEY-----\n";
    std::fs::write(&file, private).unwrap();
    let path = file.path().display().to_string();
    let variables = [
        ("VAULT_ADDR", server.address()),
        ("VAULT_TOKEN", "t".to_owned()),
        ("VAULT_CONFIG_VAR_KEY_FILE", path.clone()),
    ];
    let loader = Mistaken::loader().without_dotenv().startup_deadline(Duration::ZERO);
    let error = loader.env_source(variables).load().await.unwrap_err();
    assert!(server.requests().is_empty(), "{:?}", server.requests());
    let message = error.problems()[0].to_string().replace(&path, "FILE");
    assert_snapshot!(message, @r#"
    1. key: SignedSshKey
       env KEY_SIGNED_KEY: not set
       vault ssh/sign/deploy: FILE contains no OpenSSH public key, and is not sent
       help: name the file of the public half, such as id_ed25519.pub, with public_key_file = ".."
    "#);
}
