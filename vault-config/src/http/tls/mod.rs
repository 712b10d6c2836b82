//! Certificates: which are trusted, which one is presented, and why a server's was refused.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use reqwest::ClientBuilder;

use crate::error::{Cause, ErrorKind};
use crate::source::env::{OfficialEnv, truth};
use crate::source::file;

#[cfg(feature = "rustls")]
mod with_rustls;
#[cfg(feature = "rustls")]
use with_rustls as backend;
#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
mod with_native_tls;
#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
use with_native_tls as backend;
#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
mod without_tls;
#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
use without_tls as backend;

/// PEM text, and the setting that names it.
#[derive(Clone)]
#[cfg_attr(not(any(feature = "rustls", feature = "native-tls")), allow(dead_code))]
pub(crate) struct Pem {
    pub(crate) bytes: Vec<u8>,
    pub(crate) origin: String,
    /// The file it is read from, again after each change. `None` for a pipe, which can be read once.
    file: Option<PathBuf>,
}

impl Pem {
    pub(crate) fn given(bytes: Vec<u8>, origin: String) -> Self {
        Self { bytes, origin, file: None }
    }

    fn read_again(&self) -> Result<Self, Cause> {
        match &self.file {
            // A pipe would block each later check.
            Some(path) if file::is_pipe(path) => {
                Err(unreadable(path, &"it is a pipe now", self.origin.clone()))
            }
            Some(path) => read_named(path, self.origin.clone()),
            None => Ok(self.clone()),
        }
    }
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.origin)
    }
}

#[derive(Debug, Clone, Default)]
#[cfg_attr(not(any(feature = "rustls", feature = "native-tls")), allow(dead_code))]
pub(crate) struct Tls {
    /// These authorities and no others; the system's when empty.
    pub(crate) authorities: Vec<Pem>,
    /// The client's certificate chain and its key.
    pub(crate) identity: Option<(Pem, Pem)>,
    pub(crate) server_name: Option<String>,
    pub(crate) skip_verify: bool,
}

/// The modification times and sizes of the files: they show a change without reading.
pub(crate) type Stamps = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// The files that the builder names.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) authorities: Vec<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    pub(crate) fn is_default(&self) -> bool {
        self.authorities.is_empty() && self.identity.is_none()
    }

    pub(crate) fn stamps(&self) -> Stamps {
        let identity = self.identity.iter().flat_map(|(chain, key)| [chain, key]);
        let pems = self.authorities.iter().chain(identity);
        pems.filter_map(|pem| pem.file.clone())
            .map(|file| {
                let metadata = std::fs::metadata(&file).ok();
                let stamp = metadata.and_then(|m| Some((m.modified().ok()?, m.len())));
                (file, stamp)
            })
            .collect()
    }

    pub(crate) fn read_again(&self) -> Result<Self, Cause> {
        let authorities = self.authorities.iter().map(Pem::read_again).collect::<Result<_, _>>()?;
        let identity = match &self.identity {
            Some((chain, key)) => Some((chain.read_again()?, key.read_again()?)),
            None => None,
        };
        Ok(Self { authorities, identity, ..self.clone() })
    }
}

pub(crate) fn from_builder(
    mut authorities: Vec<Pem>,
    mut identity: Option<(Pem, Pem)>,
    files: &Files,
) -> Result<Tls, Cause> {
    for file in &files.authorities {
        authorities.push(read_named(file, "Vault::builder().ca_certificate_file(..)".to_owned())?);
    }
    if let Some((chain, key)) = &files.identity {
        let read =
            |file| read_named(file, "Vault::builder().client_certificate_files(..)".to_owned());
        identity = Some((read(chain)?, read(key)?));
    }
    Ok(Tls { authorities, identity, ..Tls::default() })
}

/// Authorities: `CACERT`, else `CACERT_BYTES`, else `CAPATH`, as the official client chooses.
pub(crate) fn from_environment(env: &OfficialEnv<'_>) -> Result<Tls, Cause> {
    let skip_verify = env.parse("SKIP_VERIFY", |text| {
        let kept = "certificates stay verified unless it is true";
        truth(text).map_err(|what| format!("{what}; {kept}"))
    })?;
    Ok(Tls {
        authorities: authorities(env)?,
        identity: identity(env)?,
        server_name: env.parse("TLS_SERVER_NAME", |name| Ok(name.to_owned()))?,
        skip_verify: skip_verify.unwrap_or(false),
    })
}

fn authorities(env: &OfficialEnv<'_>) -> Result<Vec<Pem>, Cause> {
    if let Some((variable, path)) = env.get("CACERT")? {
        return Ok(vec![read(Path::new(path.as_str()), &variable)?]);
    }
    if let Some((variable, bytes)) = env.get("CACERT_BYTES")? {
        return Ok(vec![checked(bytes.as_bytes().to_vec(), format!("env {variable}"))?]);
    }
    match env.get("CAPATH")? {
        Some((variable, path)) => read_folder(Path::new(path.as_str()), &variable),
        None => Ok(Vec::new()),
    }
}

