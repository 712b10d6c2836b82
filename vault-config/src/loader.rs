//! From sources to a struct, or to every problem at once.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use figment::Figment;

use crate::VaultConfig;
use crate::auth;
use crate::engine::{Request, Unset, Variables};
use crate::error::{Cause, Error, ErrorKind, Problem};
use crate::http::{retry, settings};
use crate::live::{Live, LiveStart, WatchOptions};
use crate::load::expiry;
use crate::load::mode::{self, Chosen, Mode};
use crate::load::provider::{self, Resolved};
use crate::load::read::{Found, Purpose, Read, Reader, Slot};
use crate::load::resolve::{self, Asked, Given, Pending, Sources};
use crate::report::Report;
use crate::schema::Schema;
use crate::schema::plan::{self, Leaf};
use crate::source::dotenv::{Choice, Dotenv};
use crate::source::env::Environment;
use crate::source::layers::{Layers, Unknown};
use crate::text;
use crate::vault::{LoadRollback, RollbackGuard, Vault};

/// Says where a configuration is read from, then reads it.
///
/// ```
/// use vault_config::{Mode, VaultConfig, secrecy::SecretString};
///
/// #[derive(Debug, VaultConfig)]
/// #[vault(env_prefix = "APP")]
/// struct AppConfig {
///     #[vault(kv = "{env}/api-keys")]
///     api_key: SecretString,
/// }
///
/// # fn main() -> Result<(), vault_config::Error> {
/// let config = AppConfig::loader()
///     .mode(Mode::Local)
///     .without_dotenv()
///     .env_source([("APP_API_KEY", "for-a-test")])
///     .var("env", "staging")
///     .load_blocking()?;
/// # Ok(()) }
/// ```
#[must_use = "a loader does nothing until one of its load methods is called"]
pub struct Loader<T> {
    figment: Option<Figment>,
    env_prefix: Option<String>,
    environment: Environment,
    dotenv: Choice,
    mode: Mode,
    vault: Option<Vault>,
    env_overrides: bool,
    variables: BTreeMap<String, String>,
    deadline: Duration,
    watch: WatchOptions,
    target: PhantomData<fn() -> T>,
}

impl<T: VaultConfig> Loader<T> {
    pub(crate) fn new() -> Self {
        Self {
            figment: None,
            env_prefix: None,
            environment: Environment::Process,
            dotenv: Choice::IfPresent,
            mode: Mode::Auto,
            vault: None,
            env_overrides: true,
            variables: BTreeMap::new(),
            deadline: Duration::from_secs(30),
            watch: WatchOptions { every: Duration::from_secs(300), overlap: None },
            target: PhantomData,
        }
    }

    /// Base layers of plain values: TOML, JSON, profiles. They stand below the environment and
    /// `.env`.
    ///
    /// With figment's feature `toml`, a file with a table for each profile is
    /// `Figment::from(Toml::file("app.toml").nested()).select("production")`. A file that is not
    /// there is an empty layer for figment, and so is a profile that no table is for.
    pub fn figment(mut self, figment: Figment) -> Self {
        self.figment = Some(figment);
        self
    }

