//! Signature Version 4 of one call whose shape never changes:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//!
//! It is implemented here, because the crates that sign any request bring second versions of
//! dependencies, or write the session token into the log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

use super::Credentials;

/// The names are in lower case and sorted, as the signature requires.
pub(super) type Headers = BTreeMap<&'static str, Zeroizing<String>>;

/// A POST of `body` to the root of `host`.
pub(super) struct Call<'a> {
    pub(super) host: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) body: &'a str,
}

impl Call<'_> {
    /// `headers`, together with those that prove the identity of the signer. `None` if `now` is out of
    /// range.
    pub(super) fn signed(
        &self,
        mut headers: Headers,
        credentials: &Credentials,
        now: SystemTime,
    ) -> Option<Headers> {
        let time = basic_iso_8601(now)?;
        let day = time.get(..8)?;
        headers.insert("host", Zeroizing::new(self.host.to_owned()));
        headers.insert("x-amz-date", Zeroizing::new(time.clone()));
        if let Some(token) = &credentials.token {
            headers
                .insert("x-amz-security-token", Zeroizing::new(token.expose_secret().to_owned()));
        }
        let names = headers.keys().copied().collect::<Vec<_>>().join(";");
        let mut request = Zeroizing::new("POST\n/\n\n".to_owned());
        for (name, value) in &headers {
            // Writing to a string does not fail.
            let _infallible = writeln!(request, "{name}:{}", value.as_str());
        }
        let _infallible = write!(request, "\n{names}\n{}", hash(self.body));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(&request));
        let signature = hex(&mac(self.key(credentials, day)?.as_slice(), &text)?);
        let id = &credentials.access_key_id;
        let proof = format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        headers.insert("authorization", Zeroizing::new(proof));
        Some(headers)
    }

    /// The key is valid for this day, region and service only.
    fn key(&self, credentials: &Credentials, day: &str) -> Option<Zeroizing<Vec<u8>>> {
        let secret = credentials.secret_access_key.expose_secret();
        let start = Zeroizing::new(format!("AWS4{secret}").into_bytes());
        let parts = [day, self.region, self.service, "aws4_request"];
        parts.into_iter().try_fold(start, |key, part| mac(&key, part))
    }
}

fn mac(key: &[u8], text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20150830T123600Z`, out of `Sun, 30 Aug 2015 12:36:00 GMT`.
fn basic_iso_8601(time: SystemTime) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = httpdate::fmt_http_date(time);
    let mut parts = text.split(' ').skip(1);
    let (day, month, year, clock) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Some(format!("{year}{month:02}{day}T{}Z", clock.replace(':', "")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn credentials(token: Option<&str>) -> Credentials {
        Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: SECRET.into(),
            token: token.map(Into::into),
        }
    }

    fn call(service: &'static str) -> Call<'static> {
        Call { host: "sts.amazonaws.com", region: "us-east-1", service, body: "Action=X" }
    }

    /// The example of AWS's own documentation.
    #[test]
    fn key_and_signature_are_those_that_aws_documents() {
        let key = call("iam").key(&credentials(None), "20150830").unwrap();
        assert_eq!(hex(&key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
        let text = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                    f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        let signature = hex(&mac(&key, text).unwrap());
        assert_eq!(signature, "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    }

    #[test]
    fn times_are_written_as_aws_reads_them() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_709_251_199, "20240229T235959Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(basic_iso_8601(time).unwrap(), text);
        }
    }

    #[test]
    fn everything_that_is_sent_is_signed() {
        let headers =
            Headers::from([("x-vault-aws-iam-server-id", Zeroizing::new("v".to_owned()))]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let sign = |token| call("sts").signed(headers.clone(), &credentials(token), now).unwrap();
        let proof = sign(Some("token"))["authorization"].to_string();
        let names = "host;x-amz-date;x-amz-security-token;x-vault-aws-iam-server-id";
        let start = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/sts/aws4_request, SignedHeaders={names}, Signature="
        );
        assert!(proof.starts_with(&start), "{proof}");
        assert_ne!(proof, sign(Some("other"))["authorization"].to_string());
        assert!(!sign(None).contains_key("x-amz-security-token"));
    }
}
