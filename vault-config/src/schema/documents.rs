//! The documents of a schema: a policy, a `.env` to fill in, a table, a JSON Schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Field, Origin, Schema};
use crate::engine::{Substitution, Variables};
use crate::error::Cause;
use crate::schema::plan::{self, Leaf, LeafOrigin};
use crate::vault::Grant;

impl Schema {
    /// The least policy that a token needs to load this configuration, in HCL.
    ///
    /// A `{variable}` of a path becomes `+`, which stands for one segment. A KV secret without
    /// `kv_version` is assumed to be of version 2. The path of a field with its own `namespace` begins
    /// with that namespace, as in a policy of the root namespace. The `default` policy already allows a
    /// token to renew and revoke itself, and to renew leases of its own namespace.
    #[must_use]
    pub fn policy(&self) -> String {
        if let Some(refusal) = self.refused() {
            return comment(&refusal);
        }
        let mut grants: BTreeMap<Grant, Vec<String>> = BTreeMap::new();
        for leaf in self.leaves(Substitution::AnySegment) {
            let LeafOrigin::Vault(source) = &leaf.origin else { continue };
            let grant = source.grant();
            // The `default` policy of the token's namespace does not apply to another one.
            if grant.namespace.is_some() && source.request().issues_credential() {
                let renewal = Grant {
                    path: "sys/leases/renew".to_owned(),
                    capability: "update",
                    ..grant.clone()
                };
                grants.entry(renewal).or_default().push(leaf.path.clone());
            }
            grants.entry(grant).or_default().push(leaf.path);
        }
        let stanzas: Vec<_> = grants
            .iter()
            .map(|(grant, fields)| {
                let fields = fields.join(", ");
                // Policies cannot escape a star.
                let warning = match grant.path.ends_with('*') {
                    true => {
                        "# this path ends with *, and so allows every path that begins with it\n"
                    }
                    false => "",
                };
                format!("# {fields}\n{warning}{}\n", grant.hcl_of_root())
            })
            .collect();
        stanzas.join("\n")
    }

    /// A `.env` file to fill in: every variable with its field's documentation, type and default.
    #[must_use]
    pub fn env_template(&self) -> String {
        if let Some(refusal) = self.refused() {
            return comment(&refusal);
        }
        let mut text = comment(self.doc);
        for (leaf, field) in self.leaves(Substitution::Name).iter().zip(self.leaf_fields()) {
            text.push('\n');
            text.push_str(&comment(field.doc));
            text.push_str(&comment(&format!("{}{}", field.ty, note(leaf, field))));
            let mark = if field.is_required() { "" } else { "# " };
            for variable in &leaf.names.variables {
                text.push_str(&format!("{mark}{variable}=\n"));
            }
        }
        text
    }

    /// A table in Markdown: every field with its type, variable, source, default and documentation.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        if let Some(refusal) = self.refused() {
            return format!("{refusal}\n");
        }
        let mut text =
            "| field | type | variable | source in Vault | when absent | what it is |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for (leaf, field) in self.leaves(Substitution::Name).iter().zip(self.leaf_fields()) {
            let variables: Vec<_> = leaf.names.variables.iter().map(|v| format!("`{v}`")).collect();
            let source = source(leaf).map_or_else(String::new, |source| format!("`{source}`"));
            let row = [
                format!("`{}`", leaf.path),
                format!("`{}`", cell(field.ty)),
                variables.join(", "),
                source,
                cell(&field.absence()),
                cell(field.doc),
            ];
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text
    }

    /// The JSON Schema (draft 2020-12) of the keys that a file may hold, as text.
    #[must_use]
    pub fn json_schema(&self) -> String {
        let mut schema = match self.refused() {
            // `not: {}` rejects every value.
            Some(refusal) => json!({ "not": {}, "description": refusal }),
            None => self.object(),
        };
        if let Some(root) = schema.as_object_mut() {
            root.insert(
                "$schema".to_owned(),
                json!("https://json-schema.org/draft/2020-12/schema"),
            );
            root.insert("title".to_owned(), json!(self.name));
        }
        format!("{schema:#}")
    }

    /// The text of every document of a schema that cannot be loaded.
    fn refused(&self) -> Option<String> {
        let Cause { message, help, .. } = self.refusal()?;
        Some(format!("{} cannot be loaded: {message}\nhelp: {help}", self.name))
    }

    fn leaves(&self, substitution: Substitution) -> Vec<Leaf> {
        let variables = Variables { substitution, ..Variables::default() };
        plan::leaves(self, None, &variables)
    }

    fn leaf_fields(&self) -> Vec<&Field> {
        let mut fields = Vec::new();
        for field in &self.fields {
            match &field.origin {
                Origin::Nested { schema, .. } => fields.extend(schema.leaf_fields()),
                _ => fields.push(field),
            }
        }
        fields
    }

    fn object(&self) -> Value {
        let mut properties = Map::new();
        for field in &self.fields {
            let property = match &field.origin {
                Origin::Nested { schema, .. } => schema.object(),
                _ => field.property(),
            };
            properties.insert(field.key.to_owned(), property);
        }
        let mut object = json!({ "type": "object", "properties": properties });
        if let Some(object) = object.as_object_mut() {
            if !self.doc.is_empty() {
                object.insert("description".to_owned(), json!(self.doc));
            }
            if self.deny_unknown {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        object
    }
}

impl Field {
    fn is_required(&self) -> bool {
        !self.optional && !self.within_optional && self.default.is_none()
    }

    fn is_vault(&self) -> bool {
        matches!(self.origin, Origin::Vault(_))
    }

    fn absence(&self) -> String {
        match self.default {
            // The default of a secret is a secret.
            Some(_) if self.is_vault() => "its default".to_owned(),
            Some(default) => format!("`{default}`"),
            None if !self.is_required() => "`None`".to_owned(),
            None => "an error".to_owned(),
        }
    }

    /// That of the field's own type; if that type is not known, of the engine, where it decides the shape of the value.
    fn json_type(&self) -> Option<&'static str> {
        json_type(self.ty).or_else(|| match &self.origin {
            Origin::Vault(declaration) => declaration.shape().json_type(),
            _ => None,
        })
    }

    fn property(&self) -> Value {
        let mut property = Map::new();
        if let Some(kind) = self.json_type() {
            property.insert("type".to_owned(), json!(kind));
        }
        if !self.doc.is_empty() {
            property.insert("description".to_owned(), json!(self.doc));
        }
        if self.is_vault() {
            property.insert("writeOnly".to_owned(), json!(true));
        }
        Value::Object(property)
    }
}