    /// Replaces the struct's own `env_prefix`.
    pub fn env_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.env_prefix = Some(prefix.into());
        self
    }

    /// Reads these variables instead of the process environment, `VAULT_*` included.
    pub fn env_source<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.environment = Environment::given(variables);
        self
    }

    pub(crate) fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Reads this `.env` file, which must exist: a regular file of at most 1 MiB, or a pipe that
    /// answers. Default: `.env` in the working directory, if there is one.
    pub fn dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        self.dotenv = Choice::Path(path.into());
        self
    }

    /// Reads no `.env` file.
    pub fn without_dotenv(mut self) -> Self {
        self.dotenv = Choice::None;
        self
    }

    /// Chooses the mode. With [`Mode::Auto`], the default, `VAULT_CONFIG_MODE` (`auto`, `vault`,
    /// `local`) decides first.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Uses this connection instead of the one the environment describes.
    pub fn vault(mut self, vault: Vault) -> Self {
        self.vault = Some(vault);
        self
    }

    /// Whether the process environment may override a field marked for Vault. Default: yes.
    pub fn env_overrides(mut self, allowed: bool) -> Self {
        self.env_overrides = allowed;
        self
    }

    /// Fills `{name}` in paths. Without it, `VAULT_CONFIG_VAR_NAME` does.
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// How long to wait for a server that is not up yet: its connection is refused, it is sealed, a
    /// standby, or without a leader. Default: 30 s. Zero fails at once, and so does any other
    /// problem. At most 24 h.
    pub fn startup_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(settings::LONGEST_TIMEOUT);
        self
    }

    /// How often [`watch`](Self::watch) reads KV secrets again, give or take a tenth. Default:
    /// 5 min; a field's own `refresh = ".."` goes first. At least 1 s, at most 24 h.
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.watch.every = interval.clamp(Duration::from_secs(1), settings::LONGEST_TIMEOUT);
        self
    }

    /// How long a credential that [`watch`](Self::watch) has replaced is left to live, counted from
    /// when the new one was published. It lives on until every subscriber has taken the new one,
    /// but not beyond its own end. Default: the rest of its life.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.watch.overlap = Some(overlap);
        self
    }

    /// Loads the configuration and keeps it fresh from then on, on a task of its own; see [`Live`].
    /// In local mode it stays as it was loaded.
    ///
    /// When it fails, or its future is dropped, nothing is left behind, as with
    /// [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn watch(self) -> Result<Live<T>, Error>
    where
        T: Send + Sync + 'static,
    {
        let options = self.watch;
        let (mut prepared, guard) = Box::pin(self.prepare(false)).await?;
        let load = Box::pin(async {
            prepared.gather::<T>().await;
            let Some((config, read)) = prepared.build::<T>() else {
                return Err(prepared.failure());
            };
            Ok(Live::start(LiveStart {
                name: prepared.name,
                config,
                slots: prepared.slots,
                spans: read.spans,
                given: prepared.given.into_values().collect(),
                vault: prepared.vault.and_then(Result::ok),
                options,
            }))
        });
        guard.commit_on_success(load).await
    }

    /// Loads the configuration once.
    ///
    /// It is for a program that ends before its credentials do, or that has none: nothing renews the
    /// token and the leases, and each ends when its time is over. A load that gives something that
    /// expires warns of it once (by `tracing`), with the fields, their sources and the time that is
    /// left. [`watch`](Self::watch) keeps a configuration fresh; otherwise load it again before then.
    ///
    /// A load that fails leaves nothing behind, nor does one whose future is dropped half way or that
    /// a panic in a validator or in a type's `Deserialize` ends. The token that it logged in for is
    /// revoked, with all that was issued under it. A token that was given, or that a [`Vault`] shares
    /// with others, stays: then each lease that the load was issued is cut short. A load that fails
    /// waits for that, at most 5 s; one that is dropped leaves it to a task of its runtime.
    ///
    /// # Errors
    /// Every problem at once; see [`Error`].
    pub async fn load(self) -> Result<T, Error> {
        self.load_with_report().await.map(|(config, _)| config)
    }

    /// Loads the configuration once, from a program without an async runtime; see
    /// [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load); and [`ErrorKind::Runtime`] inside an async runtime, which it would
    /// block.
    pub fn load_blocking(self) -> Result<T, Error> {
        let name = T::schema().name;
        if tokio::runtime::Handle::try_current().is_ok() {
            return Err(Error::single(
                name,
                Cause::new(
                    ErrorKind::Runtime,
                    "load_blocking() was called inside an async runtime, which it would block",
                    "call .load().await there",
                ),
            ));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            let what = format!("no async runtime can be started: {error}");
            Error::single(name, Cause::new(ErrorKind::Connection, what, ""))
        })?;
        runtime.block_on(self.load())
    }

    /// Loads the configuration once, see [`load`](Self::load), and says where every field came from.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_with_report(self) -> Result<(T, Report), Error> {
        let (mut prepared, guard) = Box::pin(self.prepare(false)).await?;
        let load = Box::pin(async {
            prepared.gather::<T>().await;
            let Some((config, read)) = prepared.build::<T>() else {
                return Err(prepared.failure());
            };
            prepared.warn_of_what_expires();
            Ok((config, prepared.report(read.fields)))
        });
        guard.commit_on_success(load).await
    }

    /// Does all that a load does without making credentials: it logs in, reads every secret, and
    /// asks whether the token may read the paths that would make a credential. The values are
    /// checked against their types and dropped. The token that it logged in for is revoked at the
    /// end, unless a [`Vault`] shares it with others.
    ///
    /// # Errors
    /// As [`load`](Self::load). Validators of structs that hold a credential are not run. It does
    /// not show that an engine is mounted or that a role exists: a token that may read everything
    /// passes.
    pub async fn check(self) -> Result<Report, Error> {
        let (mut prepared, guard) = Box::pin(self.prepare(false)).await?;
        let check = Box::pin(async {
            prepared.ask(true).await;
            let (_, read) = prepared.read::<T>(Purpose::Check);
            prepared.problems.extend(read.problems);
            match prepared.problems.is_empty() {
                true => Ok(prepared.report(read.fields)),
                false => Err(prepared.error()),
            }
        });
        guard.roll_back_after(check).await
    }

    /// Reads the fields marked for Vault once, for a figment of your own; see [`Resolved`]. Nothing
    /// renews what it gives, and a failure leaves nothing behind: see [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load), for the fields marked for Vault. A value that does not read as its
    /// field's type is told by figment's `extract` instead, with figment's own words.
    pub async fn resolve(mut self) -> Result<Resolved, Error> {
        self.mode = Mode::Vault;
        let (mut prepared, guard) = Box::pin(self.prepare(true)).await?;
        prepared.sentence = Some("Secrets for a figment are read from Vault alone.".to_owned());
        let load = Box::pin(async {
            prepared.gather::<T>().await;
            let (_, read) = prepared.read::<T>(Purpose::Provide);
            let (wrong, other): (Vec<_>, Vec<_>) = read
                .problems
                .into_iter()
                .partition(|problem| problem.kind() == ErrorKind::WrongType);
            prepared.problems.extend(other);
            if !prepared.problems.is_empty() {
                return Err(prepared.failure());
            }
            prepared.warn_of_what_expires();
            let figment = provider::figment(&prepared.slots, &read.shapes, &wrong);
            Ok(Resolved::new(figment, prepared.report(read.fields)))
        });
        guard.commit_on_success(load).await
    }

    async fn prepare(self, provider: bool) -> Result<(Prepared, RollbackGuard), Error> {
        let schema = T::schema();
        if let Some(refusal) = schema.refusal() {
            return Err(Error::single(schema.name, refusal));
        }
        // Without a figment of the user's own there is no profile that anybody chose.
        let profiled = self.figment.is_some();
        let layers = Layers::new(self.figment.unwrap_or_default());
        let variables = Variables {
            given: self.variables,
            environment: self.environment.clone(),
            profile: profiled.then(|| layers.profile().to_string()),
            unset: Unset::Problem,
        };
        let leaves = plan::leaves(&schema, self.env_prefix.as_deref(), &variables);
        let decision = mode::decide(self.mode, self.vault.as_ref(), &self.environment);
        let vault_mode = decision.as_ref().map_or(true, |decision| decision.vault);
        let wanted = looks_into_dotenv(&leaves, vault_mode, &self.environment);
        let choice = if provider { Choice::None } else { self.dotenv };
        let dotenv = Dotenv::read(&choice, wanted).await;
        let mut problems = resolve::general(&dotenv, &layers);
        let login = match schema.has_secrets() {
            true => auth::configured(&self.environment),
            false => Vec::new(),
        };
        let chosen = decision.and_then(|decision| decision.settle(&login, &dotenv));
        let chosen = chosen.unwrap_or_else(|cause| {
            problems.push(Problem::general(cause));
            // Whatever was meant, Vault mode is the one that never serves a secret from a file. Nothing is sent.
            Chosen { vault: true, sentence: None }
        });
        let (clashes, clashing) = plan::duplicates(&leaves);
        problems.extend(clashes);
        let unknown = unknown_keys(&schema, &layers, &mut problems);
        let sources = Sources {
            environment: &self.environment,
            env_overrides: self.env_overrides,
            local: (!provider).then_some((&dotenv, &layers)),
            vault_mode: chosen.vault,
        };
        let (mut slots, mut pending) = sources.look_up(leaves);
        resolve::leave_out(&mut slots, &mut pending, &clashing);
        let is_own = self.vault.is_none();
        let vault = connection(
            self.vault,
            &self.environment,
            chosen.sentence.is_some() && !pending.is_empty(),
        );
        log(&chosen, schema.name, &slots);
        let guard =
            RollbackGuard::new(vault.as_ref().and_then(|vault| vault.as_ref().ok()), is_own);
        let prepared = Prepared {
            name: schema.name,
            slots,
            pending,
            vault,
            rollback: guard.rollback(),
            deadline: self.deadline,
            problems,
            sentence: chosen.sentence,
            unknown,
            unused: Vec::new(),
            given: BTreeMap::new(),
        };
        Ok((prepared, guard))
    }
}

