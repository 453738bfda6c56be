//! A token server as registries have it: shown a password, it gives out a token for one repository.
//!
//! Source: the distribution project's token authentication specification.

use std::{sync::Arc, time::SystemTime};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::hostile::{Act, Hostile, Received, Reply};

/// Who gives the tokens out.
pub const ISSUER: &str = "the token server of the tests";
/// What the tokens are for.
pub const SERVICE: &str = "the registry of the tests";
/// How long a token lives, in seconds.
const LIFE: u64 = 300;

/// A running token server. Dropping it ends it.
pub struct TokenServer {
    signer: Arc<Signer>,
    server: Hostile,
}

struct Signer {
    key: EcdsaKeyPair,
}

impl TokenServer {
    /// Starts it. `accounts` are user names and passwords; all of them may do everything, and whoever
    /// shows no password gets a token that is good for nothing.
    pub async fn start(accounts: &[(&str, &str)]) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signer = Arc::new(Signer { key });
        let accounts: Vec<String> = accounts
            .iter()
            .map(|(user, password)| format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
            .collect();
        let server = Hostile::start({
            let signer = signer.clone();
            move |request| Act::Answer(answer(&signer, &accounts, request))
        })
        .await;
        Self { signer, server }
    }

    /// The URL that a registry names as its realm.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.host())
    }

    /// The public key, as a JSON Web Key Set (RFC 7517).
    pub fn jwks(&self) -> Value {
        // An uncompressed point: 4, and then the coordinates of 32 bytes each (SEC 1 §2.3.3).
        let point = self.signer.key.public_key().as_ref();
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "tests",
            "x": encode(&point[1..33]), "y": encode(&point[33..]),
        }]})
    }

    /// A token that may do `actions` to `repository`, given out without anybody asking.
    pub fn token(&self, repository: &str, actions: &[&str]) -> String {
        self.signer.sign(&json!([{"type": "repository", "name": repository, "actions": actions}]))
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Received> {
        self.server.received()
    }
}

fn answer(signer: &Signer, accounts: &[String], request: &Received) -> Reply {
    if request.path() != "/token" || request.query("service").as_deref() != Some(SERVICE) {
        return Reply::status(404);
    }
    let known = match request.header("authorization") {
        None => false,
        Some(shown) if accounts.iter().any(|account| account == shown) => true,
        Some(_) => return Reply::status(401),
    };
    let scope = request.query("scope").unwrap_or_default();
    let mut parts = scope.splitn(3, ':');
    let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let actions: Vec<&str> = parts.next().unwrap_or_default().split(',').collect();
    let access = if known { json!([{"type": kind, "name": name, "actions": actions}]) } else { json!([]) };
    let body = json!({"token": signer.sign(&access), "expires_in": LIFE});
    Reply::status(200).header("content-type", "application/json").body(body.to_string())
}

impl Signer {
    /// A JSON Web Token (RFC 7519) with ES256.
    fn sign(&self, access: &Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": "tests"});
        let claims = json!({
            "iss": ISSUER, "aud": SERVICE, "sub": "", "access": access,
            "iat": now, "nbf": now, "exp": now + LIFE,
        });
        let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}
