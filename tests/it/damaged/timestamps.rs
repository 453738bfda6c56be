//! Who says when something was signed.

use jiff::Timestamp;
use rcgen::ExtendedKeyUsagePurpose;
use rstest::rstest;

use super::*;
use crate::support::miniature::{AFTER, BEFORE, Key, TimestampAuthority, Token};

const INVALID: &str = "invalid RFC 3161 timestamp: TSA timestamp verification failed: ";
const OUTSIDE: &str =
    "RFC 3161 timestamp 2025-06-01T12:00:00Z is outside the validity period of the authority that signed it";
const EXPIRED: &str = "certificate chain is invalid: certificate chain validation failed: CertExpired";

/// That it is refused in every form that has room for a timestamp of the signature.
fn refused_in_every_form(turn: Turn, expected: &Rejection) {
    refused(Base::Timestamped, LATER, BOTH, turn, expected);
    refused(Base::Timestamped, &[Form::Classic], MESSAGE, turn, expected);
}

#[rstest]
#[case::of_other_bytes(turn(|_, it| it.token().over = Some(b"another signature".to_vec())), "Timestamp message hash mismatch")]
// One of the same names.
#[case::by_a_stranger(turn(|_, it| it.token().by = Some(TimestampAuthority::new())), "Failed to verify timestamp signature")]
#[case::by_another_key(turn(|_, it| it.token().key = Some(Key::new())), "Failed to verify timestamp signature")]
#[case::for_code(turn(|it, _| it.timestamps[0].usages = vec![ExtendedKeyUsagePurpose::CodeSigning]), "TSA certificate validation failed")]
#[case::not_granted(turn(|_, it| it.token().granted = false), "Failed to parse timestamp response")]
fn a_timestamp_is_one_of_an_authority_about_this_signature(#[case] turn: Turn, #[case] reason: &str) {
    refused_in_every_form(turn, &untrusted(&format!("{INVALID}{reason}")));
}

#[rstest]
#[case::no_longer(turn(|it, _| it.timestamps[0].trusted = BEFORE))]
#[case::not_yet(turn(|it, _| it.timestamps[0].trusted = AFTER))]
fn a_timestamp_authority_is_trusted_in_its_window(#[case] turn: Turn) {
    refused_in_every_form(turn, &untrusted(OUTSIDE));
}

/// TOB-SIGSTORE-11: the window of an authority is its own, and of no use to another.
#[rstest]
#[case::before(turn(|it, _| it.timestamps.insert(0, TimestampAuthority::new())))]
#[case::behind(turn(|it, _| it.timestamps.push(TimestampAuthority::new())))]
fn no_authority_borrows_the_window_of_another(#[case] beside: Turn) {
    for &form in LATER {
        let mut sigstore = Sigstore::new();
        let mut signing = Base::Timestamped.signing(form, What::Envelope);
        let ours = sigstore.timestamps[0].clone();
        signing.token().by = Some(ours.clone());
        beside(&mut sigstore, &mut signing);
        assert!(Base::Timestamped.verify(&sigstore, &signing).is_ok());
        let place = sigstore.timestamps.iter().position(|one| one.key.id() == ours.key.id()).unwrap();
        sigstore.timestamps[place].trusted = BEFORE;
        is(&Base::Timestamped.verify(&sigstore, &signing), &untrusted(OUTSIDE), &format!("{form:?}"));
    }
}

#[rstest]
#[case::expired(turn(|it, _| it.timestamps[0].valid = BEFORE), &format!("{INVALID}TSA certificate validation failed"))]
#[case::not_yet_valid(turn(|it, _| it.timestamps[0].valid = AFTER), &format!("{INVALID}TSA certificate validation failed"))]
#[case::root(turn(|it, _| it.timestamps[0].root_valid = BEFORE), OUTSIDE)]
#[case::root_not_yet_valid(turn(|it, _| it.timestamps[0].root_valid = AFTER), OUTSIDE)]
fn a_timestamp_authority_vouches_in_the_time_of_its_certificates(#[case] turn: Turn, #[case] reason: &str) {
    refused_in_every_form(turn, &untrusted(reason));
}

/// As of sigstore-rust #164, which was about logs.
#[test]
fn a_timestamp_is_not_ahead_of_our_clock() {
    let ahead: Turn = |_, it| {
        let now = Timestamp::now().as_second();
        it.leaf.valid = now - 60..=now + 600;
        it.leaf.scts[0].time = now - 60;
        it.token().time = now + 30;
    };
    refused_in_every_form(ahead, &untrusted("its timestamp 2"));
    let beside: Turn = |_, it| {
        it.tokens.push(Token { time: Timestamp::now().as_second() + 30, ..Token::default() });
    };
    refused(Base::Key, BUNDLES, BOTH, beside, &untrusted("its timestamp 2"));
}

#[test]
fn what_was_signed_after_the_certificate_had_expired_does_not_count() {
    refused_in_every_form(|_, it| it.token().time = SIGNED + 3600, &untrusted(EXPIRED));
}

/// TOB-SIGSTORE-4: every time that somebody vouches for must lie in the certificate's, and not the earliest alone.
#[rstest]
#[case::beside_another_timestamp(Base::Timestamped, LATER, turn(|_, it| it.tokens.push(Token { time: SIGNED + 3600, ..Token::default() })))]
#[case::beside_a_log(Base::Keyless, BUNDLES, turn(|_, it| it.tokens.push(Token { time: SIGNED + 3600, ..Token::default() })))]
fn a_good_time_does_not_excuse_a_bad_one(#[case] base: Base, #[case] forms: &[Form], #[case] turn: Turn) {
    refused(base, forms, BOTH, turn, &untrusted(EXPIRED));
}

#[rstest]
#[case::keyless(Base::Keyless)]
#[case::by_key(Base::Key)]
fn a_bad_timestamp_beside_a_good_log_entry_is_bad(#[case] base: Base) {
    let stranger: Turn = |_, it| {
        it.tokens.push(Token { by: Some(TimestampAuthority::new()), ..Token::default() });
    };
    refused(base, BUNDLES, BOTH, stranger, &untrusted(INVALID));
    refused(base, &[Form::Classic], MESSAGE, stranger, &untrusted(INVALID));
}

/// Without a time nobody knows whether the certificate was valid: now is no time.
#[test]
fn a_certificate_without_any_time_does_not_count() {
    refused_in_every_form(|_, it| it.tokens.clear(), &untrusted("Bundle error: "));
    // In a layer the timestamp of an envelope is one of the whole layer.
    let signing = Base::Timestamped.signing(Form::Classic, What::Envelope);
    is(&Base::Timestamped.verify(&Sigstore::new(), &signing), &untrusted("Bundle error: "), "a layer");
}
