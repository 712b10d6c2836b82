//! KV version 1 and 2: <https://openbao.org/api-docs/secret/kv/>.

use std::sync::Arc;

use super::{Answer, Ask, Asked, Declare, Engine, Refresh, Request, Scope, SecretVersion, no_data};
use crate::error::{Cause, ErrorKind};
use crate::value::Value;
use crate::vault::{Grant, MountKind, Response, Session};

/// `kv = ".."` and its companions, as written.
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

/// One secret of a KV mount.
#[derive(Debug, Clone)]
struct Location {
    mount: String,
    path: String,
    version: Option<u64>,
    kv_version: Option<u8>,
}

#[derive(Debug)]
struct Field {
    location: Location,
    key: Option<String>,
    refresh: Option<Refresh>,
}

impl Declare for Kv {
    fn bind(&self, scope: &Scope<'_>) -> Result<Arc<dyn Engine>, Cause> {
        let Some(path) = self.path.or(scope.kv) else {
            return Err(Cause::new(
                ErrorKind::Schema,
                "a bare `kv` takes the path of its struct or of the field that nests it, and neither has one",
                "write kv = \"path\" on the field, on its struct, or on the field that nests the struct",
            ));
        };
        let location = Location {
            mount: scope.fill(self.mount.or(scope.mount).unwrap_or("secret"))?,
            path: scope.fill(path)?,
            version: self.version,
            kv_version: self.kv_version,
        };
        let key = (!self.whole).then(|| self.key.unwrap_or(scope.field).to_owned());
        Ok(Arc::new(Field { location, key, refresh: self.refresh }))
    }
}

impl Engine for Field {
    fn source(&self) -> String {
        let key = self.key.as_ref().map_or_else(String::new, |key| format!("#{key}"));
        format!("kv {}{key}", self.location.place())
    }

    fn request(&self) -> Request {
        Request::new(self.location.clone())
    }

    fn pick(&self, answer: &Answer) -> Result<Value, Cause> {
        match &self.key {
            Some(key) => answer.key(key),
            None => Ok(answer.data.clone()),
        }
    }

    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn refresh(&self) -> Option<Refresh> {
        self.refresh
    }

    fn grant(&self) -> Grant {
        let Location { mount, path, kv_version, .. } = &self.location;
        match kv_version {
            Some(1) => Grant::read(format!("{mount}/{path}")),
            _ => Grant::read(format!("{mount}/data/{path}")),
        }
    }
}

impl Ask for Location {
    /// One secret is one secret, whether or not a field says what version its mount is.
    fn id(&self) -> String {
        format!("kv {:?}", (&self.mount, &self.path, self.version))
    }

    fn name(&self) -> String {
        format!("kv {}", self.place())
    }

    fn send<'a>(&'a self, session: &'a Session<'a>) -> Asked<'a, Answer> {
        Box::pin(read(session, self))
    }

    fn has_changed<'a>(
        &'a self,
        session: &'a Session<'a>,
        version: &'a SecretVersion,
    ) -> Asked<'a, Option<bool>> {
        Box::pin(has_changed(session, self, version))
    }

    fn can_change(&self) -> bool {
        self.version.is_none()
    }

    fn mints(&self) -> bool {
        false
    }
}

impl Location {
    fn place(&self) -> String {
        let version = self.version.map_or_else(String::new, |n| format!("?version={n}"));
        format!("{}/{}{version}", self.mount, self.path)
    }

    fn v1(&self) -> String {
        format!("{}/{}", self.mount, self.path)
    }

    fn v2(&self) -> String {
        format!("{}/data/{}", self.mount, self.path)
    }
}

/// <https://openbao.org/api-docs/secret/kv/kv-v2/#read-secret-metadata>
async fn has_changed(
    session: &Session<'_>,
    location: &Location,
    version: &SecretVersion,
) -> Result<Option<bool>, Cause> {
    let path = format!("{}/metadata/{}", location.mount, location.path);
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
    // A time of deletion may lie ahead: whether it has come, only a reading tells.
    let lives = newest.is_some_and(|newest| {
        newest.get("deletion_time").and_then(Value::as_str) == Some("")
            && newest.get("destroyed").and_then(Value::as_bool) == Some(false)
    });
    let created = newest.and_then(|newest| newest.get("created_time")?.as_str());
    let is_another = created.zip(version.created.as_deref()).is_some_and(|(now, then)| now != then);
    Ok(Some(current != Some(version.number) || is_another || !lives))
}

