//! The schema as a flat list: one leaf for each field, with its names in every source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::{FieldScope, Variables, VaultSource};
use crate::error::{Cause, ErrorKind, Problem};
use crate::schema::{Field, Origin, Schema};

pub(crate) struct Leaf {
    /// Rust names, joined by dots.
    pub(crate) path: String,
    pub(crate) ty: &'static str,
    /// For each segment, its names in files.
    pub(crate) keys: Vec<Vec<&'static str>>,
    /// One variable, or one for each part of a pair.
    pub(crate) variables: Vec<String>,
    /// Whether the type has a value for absence.
    pub(crate) optional: bool,
    /// The parts of a pair; none for any other field.
    pub(crate) parts: &'static [&'static str],
    pub(crate) origin: LeafOrigin,
}

pub(crate) enum LeafOrigin {
    Plain,
    Vault(Arc<VaultSource>),
    /// Marked for Vault, but its declaration cannot be bound.
    Unbound(Arc<Cause>),
}

impl Leaf {
    pub(crate) fn is_vault(&self) -> bool {
        !matches!(self.origin, LeafOrigin::Plain)
    }

    /// Whether the plain sources hold a ciphertext, which Vault decrypts.
    pub(crate) fn decrypts(&self) -> bool {
        matches!(&self.origin, LeafOrigin::Vault(source) if source.decrypts())
    }

    /// The name of the field's source in Vault.
    pub(crate) fn source(&self) -> Option<String> {
        match &self.origin {
            LeafOrigin::Vault(source) => Some(source.source()),
            _ => None,
        }
    }

    /// Whether the field takes all keys of a secret. The names of the keys are not secret.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.origin {
            LeafOrigin::Vault(source) => source.key().is_none() && self.parts.is_empty(),
            _ => false,
        }
    }

    pub(crate) fn key(&self) -> String {
        let segments: Vec<_> =
            self.keys.iter().filter_map(|names| names.first().copied()).collect();
        segments.join(".")
    }

    pub(crate) fn problem(&self, looked: Vec<String>, cause: Arc<Cause>) -> Problem {
        Problem::of_field(&self.path, self.ty, looked, cause)
    }
}

pub(crate) fn leaves(schema: &Schema, prefix: Option<&str>, variables: &Variables) -> Vec<Leaf> {
    let prefix = prefix.or(schema.env_prefix).unwrap_or_default().trim_end_matches('_');
    let parent = Parent {
        path: String::new(),
        keys: Vec::new(),
        env: prefix.to_owned(),
        kv: schema.kv,
        mount: schema.mount,
        namespace: schema.namespace,
    };
    let mut leaves = Vec::new();
    collect(schema, &parent, variables, &mut leaves);
    leaves
}

struct Parent {
    path: String,
    keys: Vec<Vec<&'static str>>,
    env: String,
    kv: Option<&'static str>,
    mount: Option<&'static str>,
    namespace: Option<&'static str>,
}

fn collect(schema: &Schema, parent: &Parent, variables: &Variables, leaves: &mut Vec<Leaf>) {
    for field in &schema.fields {
        let at = parent.child(field);
        match &field.origin {
            Origin::Nested { schema: inner, kv, mount } => {
                // The defaults of a struct apply to its own fields only. A nested struct uses its own, or
                // those of the field that nests it.
                let parent = Parent {
                    kv: kv.or(inner.kv),
                    mount: mount.or(inner.mount),
                    namespace: field.namespace.or(inner.namespace),
                    ..at
                };
                collect(inner, &parent, variables, leaves);
            }
            Origin::Plain => leaves.push(at.leaf(field, &[], LeafOrigin::Plain)),
            Origin::Vault(declaration) => {
                let scope = FieldScope {
                    field: field.name,
                    kv: parent.kv,
                    mount: parent.mount,
                    namespace: field.namespace.or(parent.namespace),
                    variables,
                };
                let origin = match declaration.bind(&scope) {
                    Ok(source) => LeafOrigin::Vault(Arc::new(source)),
                    Err(cause) => LeafOrigin::Unbound(Arc::new(cause)),
                };
                leaves.push(at.leaf(field, declaration.shape().parts(), origin));
            }
        }
    }
}

impl Parent {
    fn child(&self, field: &Field) -> Self {
        let join = |left: &str, right: &str, separator: &str| match left {
            "" => right.to_owned(),
            left => format!("{left}{separator}{right}"),
        };
        let mut names = vec![field.key];
        names.extend(&field.aliases);
        let mut keys = self.keys.clone();
        keys.push(names);
        Self {
            path: join(&self.path, field.name, "."),
            keys,
            env: join(&self.env, &field.name.to_uppercase(), "_"),
            kv: None,
            mount: None,
            namespace: None,
        }
    }

    fn leaf(self, field: &Field, parts: &'static [&'static str], origin: LeafOrigin) -> Leaf {
        let base = field.env.map_or(self.env, str::to_owned);
        let variables = match parts {
            [] => vec![base],
            parts => parts.iter().map(|part| format!("{base}_{}", part.to_uppercase())).collect(),
        };
        let (path, keys, ty, optional) = (self.path, self.keys, field.ty, field.optional);
        Leaf { path, ty, keys, variables, optional, parts, origin }
    }
}

/// The problems of fields that share an environment variable, and their leaves.
pub(crate) fn duplicates(leaves: &[Leaf]) -> (Vec<Problem>, BTreeSet<usize>) {
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut problems, mut clashing) = (Vec::new(), BTreeSet::new());
    for (index, leaf) in leaves.iter().enumerate() {
        for variable in &leaf.variables {
            let Some(first) = owners.insert(variable, index) else { continue };
            let cause = Arc::new(
                Cause::new(
                    ErrorKind::DuplicateEnv,
                    "one variable would set both fields",
                    "give one of them a name of its own: #[vault(env = \"..\")]",
                )
                .at(format!("env {variable}")),
            );
            for index in [first, index] {
                let problem = |leaf: &Leaf| leaf.problem(Vec::new(), Arc::clone(&cause));
                problems.extend(leaves.get(index).map(problem));
                clashing.insert(index);
            }
        }
    }
    (problems, clashing)
}
