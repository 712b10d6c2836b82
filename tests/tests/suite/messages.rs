//! The most likely help comes first, and no help is misleading.

use std::sync::Arc;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use insta::assert_snapshot;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use vault_config::secrecy::{ExposeSecret, SecretString};
use vault_config::{DatabaseCredentials, Error, ErrorKind, Mode, Vault, VaultConfig};
use vault_config_tests::{Authority, OpenBao, ScriptedAnswer, ScriptedServer};

use crate::support::{NOTHING, field_kinds, load_error, problems, root, with};

async fn at<T: VaultConfig>(address: &str, token: &str) -> Error {
    let variables = [("VAULT_ADDR", address), ("VAULT_TOKEN", token), ("VAULT_MAX_RETRIES", "0")];
    load_error(T::loader().without_dotenv().env_source(variables)).await
}

// ===== a path that repeats what is added to it =====

#[derive(Debug, VaultConfig)]
struct Repeated {
    #[vault(kv = "secret/data/app")]
    both: SecretString,
    #[vault(kv = "data/app")]
    data: SecretString,
    #[vault(kv = "secret/metadata/app")]
    metadata: SecretString,
    #[vault(kv = "kv1/app", mount = "kv1", kv_version = 1)]
    version_1: SecretString,
    #[vault(kv = "nowhere/app", mount = "nowhere")]
    no_mount: SecretString,
}

