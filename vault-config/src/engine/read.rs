//! Any engine by its logical path: a read, with the lease the answer names.

use std::sync::Arc;

use super::{Answer, Ask, Asked, Declare, Engine, Refresh, Request, Scope, no_data, refused};
use crate::error::Cause;
use crate::http::reply::seconds;
use crate::value::Value;
use crate::vault::{Grant, Session};

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
            Some(data) if !data.is_null() => Ok(of_its_life(Answer::new(data, None, reply))),
            _ => Err(no_data("read")),
        };
    }
    Err(refused(reply, &Grant::read(path), &roles(path)))
}

/// Tokens of Google Cloud and of OpenID Connect have no lease, and say how long they are good for.
pub(super) fn of_its_life(answer: Answer) -> Answer {
    let said = |key| answer.data.get(key).filter(|_| answer.data.get("token").is_some());
    let life = seconds(said("token_ttl").or_else(|| said("ttl")));
    let life = (answer.lease.is_none() && !life.is_zero()).then_some(life);
    Answer { life, ..answer }
}

/// Where an engine lists the roles of `mount/creds/role` and the like.
pub(super) fn roles(path: &str) -> String {
    let mount = path.rsplitn(3, '/').last().unwrap_or_default();
    let kind = match path {
        path if path.contains("/static-creds/") => "static-roles",
        // LDAP's own word.
        path if path.contains("/static-cred/") => "static-role",
        _ => "roles",
    };
    format!("{mount}/{kind}")
}
