//! An issuer of JWTs.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

/// Signs JWTs with its own key (ES256).
#[derive(Debug)]
pub struct Issuer {
    key: EcdsaKeyPair,
    public_key: String,
}

impl Issuer {
    /// Creates an issuer. No server trusts it yet.
    ///
    /// # Panics
    ///
    /// If no key can be generated.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let pair = KeyPair::generate().expect("a key pair can be made");
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &pair.serialize_der(), &SystemRandom::new());
        Self { key: key.expect("the key is of this kind"), public_key: pair.public_key_pem() }
    }

    /// The public key as PEM, for a server that has to trust it.
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Signs a JWT with these claims, valid for `seconds` from now on (expired, if negative).
    ///
    /// # Panics
    ///
    /// If the claims are no JSON object.
    #[must_use]
    pub fn sign(&self, claims: &Value, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let now = i64::try_from(now.as_secs()).expect("it is long before the clock overflows");
        let mut all = json!({ "iat": now - 600, "nbf": now - 600, "exp": now + seconds });
        for (name, claim) in claims.as_object().expect("claims are an object") {
            all[name] = claim.clone();
        }
        let parts = [json!({ "alg": "ES256", "typ": "JWT" }), all];
        let parts = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature =
            self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a key signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The claims of a JWT, without any verification.
pub(crate) fn claims(jwt: &str) -> Option<Value> {
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok()
}