/// `None` for a type that is not known to be one of JSON's.
fn json_type(ty: &str) -> Option<&'static str> {
    if let Some(inner) = ty.strip_prefix("Leased<").and_then(|rest| rest.strip_suffix('>')) {
        return json_type(inner);
    }
    let bare = ty.rsplit("::").next().unwrap_or(ty);
    match bare {
        "bool" => Some("boolean"),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128"
        | "isize" => Some("integer"),
        "f32" | "f64" => Some("number"),
        "String" | "SecretString" | "PathBuf" | "IpAddr" | "SocketAddr" | "Url" | "char" => {
            Some("string")
        }
        "DatabaseCredentials" | "Certificate" | "SignedSshKey" => Some("object"),
        _ if ty.starts_with("HashMap<") || ty.starts_with("BTreeMap<") => Some("object"),
        _ if ty.starts_with("Vec<") => Some("array"),
        _ => None,
    }
}

fn note(leaf: &Leaf, field: &Field) -> String {
    let absence = match field.default {
        Some(default) if !field.is_vault() => format!(", default {default}"),
        _ if field.is_required() => String::new(),
        _ => ", optional".to_owned(),
    };
    let source = match source(leaf) {
        Some(source) if leaf.decrypts() => {
            format!("; a ciphertext for vault {source} in Vault mode")
        }
        Some(source) => format!("; from vault {source} in Vault mode"),
        None => String::new(),
    };
    format!("{absence}{source}")
}

fn source(leaf: &Leaf) -> Option<String> {
    match &leaf.origin {
        LeafOrigin::Vault(source) => Some(source.name()),
        LeafOrigin::Unbound(_) => Some("a path (set where the struct is nested)".to_owned()),
        LeafOrigin::Plain => None,
    }
}

fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}

/// A cell of a table is one line without a bar.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use secrecy::SecretString;

    use crate::VaultConfig;

    /// Its name is not one that JSON Schema knows.
    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct OwnType {
        username: String,
        password: SecretString,
    }

    #[derive(VaultConfig)]
    #[vault(crate = "crate")]
    #[allow(dead_code)]
    struct Config {
        port: u16,
        #[vault(kv = "app")]
        key: SecretString,
        #[vault(kv = "app", plain)]
        unknown: OwnType,
        #[vault(kv = "app", whole, plain)]
        whole: OwnType,
        #[vault(read = "cubbyhole/app", plain)]
        response: OwnType,
        #[vault(read = "cubbyhole/app", key = "key", plain)]
        number: u16,
        #[vault(write = "aws/sts/app")]
        map: HashMap<String, SecretString>,
        #[vault(database = "app", plain)]
        pair: OwnType,
        #[vault(transit = "app", plain)]
        plaintext: OwnType,
        local: crate::DatabaseCredentials,
        #[vault(kv = "app")]
        stored: crate::DatabaseCredentials,
        #[vault(read = "cubbyhole/app")]
        text: SecretString,
    }

    #[test]
    fn the_fields_own_type_decides_the_json_type_and_the_engine_that_of_any_other() {
        let schema: serde_json::Value =
            serde_json::from_str(&Config::schema().json_schema()).unwrap();
        for (field, expected) in [
            ("port", Some("integer")),
            ("key", Some("string")),
            ("unknown", None),
            ("whole", Some("object")),
            ("response", Some("object")),
            ("number", Some("integer")),
            ("map", Some("object")),
            ("pair", Some("object")),
            ("plaintext", None),
            ("local", Some("object")),
            ("stored", Some("object")),
            ("text", Some("string")),
        ] {
            let stated = schema["properties"][field]["type"].as_str();
            assert_eq!(stated, expected, "{field}");
        }
    }
}
