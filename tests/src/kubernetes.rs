//! The one call of Kubernetes' API that a login with a service account needs: the server asks it whether a token is
//! valid.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::jwt::{Issuer, claims};
use crate::{Administrator, Authority, ScriptedAnswer, ScriptedRequest, ScriptedServer};

/// Answers `TokenReview` on plain http, and issues the tokens it accepts.
#[derive(Debug)]
pub struct Kubernetes {
    issuer: Issuer,
    invalidated: Arc<Mutex<HashSet<String>>>,
    server: ScriptedServer,
}

impl Kubernetes {
    /// Starts it.
    pub async fn start() -> Self {
        let invalidated = Arc::<Mutex<HashSet<String>>>::default();
        let refused = invalidated.clone();
        let server = ScriptedServer::start(move |request| review(&request, &refused)).await;
        Self { issuer: Issuer::new(), invalidated, server }
    }

    /// Issues a token of this service account for the Kubernetes API, valid for `seconds`.
    #[must_use]
    pub fn token(&self, namespace: &str, service_account: &str, seconds: i64) -> String {
        let audience = "https://kubernetes.default.svc.cluster.local";
        self.token_for(audience, namespace, service_account, seconds)
    }

    /// Issues a token of this service account for another audience.
    #[must_use]
    pub fn token_for(
        &self,
        audience: &str,
        namespace: &str,
        service_account: &str,
        seconds: i64,
    ) -> String {
        let uid = format!("{namespace}-{service_account}");
        let claims = json!({
            "iss": "https://kubernetes.default.svc.cluster.local",
            "aud": [audience],
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": service_account, "uid": uid },
            },
        });
        self.issuer.sign(&claims, seconds)
    }

    /// Refuses a token from now on, as Kubernetes does after its pod was deleted.
    pub fn invalidate(&self, token: &str) {
        let mut invalidated = self.invalidated.lock().unwrap_or_else(PoisonError::into_inner);
        invalidated.insert(token.to_owned());
    }

    /// The number of tokens that servers have asked about.
    #[must_use]
    pub fn reviews(&self) -> usize {
        self.server.requests().len()
    }

    /// Enables the method at its usual path, with this as its Kubernetes.
    pub async fn connect(&self, bao: &Administrator) {
        bao.enable_auth("kubernetes").await;
        let ca = std::fs::read_to_string(Authority::new().ca_cert()).expect("it was just written");
        let config = json!({
            "kubernetes_host": self.server.address(),
            // The server requires it, although it is not used over plain http.
            "kubernetes_ca_cert": ca,
            "disable_local_ca_jwt": true,
        });
        bao.write("auth/kubernetes/config", config).await;
    }
}

fn review(request: &ScriptedRequest, invalidated: &Mutex<HashSet<String>>) -> ScriptedAnswer {
    if request.path() != "/apis/authentication.k8s.io/v1/tokenreviews" {
        return ScriptedAnswer::json(404, &json!({ "kind": "Status", "code": 404 }));
    }
    let mut review = request.json();
    let token = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
    let refused = invalidated.lock().unwrap_or_else(PoisonError::into_inner).contains(&token);
    review["status"] = match claims(&token).filter(|_| !refused) {
        Some(claims) => accepted(&claims),
        None => json!({ "authenticated": false, "error": "the token has been invalidated" }),
    };
    ScriptedAnswer::json(201, &review)
}

fn accepted(claims: &Value) -> Value {
    let account = &claims["kubernetes.io"]["serviceaccount"];
    json!({
        "authenticated": true,
        "audiences": claims["aud"],
        "user": {
            "username": claims["sub"],
            "uid": account["uid"],
            "groups": ["system:serviceaccounts", "system:authenticated"],
        },
    })
}