#[tokio::test]
async fn a_path_that_repeats_its_mount_says_so_before_anything_else() {
    let bao = OpenBao::dev().await;
    bao.mount_kv_v1("kv1").await;
    bao.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#).await;
    let limited = bao.token(&["app"], json!({})).await;
    for (token, kind) in [(&*limited, ErrorKind::Denied), (bao.root_token(), ErrorKind::PathAbsent)]
    {
        let error = at::<Repeated>(bao.address(), token).await;
        assert_eq!(error.kind(), kind, "{error}");
        for problem in error.problems().iter().filter(|problem| problem.kind() == kind) {
            let first = problem.help().lines().next().unwrap();
            assert!(
                first.starts_with("the mount (and data/ in KV version 2) is added to the path: "),
                "{problem}"
            );
            assert!(first.ends_with("did you mean kv = \"app\"?"), "{problem}");
            assert!(problem.help().lines().nth(1).unwrap().starts_with("or "), "{problem}");
        }
    }
    #[derive(Debug, VaultConfig)]
    struct Twice {
        #[vault(kv = "secret/data/app")]
        password: SecretString,
    }
    let denied = at::<Twice>(bao.address(), &limited).await;
    assert_snapshot!(problems(&denied, ErrorKind::Denied), @r#"
    vault kv secret/secret/data/app: permission denied (HTTP 403)
    help: the mount (and data/ in KV version 2) is added to the path: secret/data/secret/data/app was requested; did you mean kv = "app"?
      or add this to a policy of the token:
      path "secret/data/secret/data/app" {
        capabilities = ["read"]
      }
    "#);
}

// ===== an optional struct that something switches on =====

#[derive(Debug, VaultConfig)]
#[vault(env_prefix = "APP")]
struct Optional {
    #[vault(nested)]
    smtp: Option<Smtp>,
}

#[derive(Debug, VaultConfig)]
struct Smtp {
    host: String,
    #[vault(default = 25)]
    port: u16,
    #[vault(kv = "smtp")]
    password: SecretString,
    #[vault(nested)]
    relay: Option<Relay>,
}

#[derive(Debug, VaultConfig)]
struct Relay {
    name: String,
    zone: String,
}

#[tokio::test]
async fn an_optional_struct_says_what_switched_it_on() {
    let bao = OpenBao::dev().await;
    let loader = |more| Optional::loader().without_dotenv().env_source(with(root(&bao), more));
    assert!(loader(&[]).load().await.unwrap().smtp.is_none());
    bao.kv_put("secret", "smtp", json!({ "password": "hunter2" })).await;
    let stored = load_error(loader(&[])).await;
    assert_snapshot!(problems(&stored, ErrorKind::Missing), @"
    no source has a value for it
    help: set APP_SMTP_HOST in the environment or in .env, or smtp.host in a file, or give the field a default (or the type Option)
      smtp is optional, but is required because smtp.password has a value (vault kv secret/smtp#password (version 1)): remove that, or set the rest of it
    ");

    let local = |variables: &[(&'static str, &'static str)], toml: &str| {
        let loader = Optional::loader().mode(Mode::Local).without_dotenv();
        load_error(loader.env_source(variables.to_vec()).figment(Figment::from(Toml::string(toml))))
    };
    // One variable; the innermost of two; a file.
    let one = local(&[("APP_SMTP_PORT", "26")], "").await;
    let why = "smtp is optional, but is required because smtp.port has a value (env APP_SMTP_PORT): remove that";
    assert_eq!(one.problems().len(), 2, "{one}");
    assert!(one.problems().iter().all(|problem| problem.help().contains(why)), "{one}");
    let inner = local(&[("APP_SMTP_RELAY_ZONE", "z")], "").await;
    let [host, password, name] = inner.problems() else { panic!("{inner}") };
    for outer in [host, password] {
        let why = "smtp is optional, but is required because smtp.relay.zone has a value";
        assert!(outer.help().contains(why), "{outer}");
    }
    let why = "smtp.relay is optional, but is required because smtp.relay.zone has a value (env APP_SMTP_RELAY_ZONE)";
    assert!(name.help().contains(why), "{name}");
    let file = local(&[], "[smtp]\nhost = 'h'").await;
    let why = "smtp is optional, but is required because smtp.host has a value (TOML source string key smtp.host)";
    assert!(file.to_string().contains(why), "{file}");

    // What is required by itself needs no reason.
    let loader = Smtp::loader().mode(Mode::Local).without_dotenv().env_source([("PORT", "1")]);
    assert!(!load_error(loader).await.to_string().contains("is optional, but"));
    let loader = Option::<Smtp>::loader().mode(Mode::Local).without_dotenv();
    let whole = load_error(loader.env_source([("PORT", "1")])).await;
    assert!(
        whole.to_string().contains("the configuration is optional, but is required because port"),
        "{whole}"
    );
}

/// A check issues no credential, and treats it as present.
#[tokio::test]
async fn an_optional_struct_that_a_credential_switches_on_says_so() {
    #[derive(Debug, VaultConfig)]
    struct Pool {
        #[vault(nested)]
        pool: Option<Database>,
    }
    #[derive(Debug, VaultConfig)]
    struct Database {
        #[vault(database = "app")]
        user: DatabaseCredentials,
        size: u16,
    }
    let bao = OpenBao::dev().await;
    let error = Pool::loader().without_dotenv().env_source(root(&bao)).check().await.unwrap_err();
    let why = "pool is optional, but is required because pool.user has a value (vault database database/creds/app)";
    assert!(error.to_string().contains(why), "{error}");
}

// ===== http spoken to https =====

#[derive(Debug, VaultConfig)]
struct Config {
    #[vault(kv = "app")]
    password: SecretString,
}

#[track_caller]
fn says_https_first(error: &Error) {
    for problem in error.problems() {
        let first = problem.help().lines().next().unwrap();
        assert!(first.contains("https"), "{error}");
        let (https, other) = (first.find("https"), first.find("a proxy, a load balancer"));
        assert!(other.is_none_or(|other| https.unwrap() < other), "{error}");
    }
}

#[tokio::test]
async fn plain_http_to_a_port_for_https_says_https_first() {
    let authority = Authority::new();
    let bao = OpenBao::with_tls(&authority.server()).await;
    let plain = |address: &str| address.replace("https://", "http://");
    let error = at::<Config>(&plain(bao.address()), "t").await;
    assert_eq!(error.kind(), ErrorKind::NotVault, "{error}");
    says_https_first(&error);

    // The answer of rustls is not HTTP.
    let address = tls_listener(&authority).await;
    let error = at::<Config>(&format!("http://{address}"), "t").await;
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    says_https_first(&error);

    for (content_type, body) in [
        (
            "text/html",
            "<html><h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port</html>",
        ),
        ("text/plain", "Client sent an HTTP request to an HTTPS server.\n"),
    ] {
        let answer = ScriptedAnswer::status(400).header("Content-Type", content_type).body(body);
        let server = ScriptedServer::always(answer).await;
        says_https_first(&at::<Config>(&server.address(), "t").await);
    }
}

/// An HTTPS server that never gets beyond the handshake.
async fn tls_listener(authority: &Authority) -> std::net::SocketAddr {
    use rustls::pki_types::pem::PemObject as _;

    let certificate = authority.server();
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(&certificate.cert).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(acceptor.accept(stream).await);
        }
    });
    address
}

