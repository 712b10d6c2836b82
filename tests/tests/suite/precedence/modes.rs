//! Which mode a load is in, and why.

use vault_config::auth::Token;
use vault_config::secrecy::ExposeSecret;
use vault_config::{ErrorKind, Mode, Vault, VaultConfig};

use super::{Modal, Required};
use crate::support::{NOTHING, dotenv, field_kinds};

#[derive(Debug, VaultConfig)]
struct ModalFailing {
    number: u8,
}

#[tokio::test]
async fn the_mode_and_why() {
    const LOCAL: &str = "Local mode, because no Vault address is configured; set VAULT_ADDR to read secrets from Vault.";
    const ASKED_VAULT: &str = "Vault mode, because the program sets it";
    const ASKED_LOCAL: &str = "Local mode, because the program sets it";
    let addr = ("VAULT_ADDR", "http://127.0.0.1:1");
    let bao_addr = ("BAO_ADDR", "http://127.0.0.1:2");
    let agent = ("VAULT_AGENT_ADDR", "http://127.0.0.1:3");
    let mode = |value| ("VAULT_CONFIG_MODE", value);
    let because_of = |name: &str| format!("Vault mode, because {name} is");
    let said = |mode: &str| format!("{mode} mode, because VAULT_CONFIG_MODE sets it");
    for (given, variables, sentence) in [
        (Mode::Auto, vec![], LOCAL.to_owned()),
        (Mode::Auto, vec![("VAULT_ADDR", "")], LOCAL.to_owned()),
        (Mode::Auto, vec![("VAULT_TOKEN", "t")], LOCAL.to_owned()),
        (Mode::Auto, vec![addr], because_of("VAULT_ADDR")),
        (Mode::Auto, vec![bao_addr], because_of("BAO_ADDR")),
        (Mode::Auto, vec![agent], because_of("VAULT_AGENT_ADDR")),
        (Mode::Auto, vec![addr, bao_addr], because_of("BAO_ADDR")),
        (Mode::Auto, vec![addr, bao_addr, agent], because_of("VAULT_AGENT_ADDR")),
        (Mode::Auto, vec![addr, mode("auto")], because_of("VAULT_ADDR")),
        (Mode::Auto, vec![addr, mode("")], because_of("VAULT_ADDR")),
        (Mode::Auto, vec![addr, mode("local")], said("Local")),
        (Mode::Auto, vec![mode("vault")], said("Vault")),
        (Mode::Vault, vec![mode("local")], ASKED_VAULT.to_owned()),
        (Mode::Local, vec![addr, mode("vault")], ASKED_LOCAL.to_owned()),
        (Mode::Vault, vec![], ASKED_VAULT.to_owned()),
        (Mode::Local, vec![addr], ASKED_LOCAL.to_owned()),
    ] {
        let case = format!("{given:?} with {variables:?}");
        let loader = Modal::loader().mode(given).without_dotenv().env_source(variables.clone());
        let (read, report) = loader.load_with_report().await.unwrap();
        assert_eq!(read.number, 1);
        assert!(report.mode().starts_with(&sentence), "{case}: {}", report.mode());
        assert!(report.to_string().starts_with(report.mode()), "{report}");
        let loader = ModalFailing::loader().mode(given).without_dotenv().env_source(variables);
        let error = loader.load().await.unwrap_err();
        assert!(error.to_string().trim_end().ends_with(report.mode()), "{case}: {error}");
    }
}

#[tokio::test]
async fn a_connection_of_the_programs_own_chooses_vault_mode() {
    let vault =
        Vault::builder().address("http://127.0.0.1:1").auth(Token::new("hunter2")).build().unwrap();
    let loader = || Modal::loader().without_dotenv().vault(vault.clone());
    let (_, report) = loader().env_source(NOTHING).load_with_report().await.unwrap();
    assert!(
        report.mode().starts_with("Vault mode, because Vault::builder().address(..)"),
        "{}",
        report.mode()
    );
    let local =
        loader().env_source([("VAULT_CONFIG_MODE", "local")]).load_with_report().await.unwrap();
    assert!(local.1.mode().starts_with("Local mode"), "{}", local.1.mode());
}

