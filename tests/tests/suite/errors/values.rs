//! Values of a wrong type, and sources that cannot be read.

use std::fs;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use insta::assert_snapshot;
use serde_json::json;
use tempfile::TempDir;
use vault_config::{ErrorKind, VaultConfig};
use vault_config_tests::OpenBao;

use super::{Config, failure, local_failure};
use crate::support::{load_error, loader, problems, toml};

#[tokio::test]
async fn a_value_of_the_wrong_type_is_never_quoted() {
    let bao = OpenBao::dev().await;
    let secret = json!({"port": "hunter2", "retries": "", "hosts": {"hunter2": 1}, "url": "hunter2", "size": 70000});
    bao.kv_put("secret", "app", secret).await;

    #[derive(VaultConfig)]
    #[vault(kv = "app", env_prefix = "APP")]
    struct Types {
        #[vault(kv, plain)]
        port: u16,
        #[vault(kv, plain)]
        retries: u32,
        #[vault(kv, plain)]
        hosts: Vec<String>,
        #[vault(kv, plain)]
        url: url::Url,
        #[vault(kv, plain)]
        size: u16,
        #[vault(kv, plain)]
        from_env: bool,
    }
    let variables = [
        ("VAULT_ADDR", bao.address()),
        ("VAULT_TOKEN", bao.root_token()),
        ("APP_FROM_ENV", "hunter2"),
    ];
    assert_snapshot!(problems(&failure::<Types>(&variables).await, ErrorKind::WrongType), @r#"
    port: u16
    vault kv secret/app#port (version 1): invalid type: found a string, expected u16
    help: set a value that can be read as u16

    retries: u32
    vault kv secret/app#retries (version 1): invalid type: found an empty string, expected u32
    help: set a value that can be read as u32

    hosts: Vec<String>
    vault kv secret/app#hosts (version 1): invalid type: found a map, expected a sequence; a list in text is JSON, such as ["a", "b"]
    help: set a value that can be read as Vec<String>

    url: url::Url
    vault kv secret/app#url (version 1): the type refused the value (its own message is withheld: it may quote the value)
    help: set a value that can be read as url::Url

    size: u16
    vault kv secret/app#size (version 1): invalid value: an integer that does not fit, expected u16
    help: set a value that can be read as u16

    from_env: bool
    env APP_FROM_ENV: it is not one of true, false, yes, no, on, off, 1 and 0
    help: set a value that can be read as bool
    "#);
}

#[tokio::test]
async fn a_list_in_a_dotenv_file_is_json() {
    #[derive(VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Lists {
        #[expect(dead_code)]
        hosts: Vec<String>,
        #[expect(dead_code)]
        port: u16,
    }
    let error = local_failure::<Lists>("APP_HOSTS=a\nAPP_PORT=a\n").await;
    let [hosts, port] = error.problems() else { panic!("{error}") };
    assert_eq!(
        hosts.help(),
        "set a value that can be read as Vec<String>; in .env, put JSON in single quotes"
    );
    assert_eq!(port.help(), "set a value that can be read as u16");
}

#[tokio::test]
async fn the_message_of_a_validator_is_reported() {
    fn even(port: &u16) -> Result<(), String> {
        if port.is_multiple_of(2) {
            Ok(())
        } else {
            Err(format!("{port} is odd: use an even port"))
        }
    }
    fn in_order(range: &Range) -> Result<(), String> {
        if range.from < range.to { Ok(()) } else { Err("`from` must be below `to`".to_owned()) }
    }
    #[derive(VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Valid {
        #[vault(validate = even)]
        port: u16,
        #[vault(kv = "app", plain, validate = even)]
        secret: u16,
        #[vault(nested)]
        range: Range,
    }
    #[derive(VaultConfig)]
    #[vault(validate = in_order)]
    struct Range {
        #[vault(default = 3)]
        from: u16,
        #[vault(default = 2)]
        to: u16,
    }
    let error = failure::<Valid>(&[("APP_PORT", "81"), ("APP_SECRET", "83")]).await;
    assert_snapshot!(problems(&error, ErrorKind::Invalid), @"
    port: u16
    env APP_PORT: 81 is odd: use an even port

    secret: u16
    env APP_SECRET: the validator refused the value (its message is withheld: it repeats the value)

    range: Range
    `from` must be below `to`
    ");
}