fn identity(env: &OfficialEnv<'_>) -> Result<Option<(Pem, Pem)>, Cause> {
    let either = |file: &str, bytes: &str| -> Result<Option<(String, Pem)>, Cause> {
        if let Some((variable, path)) = env.get(file)? {
            let pem = read(Path::new(path.as_str()), &variable)?;
            return Ok(Some((variable, pem)));
        }
        let Some((variable, bytes)) = env.get(bytes)? else { return Ok(None) };
        let pem = checked(bytes.as_bytes().to_vec(), format!("env {variable}"))?;
        Ok(Some((variable, pem)))
    };
    match (either("CLIENT_CERT", "CLIENT_CERT_BYTES")?, either("CLIENT_KEY", "CLIENT_KEY_BYTES")?) {
        (None, None) => Ok(None),
        (Some((_, certificate)), Some((_, key))) => Ok(Some((certificate, key))),
        (Some((variable, _)), None) => Err(half(&variable, "key", "VAULT_CLIENT_KEY")),
        (None, Some((variable, _))) => Err(half(&variable, "certificate", "VAULT_CLIENT_CERT")),
    }
}

fn half(variable: &str, other: &str, name: &str) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!("a client certificate needs its {other} too"),
        format!("set {name}, or unset {variable}"),
    )
    .at(format!("env {variable}"))
}

pub(crate) fn read(path: &Path, variable: &str) -> Result<Pem, Cause> {
    read_named(path, format!("env {variable}"))
}

fn read_named(path: &Path, origin: String) -> Result<Pem, Cause> {
    let again = (!file::is_pipe(path)).then(|| path.to_owned());
    let mut bytes = file::read_now(path, file::MOST_OF_PEM)
        .map_err(|error| unreadable(path, &error, origin.clone()))?;
    Ok(Pem { file: again, ..checked(std::mem::take(&mut *bytes), origin)? })
}

fn read_folder(path: &Path, variable: &str) -> Result<Vec<Pem>, Cause> {
    let origin = format!("env {variable}");
    let entries =
        std::fs::read_dir(path).map_err(|error| unreadable(path, &error, origin.clone()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Cause::new(
            ErrorKind::Setting,
            "the folder holds no file",
            "put the authorities' PEM files there",
        )
        .at(origin));
    }
    files.iter().map(|file| read(file, variable)).collect()
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display, origin: String) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        format!("{} cannot be read: {error}", path.display()),
        "check the path, and that this process may read the PEM file",
    )
    .at(origin)
}

fn checked(bytes: Vec<u8>, origin: String) -> Result<Pem, Cause> {
    let marked = bytes.windows(11).any(|window| window == b"-----BEGIN ");
    match marked {
        true => Ok(Pem::given(bytes, origin)),
        false => Err(not_pem(origin)),
    }
}

fn not_pem(origin: String) -> Cause {
    Cause::new(
        ErrorKind::Setting,
        "holds no PEM certificate or key",
        "PEM starts with a line such as -----BEGIN CERTIFICATE-----",
    )
    .at(origin)
}

/// The sentence for a refused certificate, if that is the error.
pub(crate) fn untrusted(error: &reqwest::Error) -> Option<Cause> {
    let what = backend::verdict(error)?;
    let help = match what {
        Verdict::Unknown => {
            "name the authority that signed it: VAULT_CACERT=/path/ca.pem (or VAULT_CACERT_BYTES, VAULT_CAPATH)"
        }
        Verdict::Expired => "renew the server's certificate, and check the clocks of both machines",
        Verdict::WrongName => {
            "use an address whose host is in the certificate, or set VAULT_TLS_SERVER_NAME to a name in it"
        }
        Verdict::Other(_) => "replace the server's certificate",
    };
    Some(Cause::new(ErrorKind::Untrusted, what.sentence(), help))
}

#[cfg_attr(not(feature = "rustls"), allow(dead_code))]
enum Verdict {
    Unknown,
    Expired,
    WrongName,
    Other(String),
}

impl Verdict {
    fn sentence(&self) -> String {
        match self {
            Self::Unknown => {
                "the server's certificate is signed by an authority that is not trusted".to_owned()
            }
            Self::Expired => "the server's certificate is expired, or not valid yet".to_owned(),
            Self::WrongName => "the server's certificate is for another name".to_owned(),
            Self::Other(text) => format!("the server's certificate is refused: {text}"),
        }
    }
}

/// Adds the settings to a client for an `https` address.
pub(crate) fn apply(tls: &Tls, builder: ClientBuilder) -> Result<ClientBuilder, Cause> {
    backend::apply(tls, builder)
}

/// Loading authorities takes time that a client for plain http does not need.
pub(crate) fn without(builder: ClientBuilder) -> ClientBuilder {
    backend::without(builder)
}
