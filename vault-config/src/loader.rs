//! From sources to a struct, or to every problem at once.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use figment::Figment;

use crate::VaultConfig;
use crate::error::{Cause, Error, ErrorKind};
use crate::http::settings;
use crate::live::{Live, Options, Start};
use crate::load::mode::Mode;
use crate::load::provider::{self, Resolved};
use crate::load::{LoadSettings, Purpose};
use crate::report::Report;
use crate::source::dotenv::DotenvFile;
use crate::source::env::Environment;
use crate::vault::Vault;

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
    settings: LoadSettings,
    watch: Options,
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
            watch: Options { every: Duration::from_secs(300), overlap: None },
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
        self.settings.figment = Some(figment);
        self
    }

    /// Replaces the struct's own `env_prefix`.
    pub fn env_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.env_prefix = Some(prefix.into());
        self
    }

    /// Reads these variables instead of the process environment, `VAULT_*` included.
    pub fn env_source<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.settings.environment = Environment::given(variables);
        self
    }

    pub(crate) fn environment(mut self, environment: Environment) -> Self {
        self.settings.environment = environment;
        self
    }

    /// Reads this `.env` file, which must exist: a regular file of at most 1 MiB, or a pipe that
    /// answers. Default: `.env` in the working directory, if there is one.
    pub fn dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.dotenv = DotenvFile::Path(path.into());
        self
    }

    /// Reads no `.env` file.
    pub fn without_dotenv(mut self) -> Self {
        self.settings.dotenv = DotenvFile::None;
        self
    }

    /// Chooses the mode. With [`Mode::Auto`], the default, `VAULT_CONFIG_MODE` (`auto`, `vault`,
    /// `local`) decides first.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// Uses this connection instead of the one the environment describes.
    pub fn vault(mut self, vault: Vault) -> Self {
        self.settings.vault = Some(vault);
        self
    }

    /// Whether the process environment may override a field marked for Vault. Default: yes.
    pub fn env_overrides(mut self, allowed: bool) -> Self {
        self.settings.env_overrides = allowed;
        self
    }

    /// Fills `{name}` in paths. Without it, `VAULT_CONFIG_VAR_NAME` does.
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.variables.insert(name.into(), value.into());
        self
    }

    /// How long to wait for a server that is not up yet: its connection is refused, it is sealed, a
    /// standby, or without a leader. Default: 30 s. Zero fails at once, and so does any other
    /// problem. At most 24 h.
    pub fn startup_deadline(mut self, deadline: Duration) -> Self {
        self.settings.startup_deadline = deadline.min(settings::LONGEST_TIMEOUT);
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
        let (mut prepared, guard) = Box::pin(self.settings.prepare::<T>(Purpose::Build)).await?;
        let load = Box::pin(async {
            prepared.gather::<T>().await;
            let Some((config, output)) = prepared.build::<T>() else {
                return Err(prepared.failure());
            };
            Ok(Live::start(Start {
                name: prepared.name,
                config,
                slots: prepared.slots,
                spans: output.spans,
                fetched: prepared.fetched.into_values().collect(),
                vault: prepared.connection.and_then(Result::ok),
                options,
            }))
        });
        guard.hand_over(load).await
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
        let (mut prepared, guard) = Box::pin(self.settings.prepare::<T>(Purpose::Build)).await?;
        let load = Box::pin(async {
            prepared.gather::<T>().await;
            let Some((config, output)) = prepared.build::<T>() else {
                return Err(prepared.failure());
            };
            prepared.warn_of_expiry();
            Ok((config, prepared.report(output.fields)))
        });
        guard.hand_over(load).await
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
        guard.end_after(check).await
    }

    /// Reads the fields marked for Vault once, for a figment of your own; see [`Resolved`]. Nothing
    /// renews what it gives, and a failure leaves nothing behind: see [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load), for the fields marked for Vault. A value that does not read as its
    /// field's type is told by figment's `extract` instead, with figment's own words.
    pub async fn resolve(mut self) -> Result<Resolved, Error> {
        self.settings.mode = Mode::Vault;
        let (mut prepared, guard) = Box::pin(self.settings.prepare::<T>(Purpose::Provide)).await?;
        prepared.mode = Some("Secrets for a figment are read from Vault alone.".to_owned());
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
        guard.hand_over(load).await
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
