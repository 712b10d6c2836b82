//! Any engine that answers a write.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::read::{of_its_life, roles};
use super::{
    Answer, Ask, Asked, Declare, Engine, Refresh, Request, Scope, is_of_no_role, no_data, refused,
};
use crate::error::{Cause, ErrorKind};
use crate::http::Repeat;
use crate::value::Value;
use crate::vault::{Grant, Session};

/// `write = "path"` with `data(name = "value")`, as written.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Write {
    pub path: &'static str,
    pub data: &'static [(&'static str, &'static str)],
    pub key: Option<&'static str>,
    pub refresh: Option<Refresh>,
}

#[derive(Debug)]
struct Field {
    body: Body,
    key: Option<&'static str>,
    refresh: Option<Refresh>,
}

#[derive(Debug, Clone)]
struct Body {
    path: String,
    data: BTreeMap<&'static str, String>,
}

impl Declare for Write {
    fn bind(&self, scope: &Scope<'_>) -> Result<Arc<dyn Engine>, Cause> {
        let data = self.data.iter().map(|(name, value)| Ok((*name, scope.fill_text(value)?)));
        let body = Body { path: scope.fill(self.path)?, data: data.collect::<Result<_, _>>()? };
        Ok(Arc::new(Field { body, key: self.key, refresh: self.refresh }))
    }
}

impl Engine for Field {
    fn source(&self) -> String {
        let key = self.key.map_or_else(String::new, |key| format!("#{key}"));
        format!("write {}{key}", self.body.path)
    }

    fn request(&self) -> Request {
        Request::new(self.body.clone())
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

    /// Nobody wants to write again and again who did not say so.
    fn refresh(&self) -> Option<Refresh> {
        self.refresh.or(Some(Refresh::Never))
    }

    fn grant(&self) -> Grant {
        Grant::update(self.body.path.clone())
    }
}

impl Ask for Body {
    fn id(&self) -> String {
        format!("write {:?}", (&self.path, &self.data))
    }

    fn name(&self) -> String {
        self.path.clone()
    }

    fn send<'a>(&'a self, session: &'a Session<'a>) -> Asked<'a, Answer> {
        Box::pin(async move {
            let body = serde_json::json!(self.data);
            let mut reply = session.post(&self.path, &body, Repeat::UnlessArrived).await?;
            if reply.status == 400 && !is_of_no_role(&reply.words()) {
                let help = format!("correct the path or its data: vault path-help {}", self.path);
                return Err(reply.into_cause().with_help(help));
            }
            if reply.says_nothing() {
                return Err(says_nothing(reply.status));
            }
            if !reply.ok() {
                return Err(refused(reply, &Grant::update(&self.path), &roles(&self.path)));
            }
            match reply.take_data() {
                Some(data) if !data.is_null() => Ok(of_its_life(Answer::new(data, None, reply))),
                _ => Err(no_data("write")),
            }
        })
    }
}

fn says_nothing(status: u16) -> Cause {
    Cause::new(
        ErrorKind::Protocol,
        format!("the path took the write and answered nothing (HTTP {status})"),
        "name a path that answers what it makes; `read` and `kv` are for what is stored",
    )
}
