//! What is signed, and how that is said.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::support::miniature::{Identified, Key};

/// TOB-SIGSTORE-9: with two signatures one could be checked and the other be logged.
#[rstest]
#[case::two(turn(|_, it| it.signatures = 2), "found 2")]
#[case::none(turn(|_, it| it.signatures = 0), "found 0")]
fn an_envelope_has_one_signature(
    #[case] turn: Turn,
    #[case] found: &str,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    let reason = format!("DSSE envelope must contain exactly one signature, {found}");
    refused(base, BUNDLES, ENVELOPE, turn, &malformed(&format!("JSON error: {reason}")));
    refused(base, &[Form::Classic], ENVELOPE, turn, &malformed(&reason));
}

#[rstest]
#[case::envelope(ALL, ENVELOPE, turn(|_, it| it.swapped = Some(it.statement.to_string().replace("/v1\"", "/v0.1\"").into_bytes())), Rejection::OtherKey)]
#[case::layer(&[Form::Classic], MESSAGE, turn(|_, it| it.swapped = Some(it.payload.to_string().replace("null", "{}").into_bytes())), Rejection::OtherKey)]
#[case::message(BUNDLES, MESSAGE, turn(|_, it| it.swapped = Some(b"another".to_vec())), untrusted("artifact mismatch: "))]
fn what_is_published_is_what_was_signed(
    #[case] forms: &[Form],
    #[case] whats: &[What],
    #[case] turn: Turn,
    #[case] expected: Rejection,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    refused(base, forms, whats, turn, &expected);
}

/// CVE-2026-39395, GHSA-xhg5-42rf-296r: who signs, and logs it, says it only of what it says.
#[rstest]
#[case::another_type(turn(|_, it| it.payload_type = "application/json".to_owned()), Rejection::PayloadType { found: "application/json".to_owned() })]
#[case::another_statement(turn(|_, it| it.statement["_type"] = json!("https://in-toto.io/Link/v1")), Rejection::PayloadType { found: "https://in-toto.io/Link/v1".to_owned() })]
#[case::no_statement(turn(|_, it| it.statement = json!([])), malformed(""))]
#[case::no_subject(turn(|_, it| it.statement["subject"] = json!([])), Rejection::OtherImage { found: "nothing".to_owned() })]
#[case::another_image(turn(|_, it| it.statement["subject"][0]["digest"]["sha256"] = json!("0".repeat(64))), Rejection::OtherImage { found: format!("sha256:{}", "0".repeat(64)) })]
fn a_statement_says_what_it_says(
    #[case] turn: Turn,
    #[case] expected: Rejection,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    refused(base, ALL, ENVELOPE, turn, &expected);
}

#[rstest]
#[case::another_image(turn(|_, it| it.payload["critical"]["image"]["docker-manifest-digest"] = json!("sha256:0")), Rejection::OtherImage { found: "sha256:0".to_owned() })]
#[case::another_type(turn(|_, it| it.payload["critical"]["type"] = json!("a blob")), Rejection::PayloadType { found: "a blob".to_owned() })]
fn a_simple_signing_payload_says_what_it_says(
    #[case] turn: Turn,
    #[case] expected: Rejection,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    refused(base, &[Form::Classic], MESSAGE, turn, &expected);
}

/// CVE-2022-35930, CVE-2022-35929: it counts, and as what it is.
#[test]
fn an_attestation_of_another_type_is_none_of_the_wanted_one() {
    for base in [Base::Keyless, Base::Key] {
        for &form in ALL {
            let mut signing = base.signing(form, What::Envelope);
            signing.statement["predicateType"] = json!("https://slsa.dev/provenance/v1");
            let verified = base.verify(&Sigstore::new(), &signing).unwrap();
            let Claim::Attestation { predicate_type, .. } = verified.claim else { panic!("{form:?}") };
            assert_eq!(predicate_type, "https://slsa.dev/provenance/v1");
        }
    }
}

/// A bare key in the certificate's place names nobody, whatever it has signed.
#[test]
fn a_bare_key_in_the_certificates_place_is_nobodys() {
    let bare: Turn = |_, it| it.identified = Identified::KeyAsCertificate;
    refused(Base::Keyless, BUNDLES, BOTH, bare, &untrusted("malformed certificate: "));
    let expected = malformed("its certificate annotation holds not just one certificate");
    refused(Base::Keyless, &[Form::Classic], BOTH, bare, &expected);
    // Nor does it stand for the key that it is.
    refused(Base::Key, ALL, BOTH, bare, &Rejection::Certificate);
}

#[test]
fn a_certificate_is_no_key_and_a_key_no_certificate() {
    let hint = |_: &mut Sigstore, it: &mut Signing| it.identified = Identified::Key { hint: String::new() };
    refused(Base::Keyless, ALL, BOTH, hint, &Rejection::NoCertificate);
    refused(Base::Key, ALL, BOTH, |_, it| it.identified = Identified::Certificate, &Rejection::Certificate);
}

#[test]
fn a_hint_that_points_to_another_key_is_believed() {
    let elsewhere: Turn = |_, it| it.identified = Identified::Key { hint: format!("{}=", "A".repeat(43)) };
    refused(Base::Key, BUNDLES, BOTH, elsewhere, &Rejection::OtherKey);
}

#[test]
fn a_stranger_with_our_hint_is_a_stranger() {
    for &form in ALL {
        for &what in BOTH {
            let sigstore = Sigstore::new();
            let ours = Signing::by_key(form, what);
            let strangers = Signing { key: Key::new(), ..ours.clone() };
            assert!(Base::Key.verify(&sigstore, &ours).is_ok());
            let found = Base::Key.check(&sigstore, &ours, &sigstore.sign(&strangers));
            is(&found, &Rejection::OtherKey, &format!("{form:?} {what:?}"));
        }
    }
}
