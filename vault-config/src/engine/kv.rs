//! KV version 1 and 2: <https://openbao.org/api-docs/secret/kv/>.

use std::collections::BTreeSet;

use super::declaration::LocalShape;
use super::{
    EngineResponse, FieldScope, Operation, OperationFuture, Part, Refresh, SecretVersion,
    VaultSource, refusal,
};
use crate::error::{Cause, ErrorKind};
use crate::value::Value;
use crate::vault::{Grant, MountKind, Response, Session};

/// `kv = ".."` and its options, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Kv {
    pub path: Option<&'static str>,
    pub key: Option<&'static str>,
    pub mount: Option<&'static str>,
    pub version: Option<u64>,
    pub kv_version: Option<u8>,
    pub whole: bool,
    pub refresh: Option<Refresh>,
}

impl Kv {
    pub(super) fn bind(&self, scope: &FieldScope<'_>) -> Result<VaultSource, Cause> {
        let Some(path) = self.path.or(scope.kv) else {
            return Err(Cause::new(
                ErrorKind::Schema,
                "a bare `kv` takes the path of its struct or of the field that nests it, and neither has one",
                "write kv = \"path\" on the field, on its struct, or on the field that nests the struct",
            ));
        };
        let secret = KvSecret {
            mount: scope.fill(self.mount.or(scope.mount).unwrap_or("secret"))?,
            path: scope.fill(path)?,
            version: self.version,
            kv_version: self.kv_version,
        };
        let key = (!self.whole).then(|| self.key.unwrap_or(scope.field));
        let (label, grant) = (secret.name(), secret.grant());
        let source = VaultSource::new(label, secret, Part::of_key(key), grant);
        Ok(source.with_refresh(self.refresh))
    }

    pub(super) fn shape(&self) -> LocalShape {
        match self.whole {
            true => LocalShape::Map,
            false => LocalShape::OfType,
        }
    }
}

/// Reads one secret of a KV mount.
#[derive(Debug)]
struct KvSecret {
    mount: String,
    path: String,
    version: Option<u64>,
    /// The version of the mount, if the field states it.
    kv_version: Option<u8>,
}

impl Operation for KvSecret {
    /// The mount's version is left out: fields with and without `kv_version` read the same secret.
    fn id(&self) -> String {
        format!("kv {:?}", (&self.mount, &self.path, self.version))
    }

    fn name(&self) -> String {
        let version = self.version.map_or_else(String::new, |n| format!("?version={n}"));
        format!("kv {}/{}{version}", self.mount, self.path)
    }

    fn send<'a>(
        &'a self,
        session: &'a Session<'a>,
        _: &'a BTreeSet<String>,
    ) -> OperationFuture<'a, EngineResponse> {
        Box::pin(read(session, self))
    }

    fn has_changed<'a>(
        &'a self,
        session: &'a Session<'a>,
        version: &'a SecretVersion,
    ) -> OperationFuture<'a, Option<bool>> {
        Box::pin(has_changed(session, self, version))
    }

    fn can_change(&self) -> bool {
        self.version.is_none()
    }

    fn issues_credential(&self) -> bool {
        false
    }
}

impl KvSecret {
    fn grant(&self) -> Grant {
        Grant::read(match self.kv_version {
            Some(1) => self.v1_path(),
            _ => self.v2_path(),
        })
    }

    fn v1_path(&self) -> String {
        format!("{}/{}", self.mount, self.path)
    }

    fn v2_path(&self) -> String {
        format!("{}/data/{}", self.mount, self.path)
    }
}

/// <https://openbao.org/api-docs/secret/kv/kv-v2/#read-secret-metadata>
async fn has_changed(
    session: &Session<'_>,
    secret: &KvSecret,
    version: &SecretVersion,
) -> Result<Option<bool>, Cause> {
    let path = format!("{}/metadata/{}", secret.mount, secret.path);
    let reply = session.get(&path, None).await?;
    if reply.is_miss() {
        return Ok((reply.status == 404).then_some(true));
    }
    if !reply.ok() {
        return Err(reply.into_cause());
    }
    let current = reply.data().get("current_version").and_then(Value::as_u64);
    let versions = reply.data().get("versions");
    let newest = versions.and_then(|versions| versions.get(&version.number.to_string()));
    // A time of deletion may be in the future. Only a read shows whether it has passed.
    let is_kept = newest.is_some_and(|newest| {
        newest.get("deletion_time").and_then(Value::as_str) == Some("")
            && newest.get("destroyed").and_then(Value::as_bool) == Some(false)
    });
    let created = newest.and_then(|newest| newest.get("created_time")?.as_str());
    let is_another = created.zip(version.created.as_deref()).is_some_and(|(now, then)| now != then);
    Ok(Some(current != Some(version.number) || is_another || !is_kept))
}