impl<T> std::fmt::Debug for Loader<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("mode", &self.mode)
            .field("dotenv", &self.dotenv)
            .field("environment", &self.environment)
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}

/// Everything that can be known before the first request.
struct Prepared {
    name: &'static str,
    slots: Vec<Slot>,
    pending: Pending,
    vault: Option<Result<Vault, Vec<Cause>>>,
    /// Where what is obtained over the connection stays until the caller has it.
    rollback: Option<Arc<LoadRollback>>,
    deadline: Duration,
    problems: Vec<Problem>,
    sentence: Option<String>,
    unknown: Vec<(String, String)>,
    unused: Vec<(String, String)>,
    given: BTreeMap<Request, Given>,
}

impl Prepared {
    /// Asks for everything; but for a configuration that cannot load as it is, nothing is minted: a
    /// service that starts again and again would leave a credential behind each time.
    async fn gather<T: VaultConfig>(&mut self) {
        let mints = self.pending.iter().any(|(_, engine)| engine.request().mints());
        if mints && self.is_doomed::<T>() {
            self.ask(true).await;
            if self.is_doomed::<T>() {
                return;
            }
        }
        self.ask(false).await;
    }

    /// The struct; or everything that is wrong, among the problems.
    fn build<T: VaultConfig>(&mut self) -> Option<(T, Read)> {
        let (built, mut read) = self.read::<T>(Purpose::Build);
        self.problems.append(&mut read.problems);
        built.filter(|_| self.problems.is_empty()).map(|config| (config, read))
    }

