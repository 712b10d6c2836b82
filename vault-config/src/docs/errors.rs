//! What a failed load prints, and what each kind means.
//!
//! One load tells every problem. Each has the field's path and type, the sources that were looked
//! at, what happened in the server's own words, and what to do:
//!
//! ```
//! use vault_config::{Mode, VaultConfig, secrecy::SecretString};
//!
//! #[derive(Debug, VaultConfig)]
//! #[vault(env_prefix = "APP")]
//! struct AppConfig {
//!     port: u16,
//!     #[vault(kv = "my-app/api-keys")]
//!     api_key: SecretString,
//! }
//!
//! # fn main() {
//! let error = AppConfig::loader()
//!     .mode(Mode::Local)
//!     .without_dotenv()
//!     .env_source([("APP_PORT", "eighty")])
//!     .load_blocking()
//!     .unwrap_err();
//! assert_eq!(error.to_string(), "\
//! cannot load AppConfig: 2 problems
//!
//! 1. port: u16
//!    env APP_PORT: invalid type: found a string, expected u16
//!    help: give it a value that reads as u16
//!
//! 2. api_key: SecretString
//!    env APP_API_KEY: not set
//!    no source has a value for it
//!    help: set APP_API_KEY in the environment or in .env, or api_key in a file, or give the field a default (or the type Option)
//!
//! Local mode, because the program asks for it with .mode(Mode::Local); .mode(Mode::Vault) reads secrets from Vault.");
//! # }
//! ```
//!
//! Fields that fail for one and the same reason, such as a refused login, are told once. `Debug`
//! prints the same text, so an error that `main` returns is legible. A program that wants to act on
//! a problem has [`Error::problems`](crate::Error::problems):
//!
//! ```
//! # use vault_config::{Error, ErrorKind};
//! fn may_pass(error: &Error) -> bool {
//!     error.problems().iter().all(|problem| {
//!         matches!(problem.kind(), ErrorKind::Sealed | ErrorKind::Standby | ErrorKind::ConnectionRefused)
//!     })
//! }
//! ```
//!
//! # What is not looked at
//!
//! A load that fails as it is makes no credential: a service that starts again and again would leave one behind each
//! time. What is wrong with a role, or with a validator that sees its answer, only a request can show, so the error ends
//! with how many credentials were not requested. [`Loader::check`](crate::Loader::check) never requests one.
//!
//! An optional struct of which one field has a value needs all that are required. The error names the value that
//! switched it on, and where that came from.
//!
//! # What is never in it
//!
//! No value of a field marked for Vault, no token, no secret_id: not in `Display`, not in `Debug`,
//! not in log lines, and there is no `source()` that could hold one. A type's own message may quote
//! a value (`Url`'s does), so it is shown for plain fields and withheld for fields marked for
//! Vault, where only the kind of value is told. The text of an answer that is not Vault's JSON is
//! never shown.
//!
//! # Names and words from elsewhere
//!
//! The names of keys, paths and files, the server's words, and what a type or a validator says are shown on one line,
//! in errors, reports, statuses and logs: what is no character of its own (a line break, an escape sequence, a mark
//! that turns the line round or has no width) is escaped as `{:?}` does it, `\n` or `\u{1b}`. They neither colour a
//! terminal nor forge a problem. A long name is cut. Of more than 12 names, 5 are shown, those most like the name
//! that was looked for, with how many there are.
//!
//! A name is close to another when a letter in three differs at most, whatever its case, and whatever joins its
//! words: `API_KEY` and `apiKey` are close to `api-key`.
//!
//! # A login that is refused
//!
//! The server answers `invalid role or secret ID` for a wrong role_id and for a wrong, used-up or
//! expired secret_id alike, so the error cannot tell them apart. After several wrong tries it locks
//! the role for a while. A refused login is therefore never repeated by itself, and the fields that
//! wait for one login share its failure.
//!
//! # 403
//!
//! A dead token and a missing permission are both 403. `auth/token/lookup-self` tells them apart: a
//! dead token is replaced by one new login where that is possible, and a missing permission is told
//! with the policy that would allow it.
