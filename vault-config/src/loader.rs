//! What a user calls: the settings of a load, and the ways to load.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use figment::Figment;

use crate::VaultConfig;
use crate::error::{Cause, Error, ErrorKind};
use crate::http::settings;
use crate::live::{Live, LiveStart, WatchOptions};
use crate::load::mode::Mode;
use crate::load::provider::{self, Resolved};
use crate::load::{LoadSettings, Purpose};
use crate::report::Report;
use crate::source::dotenv::DotenvFile;
use crate::source::env::Environment;
use crate::vault::Vault;

/// Builds a load: chooses the sources, then loads.
///
/// [`VaultConfig::loader`] returns it with the defaults: the process environment, `.env`, and the
/// Vault that the environment describes. Each method changes one setting; one of
/// [`watch`](Self::watch), [`load`](Self::load), [`load_with_report`](Self::load_with_report),
/// [`load_blocking`](Self::load_blocking), [`check`](Self::check) or [`resolve`](Self::resolve) ends
/// the chain.
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
    settings: LoadSettings,
    watch: WatchOptions,
    target: PhantomData<fn() -> T>,
}

impl<T: VaultConfig> Loader<T> {
    pub(crate) fn new() -> Self {
        Self {
            settings: LoadSettings {
                figment: None,
                env_prefix: None,
                environment: Environment::Process,
                dotenv: DotenvFile::IfPresent,
                mode: Mode::Auto,
                vault: None,
                env_overrides: true,
                variables: BTreeMap::new(),
                startup_deadline: Duration::from_secs(30),
            },
            watch: WatchOptions { every: Duration::from_secs(300), overlap: None },
            target: PhantomData,
        }
    }

    /// Adds layers of plain values below the environment and `.env`: TOML, JSON or any other figment provider, with
    /// profiles.
    ///
    /// With figment's feature `toml`, a file with a table for each profile is
    /// `Figment::from(Toml::file("app.toml").nested()).select("production")`. For figment, a missing file is an empty
    /// layer, and so is a profile without a table.
    pub fn figment(mut self, figment: Figment) -> Self {
        self.settings.figment = Some(figment);
        self
    }