#[tokio::test]
async fn a_port_that_leads_to_https_says_https_first() {
    for status in [301, 302, 307, 308] {
        let leads = ScriptedAnswer::status(status)
            .header("Location", "https://127.0.0.1:8200/v1/secret/data/app");
        let server = ScriptedServer::always(leads).await;
        let error = at::<Config>(&server.address(), "t").await;
        assert_eq!(error.kind(), ErrorKind::NotVault, "{error}");
        says_https_first(&error);
        assert!(error.to_string().contains("https://127.0.0.1:8200"), "{error}");
    }
}

/// OpenBao's own answer to it is an empty 400.
#[tokio::test]
async fn a_path_that_the_server_does_not_print_says_so_first() {
    #[derive(Debug, VaultConfig)]
    struct Copied {
        #[vault(kv = "my\u{a0}app")]
        password: SecretString,
    }
    let bao = OpenBao::dev().await;
    let error = at::<Copied>(bao.address(), bao.root_token()).await;
    let help = error.problems()[0].help();
    assert!(help.starts_with("the path may contain a character that is not printable"), "{error}");
}

// ===== names =====

#[tokio::test]
async fn a_name_clash_is_one_problem_and_hides_what_the_fields_lack() {
    #[derive(Debug, VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Clash {
        smtp_password: String,
        #[vault(nested)]
        smtp: Inner,
        #[vault(nested)]
        optional: Option<Inner>,
        #[vault(env = "APP_OPTIONAL_PASSWORD")]
        other: SecretString,
        #[vault(kv = "app", env = "APP_DATABASE_USERNAME")]
        user: SecretString,
        #[vault(database = "app")]
        database: DatabaseCredentials,
        missing: u16,
    }
    #[derive(Debug, VaultConfig)]
    struct Inner {
        #[vault(kv = "app")]
        password: SecretString,
    }
    let bao = OpenBao::dev().await;
    bao.clear_audit();
    let loader =
        |variables: Vec<(String, String)>| Clash::loader().without_dotenv().env_source(variables);
    for variables in [Vec::new(), root(&bao)] {
        let error = load_error(loader(variables.clone())).await;
        let mut failed = field_kinds(&error);
        failed.sort_by_key(|(field, _)| *field);
        let clash = |field| (field, ErrorKind::DuplicateEnv);
        assert_eq!(
            failed,
            [
                clash("database"),
                ("missing", ErrorKind::Missing),
                clash("optional.password"),
                clash("other"),
                clash("smtp.password"),
                clash("smtp_password"),
                clash("user"),
            ],
            "{error}"
        );
        let error = loader(variables).check().await.unwrap_err();
        assert!(error.problems().iter().any(|p| p.kind() == ErrorKind::DuplicateEnv), "{error}");
    }
    assert!(bao.audit_requests().iter().all(|request| !request.path.starts_with("secret/")));
}

#[tokio::test]
async fn a_name_in_another_case_or_with_another_joint_is_near() {
    #[derive(Debug, VaultConfig)]
    #[vault(deny_unknown)]
    struct Names {
        #[vault(kv = "app")]
        external_api_key: SecretString,
        #[vault(kv = "app", key = "DB_PASSWORD")]
        password: SecretString,
        #[vault(kv = "app", key = "pin")]
        pin: SecretString,
        #[vault(default = 1)]
        pool_size: u16,
        #[vault(default = 1)]
        port: u16,
    }
    let bao = OpenBao::dev().await;
    let secret = json!({ "EXTERNAL_API_KEY": "x", "db-password": "y", "PIN": "z" });
    bao.kv_put("secret", "app", secret).await;
    let layers = Figment::from(Toml::string("POOL-SIZE = 1\nPort = 2\nportt = 3"));
    let loader = Names::loader().without_dotenv().env_source(root(&bao)).figment(layers);
    let error = load_error(loader).await;
    let help: Vec<_> =
        error.problems().iter().map(|problem| problem.help().split_once('?').unwrap().0).collect();
    assert_eq!(
        help,
        [
            "did you mean pool_size",
            "did you mean port",
            "did you mean port",
            "did you mean \"EXTERNAL_API_KEY\"",
            "did you mean \"db-password\"",
            "did you mean \"PIN\"",
        ],
        "{error}"
    );
}

// ===== fields that were not checked =====

