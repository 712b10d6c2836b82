//! The requests that a server received, from its own audit log.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// A header that the administrator sends. The audit log contains it, so that the administrator's requests can be left
/// out.
pub(crate) const ADMINISTRATOR_HEADER: &str = "x-test-administrator";

/// One request that the server received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRequest {
    /// `read`, `create`, `update`, `delete`, `list` or `patch`.
    pub operation: String,
    /// The path without `/v1/`, for example `secret/data/app`.
    pub path: String,
    /// The namespace's path; empty for the root namespace.
    pub namespace: String,
    /// The login of the caller, for example `approle` or `token`; empty without a valid token.
    pub display_name: String,
    /// The caller's port. Requests of one TCP connection have the same.
    pub remote_port: u64,
    /// Why the server refused the request before it handled it, for example `permission denied`.
    pub error: Option<String>,
}

/// A server's audit log, and the mark from which requests are returned.
#[derive(Debug)]
pub(crate) struct AuditLog {
    file: PathBuf,
    mark: AtomicUsize,
}

impl AuditLog {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, mark: AtomicUsize::new(0) }
    }

    /// The requests since the mark. The server writes a request to the log before it sends the answer.
    pub(crate) fn requests(&self) -> Vec<AuditRequest> {
        let log = fs::read_to_string(&self.file).unwrap_or_default();
        let new = log.get(self.mark.load(Ordering::SeqCst)..).unwrap_or_default();
        new.lines().filter_map(|line| request(&serde_json::from_str(line).ok()?)).collect()
    }

    pub(crate) fn clear(&self) {
        let length = fs::metadata(&self.file).map_or(0, |file| file.len() as usize);
        self.mark.store(length, Ordering::SeqCst);
    }
}

fn request(entry: &Value) -> Option<AuditRequest> {
    let request = &entry["request"];
    let of_the_administrator = !request["headers"][ADMINISTRATOR_HEADER].is_null();
    // The server's requests to itself have no port.
    if entry["type"] != "request" || of_the_administrator || request["remote_port"].is_null() {
        return None;
    }
    Some(AuditRequest {
        operation: text(&request["operation"]),
        path: text(&request["path"]),
        namespace: text(&request["namespace"]["path"]),
        display_name: text(&entry["auth"]["display_name"]),
        remote_port: request["remote_port"].as_u64().unwrap_or(0),
        error: entry["error"].as_str().map(str::to_owned),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