#[tokio::test]
async fn files_are_checked_and_never_quoted() {
    #[derive(VaultConfig)]
    #[vault(deny_unknown)]
    struct Strict {
        #[vault(default = 1)]
        pool_size: u16,
        #[vault(nested)]
        smtp: Smtp,
    }
    #[derive(VaultConfig)]
    struct Smtp {
        #[vault(default = "localhost")]
        host: String,
    }
    let with = |layer: Figment| load_error(loader::<Strict>(&[]).figment(layer));
    let unknown = with(toml("pool-size = 3\nunrelated = 1\n[smtp]\nhots = \"x\"")).await;
    assert_snapshot!(problems(&unknown, ErrorKind::UnknownKey), @"
    TOML source string: no field takes the key pool-size
    help: did you mean pool_size?

    TOML source string: no field takes the key smtp.hots
    help: did you mean host?

    TOML source string: no field takes the key unrelated
    help: remove it; the keys here are pool_size, smtp
    ");
    let syntax = with(toml("pool_size = 3\npassword = hunter2 hunter2")).await;
    assert_snapshot!(problems(&syntax, ErrorKind::Figment), @"
    TOML source string: it cannot be read at line 2, column 12
    help: correct the file, or remove the layer
    ");

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("app.toml");
    fs::write(&file, "pool_size = \"hunter2").unwrap();
    let file = with(Figment::from(Toml::file(file))).await;
    assert_snapshot!(problems(&file, ErrorKind::Figment), @"
    DIRECTORY/app.toml (TOML file): it cannot be read at line 1, column 21
    help: correct the file, or remove the layer
    ");
}

#[tokio::test]
async fn a_bad_dotenv_file_is_reported_by_line_and_never_quoted() {
    let bad = "# secrets\n\nhunter2 hunter3\nAPP_PASSWORD='hunter2\n";
    assert_snapshot!(problems(&local_failure::<Config>(bad).await, ErrorKind::Dotenv), @r#"
    DIRECTORY/.env line 3: the line cannot be read
    help: write NAME=value, with single quotes around a value that has spaces or any of # $ \ "

    DIRECTORY/.env line 4: the line cannot be read
    help: the line ends inside a quote, or in a backslash; dotenvy reads a backslash before a closing quote as an escape, so put such a value in double quotes and double the backslash

    password: SecretString
    no source has a value for it
    help: set APP_PASSWORD in the environment or in .env, or password in a file, or give the field a default (or the type Option)
    "#);
    let expanded = local_failure::<Config>("\nAPP_PASSWORD=hun$ter2\n").await;
    assert_snapshot!(problems(&expanded, ErrorKind::Dotenv), @"
    DIRECTORY/.env line 2: the value holds an unescaped $, which would be replaced by the variable it names
    help: put the value in single quotes: NAME='..'
    ");

    let directory = TempDir::new().unwrap();
    let missing =
        loader::<Config>(&[("APP_PASSWORD", "x")]).dotenv(directory.path().join("missing.env"));
    assert_snapshot!(problems(&load_error(missing).await, ErrorKind::Dotenv), @"
    DIRECTORY/missing.env: No such file or directory (os error 2)
    help: pass a readable file to `.dotenv(path)`, or call `.without_dotenv()`
    ");
}

#[tokio::test]
async fn two_fields_with_one_variable_are_both_named() {
    #[derive(VaultConfig)]
    #[vault(env_prefix = "APP")]
    struct Twice {
        #[vault(env = "TOKEN", default = "x")]
        token: String,
        #[vault(default = "x")]
        smtp_password: String,
        #[vault(nested)]
        smtp: Smtp,
    }
    #[derive(VaultConfig)]
    struct Smtp {
        #[vault(default = "x")]
        password: String,
        #[vault(env = "TOKEN", default = "x")]
        token: String,
    }
    assert_snapshot!(problems(&failure::<Twice>(&[]).await, ErrorKind::DuplicateEnv), @r#"
    smtp_password: String, smtp.password: String
    env APP_SMTP_PASSWORD: one variable would set both fields
    help: give one of them a name of its own: #[vault(env = "..")]

    token: String, smtp.token: String
    env TOKEN: one variable would set both fields
    help: give one of them a name of its own: #[vault(env = "..")]
    "#);
}