/// Version 2 is tried first. A request for the mount's real version is only made after a miss.
async fn read(session: &Session<'_>, secret: &KvSecret) -> Result<EngineResponse, Cause> {
    let version = match secret.kv_version {
        Some(version) => Some(version),
        None => session.known_kv_version(&secret.mount),
    };
    match version {
        Some(1) => read_v1(session, secret).await,
        _ => read_v2(session, secret).await,
    }
}

async fn read_v2(session: &Session<'_>, secret: &KvSecret) -> Result<EngineResponse, Cause> {
    let query = secret.version.map(|version| ("version", version.to_string()));
    let mut reply = session.get(&secret.v2_path(), query).await?;
    if reply.ok()
        && let Some(number) = version_number(&reply)
    {
        let created = reply.data().get("metadata").and_then(|it| it.get("created_time")?.as_str());
        let created = created.map(str::to_owned);
        let data = reply.take_data().and_then(|mut data| data.remove("data")).unwrap_or_default();
        let version = SecretVersion { number, created };
        return Ok(EngineResponse { version: Some(version), ..EngineResponse::new(data, reply) });
    }
    if reply.no_route() {
        return Err(no_mount(secret));
    }
    if !reply.ok() {
        if let Some(cause) = deleted_or_destroyed(&reply, secret) {
            return Err(cause);
        }
        if !reply.is_miss() {
            return Err(reply.into_cause());
        }
    }
    let mount = session.mount_kind(&secret.mount, &secret.path).await?;
    match (mount.kv_version(), secret.kv_version) {
        (Some(1), None) => read_v1(session, secret).await,
        (Some(1), Some(_)) => Err(wrong_version(secret, 1)),
        // Only a mount of version 1 may answer like this, for a secret that is stored at `data/..`. From any
        // other mount the response is invalid. It does not mean that the secret is absent.
        _ if reply.ok() => Err(misshapen()),
        (Some(_), _) => Err(miss(reply, &secret.v2_path(), secret, &mount)),
        (None, None) if mount.is_unknown() => guess_v1(session, secret, reply, &mount).await,
        (None, _) => Err(miss(reply, &secret.v2_path(), secret, &mount)),
    }
}

/// For a mount whose version the token may not see: version 1 is tried too. If the secret is not found
/// there either, the error is that of version 2.
async fn guess_v1(
    session: &Session<'_>,
    secret: &KvSecret,
    first: Response,
    mount: &MountKind,
) -> Result<EngineResponse, Cause> {
    if secret.version.is_none() {
        let reply = session.get(&secret.v1_path(), None).await?;
        if reply.ok() {
            return unversioned(reply);
        }
        if reply.status == 403 && first.status == 404 {
            let cause = reply.denied(&Grant::read(secret.v1_path()));
            return Err(suggest_shorter_path(cause, &secret.v1_path(), secret));
        }
        if !reply.is_miss() {
            return Err(reply.into_cause());
        }
    }
    Err(miss(first, &secret.v2_path(), secret, mount))
}

async fn read_v1(session: &Session<'_>, secret: &KvSecret) -> Result<EngineResponse, Cause> {
    if secret.version.is_some() {
        return Err(Cause::new(
            ErrorKind::WrongKvVersion,
            format!("{}/ is KV version 1, which keeps no versions of a secret", secret.mount),
            "remove `version`, or move the secret to a KV version 2 mount",
        ));
    }
    let reply = session.get(&secret.v1_path(), None).await?;
    if reply.ok() {
        return unversioned(reply);
    }
    if reply.no_route() {
        return Err(no_mount(secret));
    }
    if !reply.is_miss() {
        return Err(reply.into_cause());
    }
    let mount = session.mount_kind(&secret.mount, &secret.path).await?;
    match (mount.kv_version(), secret.kv_version) {
        (Some(2), Some(_)) => Err(wrong_version(secret, 2)),
        // The mount was upgraded after its version was cached.
        (Some(2), None) => Box::pin(read_v2(session, secret)).await,
        _ => Err(miss(reply, &secret.v1_path(), secret, &mount)),
    }
}

/// The secret's version, if the response has the shape of KV version 2.
fn version_number(reply: &Response) -> Option<u64> {
    let version = reply.data().get("metadata")?.get("version")?.as_u64()?;
    reply.data().get("data")?.as_map().map(|_| version)
}

fn unversioned(mut reply: Response) -> Result<EngineResponse, Cause> {
    match reply.take_data() {
        Some(data) if data.as_map().is_some() => Ok(EngineResponse::new(data, reply)),
        _ => Err(refusal::without_data("read")),
    }
}