    fn is_doomed<T: VaultConfig>(&self) -> bool {
        !self.problems.is_empty() || !self.read::<T>(Purpose::Build).1.problems.is_empty()
    }

    fn read<T: VaultConfig>(&self, purpose: Purpose) -> (Option<T>, Read) {
        let mut reader = Reader::new(&self.slots, purpose);
        let built = T::__read(&mut reader);
        (built, reader.into_read())
    }

    async fn ask(&mut self, check: bool) {
        let pending = self.pending.clone();
        if let Some(rollback) = &self.rollback {
            let asked = wait_for(rollback, pending, &mut self.slots, self.deadline, check).await;
            self.unused = asked.unused;
            self.given =
                asked.given.into_iter().map(|given| (given.request.clone(), given)).collect();
        } else if let Some(Err(causes)) = &self.vault {
            let mut causes = causes.iter().cloned();
            if let Some(cause) = causes.next().map(Arc::new) {
                resolve::fail_all(&mut self.slots, &pending, &cause);
            }
            self.problems.extend(causes.map(Problem::general));
        }
    }

    fn warn_of_what_expires(&self) {
        if let Some(rollback) = &self.rollback {
            let now = rollback.vault().clock().now();
            expiry::warn(self.name, &self.slots, self.given.values(), now);
        }
    }

    /// Of a load that fails.
    fn failure(self) -> Error {
        let unseen = self.unseen();
        self.error().with_unseen(unseen)
    }

    /// The credentials that were not requested, since the load fails without them: the next one may fail for those.
    fn unseen(&self) -> Option<String> {
        let not_requested = self.pending.iter().filter_map(|(index, engine)| {
            let slot =
                self.slots.get(*index).filter(|slot| matches!(slot.found, Found::Skipped))?;
            Some((engine.request(), slot)).filter(|(request, _)| request.mints())
        });
        let (requests, slots): (BTreeSet<_>, Vec<_>) = not_requested.unzip();
        let (credentials, their) = match requests.len() {
            0 => return None,
            1 => ("1 credential was".to_owned(), "its"),
            count => (format!("{count} credentials were"), "their"),
        };
        let paths = text::listed(slots.iter().map(|slot| slot.leaf.path.clone()));
        Some(format!(
            "{credentials} not requested, since the configuration cannot load as it is: problems of {their} own may \
             follow ({paths})."
        ))
    }

    fn error(self) -> Error {
        Error::new(self.name, self.problems, self.sentence)
    }

    fn report(self, fields: Vec<(String, crate::Provenance)>) -> Report {
        Report::new(self.sentence.unwrap_or_default(), fields, self.unused, self.unknown)
    }
}