/// Version 2 first; the mount's real version is asked for on the first miss only.
async fn read(session: &Session<'_>, location: &Location) -> Result<Answer, Cause> {
    let version = match location.kv_version {
        Some(version) => Some(version),
        None => session.known_kv_version(&location.mount),
    };
    match version {
        Some(1) => read_v1(session, location).await,
        _ => read_v2(session, location).await,
    }
}

async fn read_v2(session: &Session<'_>, location: &Location) -> Result<Answer, Cause> {
    let query = location.version.map(|version| ("version", version.to_string()));
    let mut reply = session.get(&location.v2(), query).await?;
    if reply.ok()
        && let Some(version) = versioned(&reply)
    {
        let created = reply.data().get("metadata").and_then(|it| it.get("created_time")?.as_str());
        let created = created.map(str::to_owned);
        let data = reply.take_data().and_then(|mut data| data.remove("data")).unwrap_or_default();
        return Ok(Answer { created, ..Answer::new(data, Some(version), reply) });
    }
    if reply.no_route() {
        return Err(no_mount(location));
    }
    if !reply.ok() {
        if let Some(cause) = gone(&reply, location) {
            return Err(cause);
        }
        if !reply.is_miss() {
            return Err(reply.into_cause());
        }
    }
    let mount = session.mount_kind(&location.mount, &location.path).await?;
    match (mount.kv_version(), location.kv_version) {
        (Some(1), None) => read_v1(session, location).await,
        (Some(1), Some(_)) => Err(wrong_version(location, 1)),
        // A version 1 secret stored at `data/..` looks like this; on any other mount it is no answer,
        // and never absence.
        _ if reply.ok() => Err(misshapen()),
        (Some(_), _) => Err(miss(reply, &location.v2(), location, &mount)),
        (None, None) if mount.is_unknown() => guess_v1(session, location, reply, &mount).await,
        (None, _) => Err(miss(reply, &location.v2(), location, &mount)),
    }
}

/// The mount's version cannot be learned: version 1 is tried too, and what version 2 said stands.
async fn guess_v1(
    session: &Session<'_>,
    location: &Location,
    first: Response,
    mount: &MountKind,
) -> Result<Answer, Cause> {
    if location.version.is_none() {
        let reply = session.get(&location.v1(), None).await?;
        if reply.ok() {
            return unversioned(reply);
        }
        if reply.status == 403 && first.status == 404 {
            let cause = reply.denied(&Grant::read(location.v1()));
            return Err(likelier(cause, &location.v1(), location));
        }
        if !reply.is_miss() {
            return Err(reply.into_cause());
        }
    }
    Err(miss(first, &location.v2(), location, mount))
}

async fn read_v1(session: &Session<'_>, location: &Location) -> Result<Answer, Cause> {
    if location.version.is_some() {
        return Err(Cause::new(
            ErrorKind::WrongKvVersion,
            format!("{}/ is KV version 1, which keeps no versions of a secret", location.mount),
            "take `version` away, or move the secret to a KV version 2 mount",
        ));
    }
    let reply = session.get(&location.v1(), None).await?;
    if reply.ok() {
        return unversioned(reply);
    }
    if reply.no_route() {
        return Err(no_mount(location));
    }
    if !reply.is_miss() {
        return Err(reply.into_cause());
    }
    let mount = session.mount_kind(&location.mount, &location.path).await?;
    match (mount.kv_version(), location.kv_version) {
        (Some(2), Some(_)) => Err(wrong_version(location, 2)),
        // It was version 1 when that was learned, and has been upgraded since.
        (Some(2), None) => Box::pin(read_v2(session, location)).await,
        _ => Err(miss(reply, &location.v1(), location, &mount)),
    }
}

/// The secret's version, if the answer is of version 2's shape.
fn versioned(reply: &Response) -> Option<u64> {
    let version = reply.data().get("metadata")?.get("version")?.as_u64()?;
    reply.data().get("data")?.as_map().map(|_| version)
}

fn unversioned(mut reply: Response) -> Result<Answer, Cause> {
    match reply.take_data() {
        Some(data) if data.as_map().is_some() => Ok(Answer::new(data, None, reply)),
        _ => Err(no_data("read")),
    }
}

