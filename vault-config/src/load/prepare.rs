//! What a load knows before its first request, and the steps that follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use figment::Figment;

use crate::VaultConfig;
use crate::auth;
use crate::engine::{Substitution, Variables, VaultRequest};
use crate::error::{Cause, Error, Problem};
use crate::load::Purpose;
use crate::load::expiry;
use crate::load::fetch::{self, Fetched, PendingLeaf};
use crate::load::filter::SourceFilter;
use crate::load::lookup::{self, SourceList};
use crate::load::mode::{self, Mode, ModeDecision};
use crate::load::read::{ReadOutput, Reader};
use crate::load::slot::Slots;
use crate::load::startup;
use crate::load::unknown::UnknownKeys;
use crate::report::{Provenance, Report};
use crate::schema::Schema;
use crate::schema::plan::{self, Leaf};
use crate::source::SourceRole;
use crate::source::dotenv::{Dotenv, DotenvFile};
use crate::source::env::Environment;
use crate::source::layers::Layers;
use crate::text;
use crate::vault::{LoadRollback, RollbackGuard, Vault};

/// How a configuration is loaded, as the program says.
pub(crate) struct LoadSettings {
    pub(crate) figment: Option<Figment>,
    pub(crate) env_prefix: Option<String>,
    pub(crate) environment: Environment,
    pub(crate) dotenv: DotenvFile,
    pub(crate) mode: Mode,
    pub(crate) vault: Option<Vault>,
    pub(crate) env_overrides: bool,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) startup_deadline: Duration,
}

/// Everything that is known before the first request, and then what came of the requests.
pub(crate) struct Prepared {
    pub(crate) name: &'static str,
    pub(crate) slots: Slots,
    pub(crate) problems: Vec<Problem>,
    /// The mode and why it was chosen, as a sentence. `None` if the choice itself failed.
    pub(crate) mode: Option<String>,
    pub(crate) fetched: BTreeMap<VaultRequest, Fetched>,
    /// `None` if there is nothing to ask Vault for.
    pub(crate) connection: Option<Result<Vault, Vec<Cause>>>,
    purpose: Purpose,
    pending: Vec<PendingLeaf>,
    /// Holds what is obtained over the connection until the caller has it.
    rollback: Option<Arc<LoadRollback>>,
    startup_deadline: Duration,
    /// Keys of sources that no field takes: the path and its layer.
    unknown: Vec<(String, String)>,
    /// Keys of secrets that no field uses: the secret and the key.
    unused: Vec<(String, String)>,
}

impl LoadSettings {
    /// Reads the plain sources and decides the mode. Sends nothing.
    pub(crate) async fn prepare<T: VaultConfig>(
        mut self,
        purpose: Purpose,
    ) -> Result<(Prepared, RollbackGuard), Error> {
        let schema = T::schema();
        if let Some(refusal) = schema.refusal() {
            return Err(Error::single(schema.name, refusal));
        }
        let (layers, variables) = self.layers();
        let leaves = plan::leaves(&schema, self.env_prefix.as_deref(), &variables);
        let mode = mode::decide(self.mode, self.vault.as_ref(), &self.environment);
        let vault_mode = mode.as_ref().map_or(true, |mode| mode.is_vault);
        let filter = SourceFilter { purpose, vault_mode, env_overrides: self.env_overrides };
        let dotenv = self.read_dotenv(&leaves, filter).await;
        // In the order in which they are asked. A new source is one more line here.
        let sources: &SourceList<'_> = &[&self.environment, &dotenv, &layers];

        let mut problems = problems_of(sources);
        let mode = mode.and_then(|mode| mode.settle(&self.configured_login(&schema), &dotenv));
        let mode = mode.unwrap_or_else(|cause| {
            problems.push(Problem::general(cause));
            ModeDecision::failed()
        });
        let (clashes, clashing) = plan::duplicates(&leaves);
        problems.extend(clashes);
        let unknown = UnknownKeys::find(&schema, sources);
        problems.extend(unknown.problems);
        let filter = SourceFilter { vault_mode: mode.is_vault, ..filter };
        let (slots, pending) = lookup::look_up(leaves, &clashing, sources, filter);

        let is_own = self.vault.is_none();
        let connection = self.connect(mode.explanation.is_some() && !pending.is_empty());
        log(&mode, schema.name, &slots);
        let guard = RollbackGuard::new(connection.as_ref().and_then(|it| it.as_ref().ok()), is_own);
        let prepared = Prepared {
            name: schema.name,
            slots,
            problems,
            mode: mode.explanation,
            fetched: BTreeMap::new(),
            connection,
            purpose,
            pending,
            rollback: guard.rollback(),
            startup_deadline: self.startup_deadline,
            unknown: unknown.allowed,
            unused: Vec::new(),
        };
        Ok((prepared, guard))
    }

    /// The user's layers, and what `{name}` in paths stands for.
    fn layers(&mut self) -> (Layers, Variables) {
        let figment = self.figment.take();
        // Without a figment of the user's own there is no profile that the user chose.
        let has_profile = figment.is_some();
        let layers = Layers::new(figment.unwrap_or_default());
        let variables = Variables {
            set_on_loader: std::mem::take(&mut self.variables),
            environment: self.environment.clone(),
            profile: has_profile.then(|| layers.profile().to_string()),
            substitution: Substitution::Value,
        };
        (layers, variables)
    }

