//! What is damaged on purpose is refused, each for its own reason.
//!
//! The [miniature](crate::support::miniature) makes something that verifies, one thing about it is changed, and it
//! does not verify any more. Every test makes sure of both, so that nothing else can be the cause. The
//! advisories that a test is there for are named beside it and in `docs/security/known-attacks.md`; what real
//! programs make is tested in [`signatures`](crate::signatures) and [`cosign`](crate::cosign).

use tidewaiter::{
    evidence::{Candidate, Claim, Rejection, Signer, Verified},
    policy::TransparencyLog,
    signature::{verify_with_certificate, verify_with_key},
};

use crate::support::miniature::{Form, SIGNED, Signing, Sigstore, Subject, What, image, instant};

mod certificates;
mod contents;
mod logs;
mod timestamps;

/// Every form in which something is published.
const ALL: &[Form] = &[Form::V01, Form::V02, Form::V03, Form::Classic];
/// Those with room for a proof of inclusion and for more than one log entry.
const BUNDLES: &[Form] = &[Form::V01, Form::V02, Form::V03];
/// The bundles that may do without the promise of a log.
const LATER: &[Form] = &[Form::V02, Form::V03];
const BOTH: &[What] = &[What::Message, What::Envelope];
const MESSAGE: &[What] = &[What::Message];
const ENVELOPE: &[What] = &[What::Envelope];

/// Who signs, and who says when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Base {
    /// The holder of a certificate; a log says when.
    Keyless,
    /// The holder of a certificate; a timestamp authority says when, and no log is asked for.
    Timestamped,
    /// The holder of a key; a log says when.
    Key,
}

/// Damages one thing.
type Turn = fn(&mut Sigstore, &mut Signing);

/// Says of a closure that it is what damages.
fn turn(turn: Turn) -> Turn {
    turn
}

fn untrusted(reason: &str) -> Rejection {
    Rejection::Untrusted(reason.to_owned())
}

fn malformed(reason: &str) -> Rejection {
    Rejection::Malformed(reason.to_owned())
}

impl Base {
    fn signing(self, form: Form, what: What) -> Signing {
        match self {
            Self::Keyless => Signing::keyless(form, what),
            Self::Timestamped => Signing::keyless(form, what).timestamped(),
            Self::Key => Signing::by_key(form, what),
        }
    }

    fn log(self) -> TransparencyLog {
        match self {
            Self::Keyless | Self::Key => TransparencyLog::Required,
            Self::Timestamped => TransparencyLog::Ignored,
        }
    }

    fn verify(self, sigstore: &Sigstore, signing: &Signing) -> Result<Verified, Rejection> {
        self.check(sigstore, signing, &sigstore.sign(signing))
    }

    /// Whether `candidate` verifies as one of the signer of `signing`.
    fn check(
        self,
        sigstore: &Sigstore,
        signing: &Signing,
        candidate: &Candidate,
    ) -> Result<Verified, Rejection> {
        let (trust, image) = (sigstore.trust(), image());
        match self {
            Self::Keyless | Self::Timestamped => {
                verify_with_certificate(candidate, &image, self.log(), &trust)
            }
            Self::Key => verify_with_key(candidate, &image, &signing.key.public(), self.log(), Some(&trust)),
        }
    }
}

/// That it verifies in each of these forms, and with this damage does not, for a reason that begins so.
fn refused(base: Base, forms: &[Form], whats: &[What], turn: Turn, expected: &Rejection) {
    damaged_after(base, forms, whats, |_, _| {}, turn, expected);
}

/// The same of what the `preparation` makes of it, which is no damage.
fn damaged_after(
    base: Base,
    forms: &[Form],
    whats: &[What],
    preparation: Turn,
    turn: Turn,
    expected: &Rejection,
) {
    for &form in forms {
        for &what in whats {
            let mut sigstore = Sigstore::new();
            let mut signing = base.signing(form, what);
            preparation(&mut sigstore, &mut signing);
            let whole = base.verify(&sigstore, &signing);
            assert!(whole.is_ok(), "{base:?} {form:?} {what:?} is refused undamaged: {whole:?}");
            turn(&mut sigstore, &mut signing);
            is(&base.verify(&sigstore, &signing), expected, &format!("{base:?} {form:?} {what:?}"));
        }
    }
}

/// That it is this kind of refusal, and that its words begin so.
fn is(found: &Result<Verified, Rejection>, expected: &Rejection, place: &str) {
    let Err(found) = found else { panic!("{place}: accepted, and not refused because {expected}") };
    let kind = std::mem::discriminant(found) == std::mem::discriminant(expected);
    let words = found.to_string().starts_with(&expected.to_string());
    assert!(kind && words, "{place}\n  wanted {expected:?}\n  found  {found:?}");
}

#[test]
fn what_nobody_damaged_verifies_in_every_form() {
    for base in [Base::Keyless, Base::Timestamped, Base::Key] {
        for &form in ALL {
            for &what in BOTH {
                // There is no v0.1 without the promise of a log, and in a layer the timestamp of an envelope is
                // one of the whole layer, which vouches for no signature.
                let none = matches!((form, what), (Form::V01, _) | (Form::Classic, What::Envelope));
                if base == Base::Timestamped && none {
                    continue;
                }
                let place = format!("{base:?} {form:?} {what:?}");
                let (sigstore, signing) = (Sigstore::new(), base.signing(form, what));
                let verified = base.verify(&sigstore, &signing).expect(&place);
                let signer = match (base, &signing.leaf.subject, &signing.leaf.issuer) {
                    (Base::Key, ..) => Signer::Key(signing.key.public().fingerprint()),
                    (_, Subject::Uri(subject), Some(issuer)) => {
                        Signer::Identity { subject: subject.clone(), issuer: issuer.clone() }
                    }
                    _ => unreachable!(),
                };
                assert_eq!(verified.signer, signer, "{place}");
                assert_eq!(verified.logged, base != Base::Timestamped, "{place}");
                let times: Vec<_> = verified.times.iter().map(ToString::to_string).collect();
                assert_eq!(times, [instant(SIGNED)], "{place}");
                assert!(matches!(verified.claim, Claim::Image { .. }), "{place}");
            }
        }
    }
}

#[test]
fn a_person_signs_as_well_as_a_workflow() {
    let mut signing = Signing::keyless(Form::V03, What::Envelope);
    signing.leaf.subject = Subject::Email("someone@example.com".to_owned());
    let verified = Base::Keyless.verify(&Sigstore::new(), &signing).unwrap();
    assert!(matches!(&verified.signer, Signer::Identity { subject, .. } if subject == "someone@example.com"));
}