/// A deleted or destroyed version answers 404 with its metadata.
fn gone(reply: &Response, location: &Location) -> Option<Cause> {
    let metadata = reply.data().get("metadata")?;
    let version = metadata.get("version")?.as_u64()?;
    let (mount, path) = (&location.mount, &location.path);
    let rewrite = match location.version {
        None => format!("write the secret again: vault kv put -mount={mount} {path} .."),
        Some(_) => "name another version, or take `version` away for the newest".to_owned(),
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
            "bring it back: vault kv undelete -mount={mount} -versions={version} {path}\nor {rewrite}"
        ),
    ))
}

fn misshapen() -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        "the answer is not of the shape that KV version 2 gives: a map in data.data, a number in \
         data.metadata.version",
        "something between here and the server may have changed it: try the address with curl",
    )
}

fn wrong_version(location: &Location, real: u8) -> Cause {
    let declared = 3 - real;
    Cause::new(
        ErrorKind::WrongKvVersion,
        format!(
            "{}/ is KV version {real}, and the field says kv_version = {declared}",
            location.mount
        ),
        format!(
            "say kv_version = {real}, or leave it out: the version is then learned from the server"
        ),
    )
}

fn no_mount(location: &Location) -> Cause {
    let mount = &location.mount;
    Cause::new(
        ErrorKind::WrongMount,
        format!("no engine is mounted at {mount}/"),
        format!(
            "name the right mount with mount = \"..\", or mount one: vault secrets enable -path={mount} kv-v2"
        ),
    )
}

fn miss(reply: Response, wire: &str, location: &Location, mount: &MountKind) -> Cause {
    let cause = match reply.status {
        403 => denied(&reply, wire, location, mount),
        _ => nothing_there(location, mount),
    };
    match cause.kind {
        ErrorKind::WrongMount => cause,
        _ => likelier(cause, wire, location),
    }
}

/// A path that repeats what is added to it leads nowhere, whatever a policy allows and whatever is stored.
fn likelier(cause: Cause, wire: &str, location: &Location) -> Cause {
    let Some(shorter) = repeated(location) else { return cause };
    let usual = format!("or {}", cause.help);
    cause
        .with_help(format!(
            "the path repeats what is added to it: {wire} was asked for; did you mean kv = \"{shorter}\"?"
        ))
        .hint(&usual)
}

fn denied(reply: &Response, wire: &str, location: &Location, mount: &MountKind) -> Cause {
    let cause = reply.denied(&Grant::read(wire));
    match mount.is_unknown() {
        true => cause.hint(&format!(
            "or no engine is mounted at {}/: the server answers 403 for that too",
            location.mount
        )),
        false => cause,
    }
}

fn nothing_there(location: &Location, mount: &MountKind) -> Cause {
    let what = match mount {
        MountKind::Kv(engine) => match location.version {
            Some(version) => {
                format!("there is no version {version} of it, or nothing is stored there")
            }
            None => format!("nothing is stored there; {}/ is KV version {engine}", location.mount),
        },
        MountKind::Other(engine) => {
            return Cause::new(
                ErrorKind::WrongMount,
                format!("{}/ is a {engine} engine, not KV", location.mount),
                "name the KV engine's mount with mount = \"..\"",
            );
        }
        MountKind::Unknown => "nothing is stored there".to_owned(),
    };
    let (mount, path) = (&location.mount, &location.path);
    let help = match location.version {
        None => format!("store it: vault kv put -mount={mount} {path} ..; or name the right path"),
        Some(_) => format!(
            "name a version that is there: vault kv metadata get -mount={mount} {path}; or take `version` away \
             for the newest"
        ),
    };
    Cause::new(ErrorKind::PathAbsent, what, help)
}

/// The path without the mount's name and `data/`, if it starts with either.
fn repeated(location: &Location) -> Option<&str> {
    let path = location.path.as_str();
    let after_mount = path.strip_prefix(location.mount.as_str()).and_then(|p| p.strip_prefix('/'));
    let rest = after_mount.unwrap_or(path);
    let rest = ["data/", "metadata/"].iter().find_map(|it| rest.strip_prefix(it)).unwrap_or(rest);
    (rest != path).then_some(rest)
}