    async fn read_dotenv(&self, leaves: &[Leaf], filter: SourceFilter) -> Dotenv {
        // A field that the environment sets, or that Vault alone has, does not need the file.
        let is_needed = leaves.iter().any(|leaf| {
            let mut variables = leaf.names.variables.iter();
            filter.admits(SourceRole::Local, leaf)
                && !variables.any(|variable| self.environment.is_set(variable))
        });
        match filter.purpose {
            Purpose::Provide => Dotenv::read(&DotenvFile::None, is_needed).await,
            Purpose::Build | Purpose::Check => Dotenv::read(&self.dotenv, is_needed).await,
        }
    }

    /// The variables that say how to log in.
    fn configured_login(&self, schema: &Schema) -> Vec<String> {
        match schema.has_secrets() {
            true => auth::configured(&self.environment),
            false => Vec::new(),
        }
    }

    fn connect(&mut self, is_needed: bool) -> Option<Result<Vault, Vec<Cause>>> {
        let given = self.vault.take();
        is_needed.then(|| given.map_or_else(|| Vault::connect(&self.environment), Ok))
    }
}

impl Prepared {
    /// Fetches everything. For a configuration that cannot load as it is, no credential is issued: a service that
    /// restarts again and again would leave one behind each time.
    pub(crate) async fn gather<T: VaultConfig>(&mut self) {
        let has_credentials =
            self.pending.iter().any(|leaf| leaf.vault_source.request().issues_credential());
        if has_credentials && self.cannot_load::<T>() {
            self.fetch(Purpose::Check).await;
            if self.cannot_load::<T>() {
                return;
            }
        }
        self.fetch(self.purpose).await;
    }

    /// The struct. `None` if there are problems, which are then in `problems`.
    pub(crate) fn build<T: VaultConfig>(&mut self) -> Option<(T, ReadOutput)> {
        let (built, mut output) = self.read::<T>(Purpose::Build);
        self.problems.append(&mut output.problems);
        built.filter(|_| self.problems.is_empty()).map(|config| (config, output))
    }

    pub(crate) fn read<T: VaultConfig>(&self, purpose: Purpose) -> (Option<T>, ReadOutput) {
        let mut reader = Reader::new(&self.slots, purpose);
        let built = T::__read(&mut reader);
        (built, reader.into_output())
    }

    fn cannot_load<T: VaultConfig>(&self) -> bool {
        !self.problems.is_empty() || !self.read::<T>(Purpose::Build).1.problems.is_empty()
    }

    pub(crate) async fn fetch(&mut self, purpose: Purpose) {
        let pending = self.pending.clone();
        if let Some(rollback) = &self.rollback {
            let (slots, deadline) = (&mut self.slots, self.startup_deadline);
            let outcome = startup::fetch_when_up(rollback, pending, slots, deadline, purpose).await;
            self.unused = outcome.unused;
            let fetched = outcome.fetched.into_iter();
            self.fetched = fetched.map(|fetched| (fetched.request.clone(), fetched)).collect();
        } else if let Some(Err(causes)) = &self.connection {
            // The first problem of the connection is that of every field; the others have no field.
            let mut causes = causes.iter().cloned();
            if let Some(cause) = causes.next().map(Arc::new) {
                self.slots.fail(fetch::ids(&pending), &cause);
            }
            self.problems.extend(causes.map(Problem::general));
        }
    }

    pub(crate) fn warn_of_expiry(&self) {
        if let Some(rollback) = &self.rollback {
            let now = rollback.vault().clock().now();
            expiry::warn(self.name, &self.slots, self.fetched.values(), now);
        }
    }

    pub(crate) fn report(self, fields: Vec<(String, Provenance)>) -> Report {
        Report::new(self.mode.unwrap_or_default(), fields, self.unused, self.unknown)
    }

    /// The error of a load that fails.
    pub(crate) fn failure(self) -> Error {
        let unseen = self.unseen();
        self.error().with_unseen(unseen)
    }

    pub(crate) fn error(self) -> Error {
        Error::new(self.name, self.problems, self.mode)
    }

    /// Names the credentials that were not requested because the load fails without them: the next load may fail for
    /// those.
    fn unseen(&self) -> Option<String> {
        let not_requested = self.pending.iter().filter_map(|leaf| {
            let request = leaf.vault_source.request();
            let slot = self.slots.get(leaf.id).filter(|slot| slot.is_not_requested())?;
            request.issues_credential().then_some((request, slot))
        });
        let (requests, slots): (BTreeSet<_>, Vec<_>) = not_requested.unzip();
        let (credentials, their) = match requests.len() {
            0 => return None,
            1 => ("1 credential was".to_owned(), "its"),
            count => (format!("{count} credentials were"), "their"),
        };
        let paths = text::listed(slots.iter().map(|slot| slot.leaf.path.clone()));
        Some(format!(
            "{credentials} not requested, because the load failed: problems of {their} own may \
             follow ({paths})."
        ))
    }
}

fn problems_of(sources: &SourceList<'_>) -> Vec<Problem> {
    let causes = sources.iter().flat_map(|source| source.problems()).cloned();
    causes.map(Problem::general).collect()
}

fn log(mode: &ModeDecision, name: &str, slots: &Slots) {
    let Some(explanation) = &mode.explanation else { return };
    match slots.iter().filter(|slot| slot.is_served_by_dotenv()).count() {
        0 => tracing::info!(config = name, "{explanation}"),
        served => {
            tracing::warn!(config = name, served, "secrets are served from .env. {explanation}");
        }
    }
}
