//! Any engine by its logical path: a read, with the lease the answer names.

use std::sync::Arc;

use super::{Answer, Ask, Asked, Declare, Engine, Grant, Refresh, Request, Scope, no_data};
use crate::error::{Cause, ErrorKind};
use crate::value::Value;
use crate::vault::Session;

/// `read = "path"`, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Read {
    pub path: &'static str,
    pub key: Option<&'static str>,
    pub refresh: Option<Refresh>,
}

#[derive(Debug)]
struct Field {
    path: String,
    key: Option<&'static str>,
    refresh: Option<Refresh>,
}

impl Declare for Read {
    fn bind(&self, scope: &Scope<'_>) -> Result<Arc<dyn Engine>, Cause> {
        Ok(Arc::new(Field { path: scope.fill(self.path)?, key: self.key, refresh: self.refresh }))
    }
}

impl Engine for Field {
    fn source(&self) -> String {
        let key = self.key.map_or_else(String::new, |key| format!("#{key}"));
        format!("read {}{key}", self.path)
    }

    fn request(&self) -> Request {
        Request::new(Path(self.path.clone()))
    }

    fn pick(&self, answer: &Answer) -> Result<Value, Cause> {
        match self.key {
            Some(key) => answer.key(key),
            None => Ok(answer.data.clone()),
        }
    }

    fn key(&self) -> Option<&str> {
        self.key
    }

    fn refresh(&self) -> Option<Refresh> {
        self.refresh
    }

    fn grant(&self) -> Grant {
        Grant::read(self.path.clone())
    }
}

/// A read of a path just as it is.
#[derive(Debug)]
pub(super) struct Path(pub(super) String);

impl Ask for Path {
    fn id(&self) -> String {
        format!("read {}", self.0)
    }

    fn name(&self) -> String {
        self.0.clone()
    }

    fn send<'a>(&'a self, session: &'a Session<'a>) -> Asked<'a, Answer> {
        Box::pin(read(session, &self.0))
    }
}

async fn read(session: &Session<'_>, path: &str) -> Result<Answer, Cause> {
    let mut reply = session.get(path, None).await?;
    if reply.ok() {
        return match reply.take_data() {
            Some(data) if !data.is_null() => Ok(Answer::new(data, None, reply)),
            _ => Err(no_data()),
        };
    }
    Err(match reply.status {
        403 if reply.speaks_vault() => reply
            .denied(&Grant::read(path))
            .hint("or no engine is mounted there: the server answers 403 for that too"),
        404 if reply.is_miss() => {
            Cause::new(ErrorKind::PathAbsent, "nothing is there", "name the right path")
        }
        400 | 500 if reply.words().contains("unknown role") => Cause::new(
            ErrorKind::RoleAbsent,
            reply.words(),
            format!("create the role, or name the right one: vault list {}", roles(path)),
        ),
        _ => reply.into_cause(),
    })
}

/// Where an engine lists the roles of `mount/creds/role` and the like.
fn roles(path: &str) -> String {
    let mount = path.rsplitn(3, '/').last().unwrap_or_default();
    let kind = if path.contains("/static-creds/") { "static-roles" } else { "roles" };
    format!("{mount}/{kind}")
}
