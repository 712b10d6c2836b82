//! One file per secrets engine: what a field declares, what is requested, what is read from the
//! answer.

use std::fmt::Debug;
use std::sync::Arc;

use crate::error::{Cause, ErrorKind};
use crate::value::Value;
use crate::vault::{Grant, Response};

mod answer;
pub(crate) mod database;
pub(crate) mod kv;
mod namespace;
mod operation;
#[cfg(feature = "pki")]
pub(crate) mod pki;
pub(crate) mod read;
pub(crate) mod refresh;
#[cfg(any(feature = "pki", feature = "ssh"))]
mod role;
#[cfg(feature = "ssh")]
pub(crate) mod ssh;
mod template;
pub(crate) mod transit;
pub(crate) mod write;

pub(crate) use answer::Answer;
pub(crate) use answer::{Facts, SecretVersion};
use namespace::Within;
pub(crate) use operation::{Ask, Asked, Request};
pub(crate) use refresh::Refresh;
pub(crate) use template::{Unset, Variables};

/// What a field's attributes say of its engine, before variables are filled in.
#[doc(hidden)]
pub trait Declare: Debug + Send + Sync {
    fn bind(&self, scope: &Scope<'_>) -> Result<Arc<dyn Engine>, Cause>;

    /// A pair is set by one environment variable for each part, or not at all.
    fn parts(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Where a field stands: its name, and what the structs around it say by default.
#[doc(hidden)]
#[derive(Debug)]
pub struct Scope<'a> {
    pub(crate) field: &'a str,
    pub(crate) kv: Option<&'a str>,
    pub(crate) mount: Option<&'a str>,
    pub(crate) variables: &'a Variables,
}

impl Scope<'_> {
    pub(crate) fn within(
        &self,
        namespace: &str,
        inner: Arc<dyn Engine>,
    ) -> Result<Arc<dyn Engine>, Cause> {
        let filled = self.fill(namespace)?;
        // Spaces are lost on the way, and no namespace at all is another one.
        match filled.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Arc::new(Within { namespace: filled, inner })),
            false => Err(Cause::new(
                ErrorKind::Variable,
                format!(
                    "with its variables filled in, the namespace \"{namespace}\" has a space or a \
                     character that is not ASCII"
                ),
                "give the variables values that are names of namespaces",
            )),
        }
    }

    fn fill(&self, template: &str) -> Result<String, Cause> {
        self.variables.fill(template)
    }

    /// What is no path may hold anything.
    fn fill_text(&self, template: &str) -> Result<String, Cause> {
        self.variables.fill_text(template)
    }
}

/// One field's source in Vault, ready to be asked for.
#[doc(hidden)]
pub trait Engine: Debug + Send + Sync {
    /// What errors and reports call it, such as `kv secret/my-app#port`.
    fn source(&self) -> String;

    /// Fields with one request share one answer.
    fn request(&self) -> Request;

    /// This field's part of the answer.
    fn pick(&self, answer: &Answer) -> Result<Value, Cause>;

    /// The key of the answer this field uses; `None` when it uses them all.
    fn key(&self) -> Option<&str> {
        None
    }

    /// How often the field says that it is read again, if it says so.
    fn refresh(&self) -> Option<Refresh> {
        None
    }

    /// Whether the local sources have a ciphertext, which it decrypts.
    fn decrypts(&self) -> bool {
        false
    }

    /// The same for this ciphertext, which was found at `place`.
    fn of(&self, _ciphertext: &str, _place: &str) -> Option<Arc<dyn Engine>> {
        None
    }

    /// What the policy has to allow.
    fn grant(&self) -> Grant;
}

/// Why nothing was given; `roles` is where the engine lists its roles.
fn refused(reply: Response, grant: &Grant, roles: &str) -> Cause {
    let words = reply.words();
    match reply.status {
        403 if reply.speaks_vault() => reply
            .denied(grant)
            .hint("or no engine is mounted there: the server answers 403 for that too"),
        404 if reply.is_miss() => {
            Cause::new(ErrorKind::PathAbsent, "nothing is there", "name the right path")
        }
        405 => Cause::new(
            ErrorKind::Schema,
            "the path does not take this kind of request (HTTP 405)",
            "say `write` in place of `read`, or `read` in place of `write`",
        ),
        400 | 500 if is_of_no_role(&words) => {
            let help = format!("create the role, or name the right one: vault list {roles}");
            Cause::new(ErrorKind::RoleAbsent, words, help)
        }
        _ => reply.into_cause(),
    }
}

/// Each engine has its own words for it.
fn is_of_no_role(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("unknown role")
        || words.contains("unknown key:")
        || words.contains("role \"") && words.contains("not found")
}

/// `verb` is the word of the command line that asks the same.
fn no_data(verb: &str) -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer has no `data`",
        format!(
            "see with `vault {verb}` what the path answers, and that the address is Vault's own"
        ),
    )
}