#[derive(Debug, VaultConfig)]
struct Credentials {
    #[vault(database = "one")]
    one: DatabaseCredentials,
    #[vault(database = "one")]
    same: DatabaseCredentials,
    #[vault(database = "two")]
    two: DatabaseCredentials,
    #[vault(kv = "app")]
    password: SecretString,
    port: u16,
}

#[tokio::test]
async fn credentials_that_were_not_requested_are_reported() {
    let bao = OpenBao::dev().await;
    bao.mount("database", "database", json!({})).await;
    bao.kv_put("secret", "app", json!({ "password": "x" })).await;
    let loader = |more| Credentials::loader().without_dotenv().env_source(with(root(&bao), more));
    let sentence = "2 credentials were not requested, because the load failed: problems of \
                    their own may follow (one, same, two).";
    let error = load_error(loader(&[])).await;
    assert_eq!(error.problems().len(), 1, "{error}");
    assert!(
        error.to_string().contains(&format!("\n\n{sentence}\n\nVault mode, because")),
        "{error}"
    );
    let error = loader(&[]).watch().await.unwrap_err();
    assert!(error.to_string().contains(sentence), "{error}");
    let one = load_error(loader(&[
        ("ONE_USERNAME", "u"),
        ("ONE_PASSWORD", "p"),
        ("SAME_USERNAME", "u"),
        ("SAME_PASSWORD", "p"),
    ]))
    .await;
    assert!(one.to_string().contains("1 credential was not requested"), "{one}");
    assert!(one.to_string().contains("problems of its own may follow (two)."), "{one}");

    // The problems of their own do follow, and then no others can.
    let error = load_error(loader(&[("PORT", "1")])).await;
    assert_eq!(error.kind(), ErrorKind::RoleAbsent, "{error}");
    assert!(!error.to_string().contains("not requested"), "{error}");
    // A credential that the token may not request has a problem already.
    let policy = r#"path "secret/data/app" { capabilities = ["read"] } path "database/creds/two" { capabilities = ["read"] }"#;
    bao.policy("some", policy).await;
    let some = bao.token(&["some"], json!({})).await;
    let error = load_error(loader(&[("VAULT_TOKEN", &some)])).await;
    assert!(error.to_string().contains("1 credential was not requested"), "{error}");
}

// ===== structs that nest each other =====

#[derive(Debug, VaultConfig)]
struct Team {
    #[vault(kv = "team")]
    token: SecretString,
    #[vault(nested)]
    lead: Option<Box<Person>>,
}

#[derive(Debug, VaultConfig)]
struct Person {
    name: String,
    #[vault(nested)]
    team: Option<Box<Team>>,
}

#[tokio::test]
async fn structs_that_nest_each_other_are_refused_with_a_message() {
    let bao = OpenBao::dev().await;
    bao.clear_audit();
    let loader = || Team::loader().without_dotenv().env_source(root(&bao));
    let error = loader().load().await.unwrap_err();
    assert_snapshot!(problems(&error, ErrorKind::Schema), @"
    structs are nested in a cycle: Team.lead nests Person.team nests Team
    help: remove `nested` from one of these fields, and read its content as one value: a type that derives `Deserialize`, or a map
    ");
    for error in [
        loader().check().await.unwrap_err(),
        loader().watch().await.unwrap_err(),
        loader().resolve().await.unwrap_err(),
        Vault::from_env_source(root(&bao)).unwrap().resolve::<Person>().await.unwrap_err(),
        Person::loader().mode(Mode::Local).env_source(NOTHING).load().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
    }
    assert!(bao.audit_requests().is_empty(), "nothing is sent");
    assert_snapshot!(Team::schema().policy(), @"
    # Team cannot be loaded: structs are nested in a cycle: Team.lead nests Person.team nests Team
    # help: remove `nested` from one of these fields, and read its content as one value: a type that derives `Deserialize`, or a map
    ");
    assert!(format!("{:?}", Team::schema()).contains("Team"));
}

#[tokio::test]
async fn a_struct_that_is_nested_in_two_places_is_no_cycle() {
    #[derive(Debug, VaultConfig)]
    struct Both {
        #[vault(nested)]
        left: Config,
        #[vault(nested)]
        right: Option<Box<Config>>,
    }
    let bao = OpenBao::dev().await;
    bao.kv_put("secret", "app", json!({ "password": "p" })).await;
    let both = Both::loader().without_dotenv().env_source(root(&bao)).load().await.unwrap();
    assert_eq!(both.left.password.expose_secret(), both.right.unwrap().password.expose_secret());
}