/// Asks again for what failed only because the server is not up yet, until the deadline. What was
/// answered is kept: a credential is never made twice.
async fn wait_for(
    rollback: &Arc<LoadRollback>,
    mut pending: Pending,
    slots: &mut [Slot],
    deadline: Duration,
    check: bool,
) -> Asked {
    let (end, mut tries, mut told) = (Instant::now() + deadline, 0, None);
    let mut asked = Asked::default();
    loop {
        let more = match check {
            true => resolve::verify(rollback, pending.clone(), slots).await,
            false => resolve::fetch(rollback, pending.clone(), slots).await,
        };
        asked.unused.extend(more.unused);
        asked.given.extend(more.given);
        pending.retain(|(index, _)| slots.get(*index).is_some_and(Slot::waits_for_the_server));
        let Some(cause) = pending.first().and_then(|(index, _)| slots.get(*index)?.failure())
        else {
            return asked;
        };
        tries += 1;
        let left = end.saturating_duration_since(Instant::now());
        let Some(wait) = retry::startup_wait(tries, fastrand::f64(), left) else {
            resolve::waited(slots, &pending, deadline);
            return asked;
        };
        if told != Some(cause.kind) {
            let address = rollback.vault().addresses().shown();
            tracing::warn!(%address, "waiting for Vault: {}", cause.message);
            told = Some(cause.kind);
        }
        tokio::time::sleep(wait).await;
    }
}

fn log(chosen: &Chosen, name: &str, slots: &[Slot]) {
    let Some(sentence) = &chosen.sentence else { return };
    match slots.iter().filter(|slot| slot.is_served_by_dotenv()).count() {
        0 => tracing::info!(config = name, "{sentence}"),
        served => {
            tracing::warn!(config = name, served, "secrets are served from .env. {sentence}");
        }
    }
}

/// Whether there is a field that the environment does not settle, and that the `.env` file may.
fn looks_into_dotenv(leaves: &[Leaf], vault_mode: bool, environment: &Environment) -> bool {
    leaves.iter().any(|leaf| {
        let from_vault = leaf.is_vault() && vault_mode && !leaf.decrypts();
        !from_vault && !leaf.variables.iter().any(|variable| environment.is_set(variable))
    })
}

fn connection(
    given: Option<Vault>,
    environment: &Environment,
    needed: bool,
) -> Option<Result<Vault, Vec<Cause>>> {
    if !needed {
        return None;
    }
    Some(given.map_or_else(|| Vault::connect(environment), Ok))
}

fn unknown_keys(
    schema: &Schema,
    layers: &Layers,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let (denied, rest): (Vec<_>, Vec<_>) =
        layers.unknown(schema).into_iter().partition(|unknown| unknown.denied);
    problems.extend(too_many(denied));
    problems.extend(layers.not_tables(schema).into_iter().map(|(path, layer)| {
        let what = format!("the key {path} is not a table, and a struct is read from it");
        let help = format!("write its fields below it: {path}.name");
        Problem::general(Cause::new(ErrorKind::WrongType, what, help).at(layer))
    }));
    rest.into_iter().map(|unknown| (unknown.path, unknown.layer)).collect()
}

/// A file of something else has thousands of them: slips go first.
fn too_many(mut denied: Vec<Unknown>) -> Vec<Problem> {
    if denied.len() > text::MANY {
        denied.sort_by_key(|unknown| unknown.slip().is_none());
    }
    let more = denied.split_off(denied.len().min(text::MANY));
    let mut problems: Vec<_> = denied.iter().map(Unknown::problem).collect();
    if let Some(first) = more.first() {
        let names = text::listed(more.iter().map(|unknown| text::name(&unknown.path)));
        let what = format!("no field takes {} more keys: {names}", more.len());
        let cause = Cause::new(ErrorKind::UnknownKey, what, "take them away");
        problems.push(Problem::general(cause.at(first.layer.clone())));
    }
    problems
}

impl Unknown {
    fn key(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    fn slip(&self) -> Option<&str> {
        text::nearest(self.key(), self.known.iter().copied())
    }

    fn problem(&self) -> Problem {
        let help = match self.slip() {
            Some(near) => format!("did you mean {near}?"),
            None => {
                let known = text::nearest_few(self.key(), self.known.iter().copied());
                format!("take it away; the keys here are {known}")
            }
        };
        let what = format!("no field takes the key {}", text::name(&self.path));
        Problem::general(Cause::new(ErrorKind::UnknownKey, what, help).at(self.layer.clone()))
    }
}

impl Vault {
    /// Fetches the fields of `T` that are marked for Vault once, for a figment of your own; see
    /// [`Resolved`]. Nothing renews what it gives: see [`Loader::load`](Loader::load).
    ///
    /// # Errors
    /// Every problem at once; see [`Error`].
    pub async fn resolve<T: VaultConfig>(&self) -> Result<Resolved, Error> {
        let loader = T::loader().vault(self.clone()).environment(self.environment().clone());
        loader.resolve().await
    }
}
