//! The compile-time plan of a configuration.

mod documents;
mod nesting;
pub(crate) mod plan;

pub use nesting::Nesting;

use crate::VaultConfig;
use crate::engine::Declaration;
use crate::error::{Cause, ErrorKind};

/// The compile-time plan of a configuration: every field, where it comes from, what it is called.
///
/// [`VaultConfig::schema`](crate::VaultConfig::schema) returns it without reading any source. It
/// writes the documents that an administrator or a colleague needs:
///
/// ```
/// use vault_config::{VaultConfig, secrecy::SecretString};
///
/// /// Configuration of the billing service.
/// #[derive(VaultConfig)]
/// #[vault(env_prefix = "APP")]
/// struct AppConfig {
///     /// Port to listen on.
///     #[vault(default = 8080)]
///     port: u16,
///     /// Key of the payment provider.
///     #[vault(kv = "my-app/{env}", key = "api-key")]
///     api_key: SecretString,
/// }
///
/// let schema = AppConfig::schema();
/// assert_eq!(
///     schema.policy(),
///     "# api_key\npath \"secret/data/my-app/+\" {\n  capabilities = [\"read\"]\n}\n"
/// );
/// let template = schema.env_template();
/// assert!(template.contains("# Port to listen on.\n# u16, default 8080\n# APP_PORT=\n"));
/// let row = "| `port` | `u16` | `APP_PORT` |  | `8080` | Port to listen on. |";
/// assert!(schema.to_markdown().contains(row));
/// assert!(schema.json_schema().contains("\"type\": \"integer\""));
/// ```
pub struct Schema {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) env_prefix: Option<&'static str>,
    pub(crate) kv: Option<&'static str>,
    pub(crate) mount: Option<&'static str>,
    pub(crate) namespace: Option<&'static str>,
    pub(crate) deny_unknown: bool,
    pub(crate) fields: Vec<Field>,
    /// A sentence about structs that nest each other without end. Fields are missing if there is one.
    cycle: Option<String>,
}

/// Not derived, because the default of a secret is a secret.
impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.fields.iter().map(|field| field.name);
        f.debug_struct("Schema")
            .field("name", &self.name)
            .field("fields", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Schema {
    /// Why the struct can neither be loaded nor documented.
    pub(crate) fn refusal(&self) -> Option<Cause> {
        let message = self.cycle.clone()?;
        let help = "remove `nested` from one of these fields, and read its content as one value: a \
                    type that derives `Deserialize`, or a map";
        Some(Cause::new(ErrorKind::Schema, message, help))
    }

    /// For documents: no field of an optional struct has to be set.
    pub(crate) fn all_optional(mut self) -> Self {
        for field in &mut self.fields {
            field.within_optional = true;
            if let Origin::Nested { schema, .. } = &mut field.origin {
                let inner = std::mem::replace(schema, Self::__new("", ""));
                *schema = inner.all_optional();
            }
        }
        self
    }

    /// Whether any field is marked for Vault.
    pub(crate) fn has_secrets(&self) -> bool {
        self.fields.iter().any(|field| match &field.origin {
            Origin::Nested { schema, .. } => schema.has_secrets(),
            Origin::Vault(_) => true,
            Origin::Plain => false,
        })
    }

    pub(crate) fn leaf_count(&self) -> usize {
        let leaves = |field: &Field| match &field.origin {
            Origin::Nested { schema, .. } => schema.leaf_count(),
            _ => 1,
        };
        self.fields.iter().map(leaves).sum()
    }
}

/// One field of a [`Schema`], as the derive macro describes it.
#[doc(hidden)]
pub struct Field {
    pub(crate) name: &'static str,
    pub(crate) key: &'static str,
    pub(crate) aliases: Vec<&'static str>,
    pub(crate) ty: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) env: Option<&'static str>,
    pub(crate) namespace: Option<&'static str>,
    pub(crate) default: Option<&'static str>,
    pub(crate) optional: bool,
    /// Whether a struct around the field is optional.
    pub(crate) within_optional: bool,
    pub(crate) origin: Origin,
}

pub(crate) enum Origin {
    Plain,
    Vault(Declaration),
    Nested { schema: Schema, kv: Option<&'static str>, mount: Option<&'static str> },
}

/// What generated code calls; see [`__private`](crate::__private).
#[doc(hidden)]
impl Schema {
    pub fn __of<T: VaultConfig>() -> Self {
        let (schema, cycle) = nesting::with_cycle(|nesting| T::__schema(nesting));
        Self { cycle, ..schema }
    }

    pub fn __new(name: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            env_prefix: None,
            kv: None,
            mount: None,
            namespace: None,
            deny_unknown: false,
            fields: Vec::new(),
            cycle: None,
        }
    }

    pub fn __env_prefix(mut self, prefix: &'static str) -> Self {
        self.env_prefix = Some(prefix);
        self
    }

    pub fn __kv(mut self, path: &'static str) -> Self {
        self.kv = Some(path);
        self
    }

    pub fn __mount(mut self, mount: &'static str) -> Self {
        self.mount = Some(mount);
        self
    }

    pub fn __namespace(mut self, namespace: &'static str) -> Self {
        self.namespace = Some(namespace);
        self
    }

    pub fn __deny_unknown(mut self) -> Self {
        self.deny_unknown = true;
        self
    }

    pub fn __field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }
}

#[doc(hidden)]
impl Field {
    /// A plain field: `name` without `r#`, `ty` as the source code writes it.
    pub fn new(name: &'static str, ty: &'static str) -> Self {
        Self {
            name,
            key: name,
            aliases: Vec::new(),
            ty,
            doc: "",
            env: None,
            namespace: None,
            default: None,
            optional: false,
            within_optional: false,
            origin: Origin::Plain,
        }
    }

    pub fn key(mut self, key: &'static str) -> Self {
        self.key = key;
        self
    }

    pub fn alias(mut self, alias: &'static str) -> Self {
        self.aliases.push(alias);
        self
    }

    pub fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    pub fn env(mut self, env: &'static str) -> Self {
        self.env = Some(env);
        self
    }

    pub fn namespace(mut self, namespace: &'static str) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// `text` is the default as the source code writes it, for documents.
    pub fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    /// Whether the type has a value for absence, as `Option` does.
    pub fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    pub fn vault(mut self, declaration: Declaration) -> Self {
        self.origin = Origin::Vault(declaration);
        self
    }

    pub fn nested(
        mut self,
        schema: Schema,
        kv: Option<&'static str>,
        mount: Option<&'static str>,
    ) -> Self {
        self.origin = Origin::Nested { schema, kv, mount };
        self
    }
}