/// The server answers a read of a deleted or destroyed version with 404 and the version's metadata.
fn deleted_or_destroyed(reply: &Response, secret: &KvSecret) -> Option<Cause> {
    let metadata = reply.data().get("metadata")?;
    let version = metadata.get("version")?.as_u64()?;
    let (mount, path) = (&secret.mount, &secret.path);
    let rewrite = match secret.version {
        None => format!("write the secret again: vault kv put -mount={mount} {path} .."),
        Some(_) => "name another version, or remove `version` for the newest".to_owned(),
    };
    if metadata.get("destroyed").and_then(Value::as_bool) == Some(true) {
        let what = format!("version {version} of the secret is destroyed");
        return Some(Cause::new(ErrorKind::Destroyed, what, rewrite));
    }
    let deleted =
        metadata.get("deletion_time").and_then(Value::as_str).filter(|t| !t.is_empty())?;
    Some(Cause::new(
        ErrorKind::Deleted,
        format!("version {version} of the secret was deleted at {deleted}"),
        format!(
            "restore it: vault kv undelete -mount={mount} -versions={version} {path}\nor {rewrite}"
        ),
    ))
}

fn misshapen() -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer does not have the shape of KV version 2: a map in data.data, a number in \
         data.metadata.version",
        "a proxy on the way may have changed it: try the address with curl",
    )
}

fn wrong_version(secret: &KvSecret, real: u8) -> Cause {
    let declared = 3 - real;
    Cause::new(
        ErrorKind::WrongKvVersion,
        format!(
            "{}/ is KV version {real}, but the field has kv_version = {declared}",
            secret.mount
        ),
        format!(
            "write kv_version = {real}, or remove it: the version is then read from the server"
        ),
    )
}

fn no_mount(secret: &KvSecret) -> Cause {
    let mount = &secret.mount;
    Cause::new(
        ErrorKind::WrongMount,
        format!("no engine is mounted at {mount}/"),
        format!(
            "correct the mount with mount = \"..\", or enable an engine there: vault secrets enable -path={mount} kv-v2"
        ),
    )
}

fn miss(reply: Response, requested: &str, secret: &KvSecret, mount: &MountKind) -> Cause {
    let cause = match reply.status {
        403 => denied(&reply, requested, secret, mount),
        _ => nothing_there(secret, mount),
    };
    match cause.kind {
        ErrorKind::WrongMount => cause,
        _ => suggest_shorter_path(cause, requested, secret),
    }
}

/// A path that repeats its mount or `data/` is wrong whatever the policies allow, so that help comes first.
fn suggest_shorter_path(cause: Cause, requested: &str, secret: &KvSecret) -> Cause {
    let Some(shorter) = shorter_path(secret) else { return cause };
    let usual = format!("or {}", cause.help);
    cause
        .with_help(format!(
            "the mount (and data/ in KV version 2) is added to the path: {requested} was requested; did you mean kv = \"{shorter}\"?"
        ))
        .hint(&usual)
}

fn denied(reply: &Response, requested: &str, secret: &KvSecret, mount: &MountKind) -> Cause {
    let cause = reply.denied(&Grant::read(requested));
    match mount.is_unknown() {
        true => cause.hint(&format!(
            "or no engine is mounted at {}/: the server answers 403 for that too",
            secret.mount
        )),
        false => cause,
    }
}

fn nothing_there(secret: &KvSecret, mount: &MountKind) -> Cause {
    let what = match mount {
        MountKind::Kv(engine) => match secret.version {
            Some(version) => {
                format!("there is no version {version} of it, or nothing is stored there")
            }
            None => format!("nothing is stored there; {}/ is KV version {engine}", secret.mount),
        },
        MountKind::Other(engine) => {
            return Cause::new(
                ErrorKind::WrongMount,
                format!("{}/ is a {engine} engine, not KV", secret.mount),
                "name the KV engine's mount with mount = \"..\"",
            );
        }
        MountKind::Unknown => "nothing is stored there".to_owned(),
    };
    let (mount, path) = (&secret.mount, &secret.path);
    let help = match secret.version {
        None => format!("store it: vault kv put -mount={mount} {path} ..; or correct the path"),
        Some(_) => format!(
            "name an existing version: vault kv metadata get -mount={mount} {path}; or remove `version` \
             for the newest"
        ),
    };
    Cause::new(ErrorKind::PathAbsent, what, help)
}

/// The path without the mount's name and `data/` or `metadata/`, if it starts with one of them.
fn shorter_path(secret: &KvSecret) -> Option<&str> {
    let path = secret.path.as_str();
    let after_mount = path.strip_prefix(secret.mount.as_str()).and_then(|p| p.strip_prefix('/'));
    let rest = after_mount.unwrap_or(path);
    let rest = ["data/", "metadata/"].iter().find_map(|it| rest.strip_prefix(it)).unwrap_or(rest);
    (rest != path).then_some(rest)
}
