//! What a payload says about the image. Whoever signed it, it counts only for what it says.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::bundle::malformed;
use crate::{
    decision::printable,
    evidence::{Claim, Rejection},
    image::Digest,
};

/// The one payload type of DSSE that speaks of images (in-toto attestation framework).
const IN_TOTO: &str = "application/vnd.in-toto+json";
const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"];
/// The predicate type of an image signature of cosign 3. Every other is an attestation.
const IMAGE_SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The type of cosign's simple signing payloads (`SIGNATURE_SPEC.md`).
const SIMPLE_SIGNING: &str = "cosign container image signature";
/// The most subjects of one statement.
const SUBJECT_LIMIT: usize = 1024;

#[derive(Deserialize)]
struct SimpleSigning {
    critical: Critical,
    optional: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Critical {
    identity: Option<Identity>,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
}

/// What a simple signing payload says about `image`.
pub(super) fn of_simple_signing(payload: &[u8], image: &Digest) -> Result<Claim, Rejection> {
    let SimpleSigning { critical, optional } =
        serde_json::from_slice(payload).map_err(|error| malformed(&error))?;
    if critical.kind != SIMPLE_SIGNING {
        return Err(Rejection::PayloadType { found: printable(&critical.kind, 100) });
    }
    if critical.image.docker_manifest_digest != image.as_str() {
        return Err(Rejection::OtherImage { found: printable(&critical.image.docker_manifest_digest, 140) });
    }
    Ok(Claim::Image {
        annotations: texts(optional.unwrap_or_default()),
        identity: critical.identity.and_then(|identity| identity.docker_reference),
    })
}

/// What an in-toto statement in a DSSE envelope says about `image`.
pub(super) fn of_statement(payload_type: &str, payload: &[u8], image: &Digest) -> Result<Claim, Rejection> {
    let unknown = |found: &str| Rejection::PayloadType { found: printable(found, 100) };
    if payload_type != IN_TOTO {
        return Err(unknown(payload_type));
    }
    let whole: Value = serde_json::from_slice(payload).map_err(|error| malformed(&error))?;
    let statement = Statement::deserialize(&whole).map_err(|error| malformed(&error))?;
    if !STATEMENTS.contains(&statement.kind.as_str()) {
        return Err(unknown(&statement.kind));
    }
    if statement.subject.len() > SUBJECT_LIMIT {
        return Err(Rejection::Malformed(format!("it has more than {SUBJECT_LIMIT} subjects")));
    }
    let about =
        |subject: &&Subject| subject.digest.get(image.algorithm()).is_some_and(|hex| hex == image.hex());
    let Some(subject) = statement.subject.iter().find(about) else {
        let first = statement.subject.iter().flat_map(|subject| &subject.digest).next();
        let found = first.map_or_else(
            || "nothing".to_owned(),
            |(algorithm, hex)| printable(&format!("{algorithm}:{hex}"), 140),
        );
        return Err(Rejection::OtherImage { found });
    };
    match statement.predicate_type.as_str() {
        "" => Err(unknown("")),
        IMAGE_SIGNATURE => {
            Ok(Claim::Image { annotations: texts(subject.annotations.clone()), identity: None })
        }
        _ => Ok(Claim::Attestation { predicate_type: statement.predicate_type, statement: whole }),
    }
}

/// The annotations that are texts. cosign writes no others, and a policy can ask for no others.
fn texts(annotations: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |(key, value)| match value {
        Value::String(text) => Some((key, text)),
        _ => None,
    };
    annotations.into_iter().filter_map(text).collect()
}
