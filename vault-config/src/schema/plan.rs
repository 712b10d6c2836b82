//! The schema as a flat list: one leaf for each field, with its names in every source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::{FieldScope, Variables, VaultSource};
use crate::error::{Cause, ErrorKind, Problem};
use crate::schema::{Field, Origin, Schema};
use crate::source::FieldNames;

/// Identifies a leaf of one plan: its place in the plan's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeafId(usize);

impl LeafId {
    /// For a list with one item for each leaf of the plan.
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

pub(crate) struct Leaf {
    pub(crate) id: LeafId,
    /// Rust names, joined by dots.
    pub(crate) path: String,
    pub(crate) ty: &'static str,
    /// What the plain sources call it.
    pub(crate) names: FieldNames,
    /// Whether the type has a value for absence.
    pub(crate) optional: bool,
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
            LeafOrigin::Vault(source) => Some(source.name()),
            _ => None,
        }
    }

    /// Whether the field takes all keys of a secret. The names of the keys are not secret.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.origin {
            LeafOrigin::Vault(source) => source.key().is_none() && self.names.parts.is_empty(),
            _ => false,
        }
    }

    pub(crate) fn problem(&self, tried: Vec<String>, cause: Arc<Cause>) -> Problem {
        Problem::of_field(&self.path, self.ty, tried, cause)
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
            Origin::Plain => {
                let id = LeafId(leaves.len());
                leaves.push(at.leaf(id, field, &[], LeafOrigin::Plain));
            }
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
                let id = LeafId(leaves.len());
                leaves.push(at.leaf(id, field, declaration.shape().parts(), origin));
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

    fn leaf(
        self,
        id: LeafId,
        field: &Field,
        parts: &'static [&'static str],
        origin: LeafOrigin,
    ) -> Leaf {
        let base = field.env.map_or(self.env, str::to_owned);
        let variables = match parts {
            [] => vec![base],
            parts => parts.iter().map(|part| format!("{base}_{}", part.to_uppercase())).collect(),
        };
        let is_secret = !matches!(origin, LeafOrigin::Plain);
        let names = FieldNames { variables, parts, keys: self.keys, is_secret };
        Leaf { id, path: self.path, ty: field.ty, names, optional: field.optional, origin }
    }
}

/// The problems of fields that share an environment variable, and their leaves.
pub(crate) fn duplicates(leaves: &[Leaf]) -> (Vec<Problem>, BTreeSet<LeafId>) {
    let mut owners: BTreeMap<&str, &Leaf> = BTreeMap::new();
    let (mut problems, mut clashing) = (Vec::new(), BTreeSet::new());
    for leaf in leaves {
        for variable in &leaf.names.variables {
            let Some(first) = owners.insert(variable, leaf) else { continue };
            let cause = Arc::new(
                Cause::new(
                    ErrorKind::DuplicateEnv,
                    "one variable would set both fields",
                    "give one of them a name of its own: #[vault(env = \"..\")]",
                )
                .at(format!("env {variable}")),
            );
            for leaf in [first, leaf] {
                problems.push(leaf.problem(Vec::new(), Arc::clone(&cause)));
                clashing.insert(leaf.id);
            }
        }
    }
    (problems, clashing)
}
