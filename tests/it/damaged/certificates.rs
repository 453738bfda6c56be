//! Whose certificate counts, and when.

use rcgen::ExtendedKeyUsagePurpose;
use rstest::rstest;

use super::*;
use crate::support::miniature::{AFTER, BEFORE, CertificateAuthority, Key, Sct};

const CHAIN: &str = "certificate chain is invalid: certificate chain validation failed: ";
const SCT: &str = "invalid signed certificate timestamp: ";

#[rstest]
#[case::expired(turn(|_, it| it.leaf.valid = SIGNED - 600..=SIGNED - 1), "CertExpired")]
#[case::not_yet_valid(turn(|_, it| it.leaf.valid = SIGNED + 1..=SIGNED + 600), "CertNotValidYet")]
// One of the same names.
#[case::of_an_unknown_authority(turn(|_, it| it.leaf.by = Some(CertificateAuthority::new())), "InvalidSignature")]
#[case::of_an_authority(turn(|_, it| it.leaf.is_authority = true), "CaUsedAsEndEntity")]
#[case::for_servers(turn(|_, it| it.leaf.usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), "RequiredEkuNotFound")]
#[case::for_nothing(turn(|_, it| it.leaf.usages.clear()), "RequiredEkuNotFound")]
fn a_certificate_counts_in_its_time_and_for_what_it_is(#[case] turn: Turn, #[case] reason: &str) {
    refused(Base::Keyless, ALL, BOTH, turn, &untrusted(&format!("{CHAIN}{reason}")));
}

#[test]
fn a_certificate_about_another_key_says_nothing_of_this_one() {
    refused(Base::Keyless, ALL, BOTH, |_, it| it.leaf.key = Some(Key::new()), &Rejection::OtherKey);
}

#[rstest]
#[case::no_longer(turn(|it, _| it.authority.trusted = BEFORE))]
#[case::not_yet(turn(|it, _| it.authority.trusted = AFTER))]
fn an_authority_is_trusted_in_its_window(#[case] turn: Turn) {
    let expected = untrusted(&format!("no trusted certificate authority is valid at {}", instant(SIGNED)));
    refused(Base::Keyless, ALL, BOTH, turn, &expected);
}

/// CVE-2026-24122: an intermediate that has expired does not issue any more, even where the trust root lists it
/// and has no end for its authority.
#[rstest]
#[case::intermediate(turn(|it, _| it.authority.intermediate_valid = BEFORE), &format!("{CHAIN}UnknownIssuer"))]
#[case::future_intermediate(turn(|it, _| it.authority.intermediate_valid = AFTER), &format!("{CHAIN}UnknownIssuer"))]
#[case::root(turn(|it, _| it.authority.root_valid = BEFORE), "no trusted certificate authority is valid at ")]
#[case::future_root(turn(|it, _| it.authority.root_valid = AFTER), "no trusted certificate authority is valid at ")]
fn an_authority_that_had_expired_issues_for_nobody(#[case] turn: Turn, #[case] reason: &str) {
    refused(Base::Keyless, ALL, BOTH, turn, &untrusted(reason));
    // There it was where nobody asked for a log.
    refused(Base::Timestamped, LATER, BOTH, turn, &untrusted(reason));
}

/// CVE-2026-24122, where the signer brings the intermediate.
#[rstest]
#[case::expired(turn(|it, _| it.authority.intermediate_valid = BEFORE), "CertExpired")]
#[case::not_yet_valid(turn(|it, _| it.authority.intermediate_valid = AFTER), "CertNotValidYet")]
#[case::missing(turn(|_, it| it.leaf.carries_intermediate = false), "UnknownIssuer")]
#[case::of_another(turn(|_, it| it.leaf.by = Some(CertificateAuthority::new())), "InvalidSignature")]
fn an_intermediate_that_comes_along_must_hold_too(#[case] turn: Turn, #[case] reason: &str) {
    let brought: Turn = |it, signing| {
        it.authority.lists_intermediate = false;
        signing.leaf.carries_intermediate = true;
    };
    let expected = untrusted(&format!("{CHAIN}{reason}"));
    damaged_after(Base::Keyless, &[Form::V01, Form::V02], BOTH, brought, turn, &expected);
}

#[rstest]
#[case::by_another_log(turn(|_, it| it.leaf.scts[0].by = Some(Key::new())), "SCT signature verification failed")]
#[case::missing(turn(|_, it| it.leaf.scts.clear()), "certificate is missing SCT extension")]
#[case::of_another_certificate(turn(|_, it| it.leaf.scts[0].of_another = true), "SCT signature verification failed")]
#[case::twice(turn(|_, it| it.leaf.scts.push(Sct::default())), "certificate contains multiple SCTs")]
#[case::by_a_log_of_yesterday(turn(|it, _| it.certificate_log.trusted = BEFORE), "SCT signature verification failed")]
#[case::by_a_log_of_tomorrow(turn(|it, _| it.certificate_log.trusted = AFTER), "SCT signature verification failed")]
fn a_certificate_that_no_log_knows_counts_for_nothing(#[case] turn: Turn, #[case] reason: &str) {
    refused(Base::Keyless, ALL, BOTH, turn, &untrusted(&format!("{SCT}{reason}")));
    // Nor does it where nobody asks for a log of signatures: that is another one.
    refused(Base::Timestamped, LATER, BOTH, turn, &untrusted(&format!("{SCT}{reason}")));
}

/// As GitHub's own instance has none: what is left must hold all the same.
#[test]
fn where_the_root_names_no_log_of_certificates_none_is_asked_for() {
    let unlogged: Turn = |it, signing| {
        it.names_certificate_log = false;
        signing.leaf.scts.clear();
    };
    let expired: Turn = |_, it| it.leaf.valid = SIGNED - 600..=SIGNED - 1;
    let expected = untrusted(&format!("{CHAIN}CertExpired"));
    damaged_after(Base::Keyless, ALL, BOTH, unlogged, expired, &expected);
    let named: Turn = |it, _| it.names_certificate_log = true;
    damaged_after(Base::Keyless, ALL, BOTH, unlogged, named, &untrusted(SCT));
}

#[rstest]
#[case::no_subject(turn(|_, it| it.leaf.subject = Subject::Nobody))]
#[case::no_issuer(turn(|_, it| it.leaf.issuer = None))]
fn a_certificate_that_names_nobody_is_nobodys(#[case] turn: Turn) {
    refused(Base::Keyless, ALL, BOTH, turn, &Rejection::NoIdentity);
}