    /// Sets the prefix of all variables, in place of the struct's own `env_prefix`.
    pub fn env_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.env_prefix = Some(prefix.into());
        self
    }

    /// Reads these variables in place of the process environment, `VAULT_*` included. For tests.
    pub fn env_source<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.settings.environment = Environment::injected(variables);
        self
    }

    pub(crate) fn environment(mut self, environment: Environment) -> Self {
        self.settings.environment = environment;
        self
    }

    /// Reads this `.env` file, and fails if it does not exist. Default: `.env` in the working directory, if there is
    /// one.
    ///
    /// It is a regular file of at most 1 MiB, or a pipe that is written to its end within 5 s.
    pub fn dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.dotenv = DotenvFile::Path(path.into());
        self
    }

    /// Reads no `.env` file.
    pub fn without_dotenv(mut self) -> Self {
        self.settings.dotenv = DotenvFile::None;
        self
    }

    /// Chooses between Vault and local sources for the fields marked for Vault. Default: [`Mode::Auto`], with which
    /// the variable `VAULT_CONFIG_MODE` (`auto`, `vault`, `local`) has priority.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// Uses this connection, and shares its token with other configurations. Default: the connection that the
    /// environment describes.
    pub fn vault(mut self, vault: Vault) -> Self {
        self.settings.vault = Some(vault);
        self
    }

    /// Sets whether the process environment may override a field marked for Vault. Default: `true`.
    pub fn env_overrides(mut self, allowed: bool) -> Self {
        self.settings.env_overrides = allowed;
        self
    }

    /// Sets the value of `{name}` in paths. Default: the variable `VAULT_CONFIG_VAR_NAME`.
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.variables.insert(name.into(), value.into());
        self
    }

    /// Sets how long a load waits for a server that is not up yet. Default: 30 s; at most 24 h.
    ///
    /// A server is not up yet if it refuses connections, is sealed, is a standby or has no leader. With every other
    /// problem the load fails at once; with zero, it does so with these too.
    pub fn startup_deadline(mut self, deadline: Duration) -> Self {
        self.settings.startup_deadline = deadline.min(settings::LONGEST_TIMEOUT);
        self
    }

    /// Sets how often [`watch`](Self::watch) reads KV secrets again. Default: 5 min; at least 1 s, at
    /// most 24 h.
    ///
    /// Each interval varies by up to a tenth. A field's own `refresh = ".."` has priority.
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.watch.every = interval.clamp(Duration::from_secs(1), settings::LONGEST_TIMEOUT);
        self
    }

    /// Sets how long an old credential stays valid after [`watch`](Self::watch) has published the new one. Default:
    /// until it expires.
    ///
    /// If a subscriber has not taken the new one after this time, the old one stays valid until every subscriber has,
    /// but not beyond its own expiry.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.watch.overlap = Some(overlap);
        self
    }

    /// Loads the configuration and keeps it fresh in the background; see [`Live`]. In local mode it never changes.
    ///
    /// A load that fails, or whose future is dropped, leaves nothing behind: see
    /// [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn watch(self) -> Result<Live<T>, Error>
    where
        T: Send + Sync + 'static,
    {
        let options = self.watch;
        let (mut prepared, guard) = Box::pin(self.settings.prepare::<T>(Purpose::Build)).await?;
        let load = Box::pin(async {
            prepared.gather::<T>().await;
            let Some((config, output)) = prepared.build::<T>() else {
                return Err(prepared.failure());
            };
            Ok(Live::start(LiveStart {
                name: prepared.name,
                config,
                slots: prepared.slots,
                spans: output.spans,
                fetched: prepared.fetched.into_values().collect(),
                vault: prepared.connection.and_then(Result::ok),
                options,
            }))
        });
        guard.commit_on_success(load).await
    }

    /// Loads the configuration once.
    ///
    /// This is for a program that has no credentials, or that ends before they expire: nothing renews the token and the
    /// leases. If a value expires, the load logs one warning (by `tracing`) with the fields, their sources and the
    /// remaining time. [`watch`](Self::watch) keeps a configuration fresh; without it, load again before that time.
    ///
    /// A load leaves nothing behind if it fails, if its future is dropped, or if a validator or a type's `Deserialize`
    /// panics: it revokes the token that it logged in for, and every credential that was issued under it. A supplied
    /// token, or one that a [`Vault`] shares with others, stays valid: then the load shortens each of its leases. A
    /// load that fails waits for this, at most 5 s; one that is dropped leaves it to a task of its runtime.
    ///
    /// # Errors
    /// Every problem at once; see [`Error`].
    pub async fn load(self) -> Result<T, Error> {
        self.load_with_report().await.map(|(config, _)| config)
    }

    /// Loads the configuration once, from a program without an async runtime; see [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load). Inside an async runtime, which it would block, it fails with
    /// [`ErrorKind::Runtime`].
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

    /// Loads the configuration once, and returns a report of where every field came from; see [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_with_report(self) -> Result<(T, Report), Error> {
        let (mut prepared, guard) = Box::pin(self.settings.prepare::<T>(Purpose::Build)).await?;
        let load = Box::pin(async {
            prepared.gather::<T>().await;
            let Some((config, output)) = prepared.build::<T>() else {
                return Err(prepared.failure());
            };
            prepared.warn_of_expiry();
            Ok((config, prepared.report(output.fields)))
        });
        guard.commit_on_success(load).await
    }

    /// Checks a deployment without requesting a credential: logs in, reads every secret, and asks the server whether
    /// the token may request each credential.
    ///
    /// The values are checked against their types and dropped. At the end the check revokes the token that it logged in
    /// for, unless a [`Vault`] shares it with others.
    ///
    /// Validators of structs that hold a credential do not run. A check cannot show that an engine is mounted or that a
    /// role exists: a token that may read every path passes.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn check(self) -> Result<Report, Error> {
        let (mut prepared, guard) = Box::pin(self.settings.prepare::<T>(Purpose::Check)).await?;
        let check = Box::pin(async {
            prepared.fetch(Purpose::Check).await;
            let (_, output) = prepared.read::<T>(Purpose::Check);
            prepared.problems.extend(output.problems);
            match prepared.problems.is_empty() {
                true => Ok(prepared.report(output.fields)),
                false => Err(prepared.error()),
            }
        });
        guard.roll_back_after(check).await
    }

    /// Reads the fields marked for Vault once, as a provider for a figment of your own; see
    /// [`Resolved`].
    ///
    /// Nothing renews the credentials among them, and a failure leaves nothing behind: see
    /// [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load), for the fields marked for Vault. For a value that does not fit the type of its field,
    /// figment's `extract` returns the error.
    pub async fn resolve(mut self) -> Result<Resolved, Error> {
        self.settings.mode = Mode::Vault;
        let (mut prepared, guard) = Box::pin(self.settings.prepare::<T>(Purpose::Provide)).await?;
        prepared.mode = Some("Secrets for a figment are read only from Vault.".to_owned());
        let load = Box::pin(async {
            prepared.gather::<T>().await;
            let (_, output) = prepared.read::<T>(Purpose::Provide);
            let (mismatches, other): (Vec<_>, Vec<_>) = output
                .problems
                .into_iter()
                .partition(|problem| problem.kind() == ErrorKind::WrongType);
            prepared.problems.extend(other);
            if !prepared.problems.is_empty() {
                return Err(prepared.failure());
            }
            prepared.warn_of_expiry();
            let figment = provider::figment(&prepared.slots, &output.shapes, &mismatches);
            Ok(Resolved::new(figment, prepared.report(output.fields)))
        });
        guard.commit_on_success(load).await
    }
}

impl<T> std::fmt::Debug for Loader<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("mode", &self.settings.mode)
            .field("dotenv", &self.settings.dotenv)
            .field("environment", &self.settings.environment)
            .field("vault", &self.settings.vault)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Reads the fields of `T` that are marked for Vault once, as a provider for a figment of your
    /// own; see [`Resolved`]. Nothing renews the credentials among them: see
    /// [`Loader::load`](Loader::load).
    ///
    /// # Errors
    /// Every problem at once; see [`Error`].
    pub async fn resolve<T: VaultConfig>(&self) -> Result<Resolved, Error> {
        let loader = T::loader().vault(self.clone()).environment(self.environment().clone());
        loader.resolve().await
    }
}