#[tokio::test]
async fn an_unknown_mode_fails_closed() {
    let file = dotenv("APP_SECRET=dotenv\nAPP_PLAIN=dotenv\n");
    for word in ["Vault", "hunter2", " local"] {
        let loader = Required::loader().dotenv(file.to_path_buf()).var("where", "x");
        let error = loader.env_source([("VAULT_CONFIG_MODE", word)]).load().await.unwrap_err();
        let problem = &error.problems()[0];
        assert_eq!(
            (problem.kind(), problem.source_name()),
            (ErrorKind::Setting, Some("env VAULT_CONFIG_MODE"))
        );
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

/// Every way to log in, by one variable or more that nothing else reads.
const LOGINS: [&[&str]; 24] = [
    &["VAULT_ROLE_ID", "VAULT_SECRET_ID"],
    &["VAULT_ROLE_ID_FILE", "VAULT_SECRET_ID_FILE"],
    &["BAO_ROLE_ID", "BAO_WRAPPED_SECRET_ID_FILE"],
    &["VAULT_TOKEN"],
    &["BAO_TOKEN"],
    &["VAULT_TOKEN_FILE"],
    &["VAULT_WRAPPED_TOKEN"],
    &["BAO_WRAPPED_TOKEN_FILE"],
    &["VAULT_WRAPPED_TOKEN_MADE_BY"],
    &["VAULT_AUTH_METHOD"],
    &["BAO_AUTH_ROLE"],
    &["VAULT_AUTH_MOUNT"],
    &["VAULT_AUTH_NAMESPACE"],
    &["VAULT_KUBERNETES_TOKEN_FILE"],
    &["VAULT_JWT"],
    &["BAO_JWT_FILE"],
    &["VAULT_USERNAME", "VAULT_PASSWORD"],
    &["VAULT_PASSWORD_FILE"],
    &["VAULT_AUTH_GITHUB_TOKEN"],
    &["BAO_AUTH_GITHUB_TOKEN_FILE"],
    &["VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY"],
    &["BAO_CLIENT_CERT_BYTES"],
    &["VAULT_AWS_REGION", "VAULT_AWS_IAM_SERVER_ID"],
    &["VAULT_AZURE_RESOURCE"],
];

/// The secrets of development are at hand in `.env`, and would be served in production.
#[tokio::test]
async fn a_login_without_an_address_fails_closed() {
    let file = dotenv("APP_SECRET=dotenv\nAPP_PLAIN=dotenv\n");
    let loader = |login: &[&'static str], more: &[(&'static str, &'static str)]| {
        let login = login.iter().map(|name| (*name, "x"));
        let variables: Vec<_> = login.chain(more.iter().copied()).collect();
        Required::loader().dotenv(file.to_path_buf()).var("where", "app").env_source(variables)
    };
    for login in LOGINS {
        let error = loader(login, &[]).load().await.unwrap_err();
        assert_eq!(field_kinds(&error), [("-", ErrorKind::Setting)], "{login:?}: {error}");
        let problem = &error.problems()[0];
        assert_eq!(problem.source_name(), Some(&*format!("env {}", login[0])), "{login:?}");
        for name in login {
            assert!(problem.message().contains(name), "{name}: {problem}");
        }
        let help = "set VAULT_ADDR, or VAULT_CONFIG_MODE=local to use local sources";
        assert_eq!(problem.help(), help, "{login:?}");
        let error = loader(login, &[("VAULT_CONFIG_MODE", "auto")]).check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setting, "{login:?}");
        let error = loader(login, &[("BAO_ADDR", "")]).watch().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setting, "{login:?}");

        let local = loader(login, &[]).mode(Mode::Local).load().await.unwrap();
        assert_eq!(local.secret.expose_secret(), "dotenv", "{login:?}");
        let local = loader(login, &[("VAULT_CONFIG_MODE", "local")]).load().await.unwrap();
        assert_eq!(local.secret.expose_secret(), "dotenv", "{login:?}");
    }
    // The official client would not see it, and it is a login all the same.
    let error = loader(&["VAULT_ROLE_ID"], &[("BAO_ROLE_ID", "")]).load().await.unwrap_err();
    assert_eq!(error.problems()[0].source_name(), Some("env VAULT_ROLE_ID"));
}

#[tokio::test]
async fn what_is_no_login_to_vault_leaves_local_mode_as_it_is() {
    let home = tempfile::TempDir::new().unwrap();
    std::fs::write(home.path().join(".vault-token"), "hunter2").unwrap();
    let home = home.path().to_str().unwrap();
    let file = dotenv("APP_SECRET=dotenv\nAPP_PLAIN=dotenv\nVAULT_ROLE_ID=x\n");
    for variable in [
        ("VAULT_ROLE_ID", ""),
        ("BAO_TOKEN", ""),
        ("HOME", home),
        ("AZURE_CLIENT_ID", "x"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_ROLE_ARN", "x"),
        ("AWS_REGION", "eu-central-1"),
        ("GCE_METADATA_HOST", "x"),
        ("IDENTITY_ENDPOINT", "x"),
        ("VAULT_NAMESPACE", "team"),
        ("VAULT_CLIENT_TIMEOUT", "5"),
        ("VAULT_CONFIG_VAR_ENV", "x"),
    ] {
        let loader = Required::loader().dotenv(file.to_path_buf()).env_source([variable]);
        let (read, report) = loader.load_with_report().await.unwrap();
        assert_eq!(read.secret.expose_secret(), "dotenv", "{variable:?}");
        assert!(report.mode().starts_with("Local mode, because no Vault address"), "{report}");
    }
    // Without a field for Vault, local mode replaces no secret.
    let loader = Modal::loader().without_dotenv().env_source([("VAULT_TOKEN", "t")]);
    loader.load().await.unwrap();
}

#[tokio::test]
async fn a_login_whose_address_stands_in_the_env_file_says_so() {
    let file = dotenv("APP_SECRET=dotenv\nAPP_PLAIN=dotenv\nVAULT_ADDR=http://127.0.0.1:1\n");
    let loader = Required::loader().dotenv(file.to_path_buf()).env_source([("VAULT_TOKEN", "t")]);
    let error = loader.load().await.unwrap_err();
    let why = format!(
        "({} sets VAULT_ADDR, which is read from the process environment only)",
        file.display()
    );
    assert!(error.problems()[0].message().contains(&why), "{error}");
}

#[tokio::test]
async fn an_address_in_the_env_file_is_pointed_out() {
    let file = dotenv("VAULT_ADDR=http://127.0.0.1:1\nVAULT_CONFIG_MODE=vault\n");
    let loader = Modal::loader().dotenv(file.to_path_buf()).env_source(NOTHING);
    let (_, report) = loader.load_with_report().await.unwrap();
    let sentence = report.mode();
    assert!(
        sentence.starts_with("Local mode, because no Vault address is configured ("),
        "{sentence}"
    );
    let why = format!(
        "{} sets VAULT_ADDR, which is read from the process environment only",
        file.display()
    );
    assert!(sentence.contains(&why), "{sentence}");
}
