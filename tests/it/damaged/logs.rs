//! What a transparency log says, and of what.

use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use tidewaiter::evidence::Material;

use super::*;
use crate::support::miniature::{AFTER, BEFORE, Entry, Key, Log};

const PROMISE: &str = "invalid inclusion promise: SET verification failed";
const NO_KEY: &str = "invalid inclusion promise: No log key valid at integrated time 2025-06-01T12:00:00Z";
const PROOF: &str = "invalid inclusion proof: inclusion proof verification failed: root hash mismatch";
const STRANGE_CHECKPOINT: &str = "invalid checkpoint: No matching Rekor key found";
const MISMATCH: &str = "log entry does not match the bundle: ";

#[rstest]
#[case::by_another(turn(|_, it| it.entry().promise.as_mut().unwrap().by = Some(Key::new())), PROMISE)]
#[case::of_another_time(turn(|_, it| it.entry().promise.as_mut().unwrap().time = Some(SIGNED - 1)), PROMISE)]
#[case::of_a_log_of_yesterday(turn(|it, _| it.log.trusted = BEFORE), NO_KEY)]
#[case::of_a_log_of_tomorrow(turn(|it, _| it.log.trusted = AFTER), NO_KEY)]
fn a_promise_is_one_of_the_log_about_this_entry(
    #[case] turn: Turn,
    #[case] reason: &str,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    refused(base, ALL, BOTH, turn, &untrusted(reason));
}

/// TOB-SIGSTORE-3: whoever has stolen a key whose certificate has expired says that he signed before it did.
#[test]
fn an_entry_cannot_be_dated_back() {
    let dated_back: Turn = |_, it| {
        it.leaf.valid = SIGNED - 7200..=SIGNED - 3000;
        it.entry().integrated = Some(SIGNED - 3600);
        it.entry().promise.as_mut().unwrap().time = Some(SIGNED);
    };
    refused(Base::Keyless, ALL, BOTH, dated_back, &untrusted(PROMISE));
    // Nor with a proof alone, which covers what was signed and not when.
    let unpromised: Turn = |_, it| {
        it.leaf.valid = SIGNED - 7200..=SIGNED - 3000;
        it.entry().integrated = Some(SIGNED - 3600);
        it.entry().promise = None;
    };
    refused(Base::Keyless, LATER, BOTH, unpromised, &untrusted("no verified timestamp"));
}

/// TOB-SIGSTORE-3: a time without the log's promise is nobody's time.
#[test]
fn a_time_that_nobody_vouches_for_is_no_time() {
    refused(
        Base::Keyless,
        LATER,
        BOTH,
        |_, it| it.entry().promise = None,
        &untrusted("no verified timestamp"),
    );
    // A key does not expire, so that no time is needed; but none is told either.
    for &form in LATER {
        let mut signing = Signing::by_key(form, What::Envelope);
        signing.entry().promise = None;
        let verified = Base::Key.verify(&Sigstore::new(), &signing).unwrap();
        assert_eq!((verified.logged, verified.times), (true, vec![]), "{form:?}");
    }
}

/// sigstore-rust #164: not even half a minute, in which nobody else could see the entry.
#[test]
fn a_log_is_not_ahead_of_our_clock() {
    let ahead: Turn = |_, it| {
        let now = Timestamp::now().as_second();
        it.leaf.valid = now - 60..=now + 600;
        it.leaf.scts[0].time = now - 60;
        it.entry().integrated = Some(now + 30);
    };
    for base in [Base::Keyless, Base::Key] {
        refused(base, ALL, BOTH, ahead, &untrusted("invalid integrated time: integrated time 2"));
    }
}

#[rstest]
#[case::checkpoint_by_another(turn(|_, it| it.entry().proof.as_mut().unwrap().by = Some(Key::new())), STRANGE_CHECKPOINT)]
#[case::of_another_entry(turn(|_, it| it.entry().proof.as_mut().unwrap().index = Some(3)), PROOF)]
#[case::of_the_log_before(turn(|_, it| it.entry().proof.as_mut().unwrap().of_before = true), PROOF)]
fn a_proof_is_one_of_the_log_about_this_entry(
    #[case] turn: Turn,
    #[case] reason: &str,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    refused(base, BUNDLES, BOTH, turn, &untrusted(reason));
}

#[rstest]
#[case::promise(&[Form::V01], turn(|_, it| it.entry().promise = None), untrusted("Bundle error: "))]
#[case::promise_in_a_layer(&[Form::Classic], turn(|_, it| it.entry().promise = None), untrusted(PROMISE))]
#[case::proof(LATER, turn(|_, it| it.entry().proof = None), untrusted("Bundle error: "))]
#[case::promise_and_proof(BUNDLES, turn(|_, it| (it.entry().promise, it.entry().proof) = (None, None)), untrusted("Bundle error: "))]
#[case::entry(ALL, turn(|_, it| it.entries.clear()), Rejection::NotLogged)]
fn what_a_log_does_not_say_is_not_logged(
    #[case] forms: &[Form],
    #[case] turn: Turn,
    #[case] expected: Rejection,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    refused(base, forms, BOTH, turn, &expected);
}

#[test]
fn a_log_that_the_root_does_not_know_says_nothing() {
    let unknown: Turn = |_, it| it.entry().log = Some(Log::new());
    refused(Base::Keyless, ALL, BOTH, unknown, &untrusted(NO_KEY));
    refused(Base::Key, BUNDLES, BOTH, unknown, &untrusted(STRANGE_CHECKPOINT));
    refused(Base::Key, &[Form::Classic], BOTH, unknown, &untrusted(NO_KEY));
}

/// GHSA-whqx-f9j3-ch6m: the log has it, signed and promised; only it is about something else.
#[rstest]
#[case::artifact(MESSAGE, turn(|_, it| it.entry().shown = |it| it.artifact = b"another".to_vec()), untrusted("artifact mismatch: "))]
#[case::payload(ENVELOPE, turn(|_, it| it.entry().shown = |it| it.artifact = b"another".to_vec()), untrusted(MISMATCH))]
#[case::signature(BOTH, turn(|_, it| it.entry().shown = |it| it.signature = Key::new().sign(&it.artifact)), untrusted(MISMATCH))]
#[case::kind(BOTH, turn(|_, it| it.entry().shown = |it| it.what = it.what.other()), Rejection::Unsupported("unsupported bundle: Rekor entry ".to_owned()))]
fn an_entry_is_about_what_it_comes_with(
    #[case] whats: &[What],
    #[case] turn: Turn,
    #[case] expected: Rejection,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    refused(base, ALL, whats, turn, &expected);
}

/// GHSA-whqx-f9j3-ch6m, GHSA-8gw7-4j42-w388: somebody else's signature of the same thing was logged.
#[test]
fn an_entry_is_about_who_signed() {
    let key: Turn = |_, it| it.entry().shown = |it| it.verifier = Key::new().pem();
    refused(Base::Key, ALL, BOTH, key, &untrusted(MISMATCH));
    refused(Base::Keyless, ALL, BOTH, key, &untrusted("malformed log entry: "));
    let certificate: Turn = |_, it| {
        it.entry().shown = |it| {
            let other = Sigstore::new().sign(&Signing::keyless(Form::Classic, What::Message));
            let Material::SimpleSigning { annotations, .. } = other.material else { unreachable!() };
            it.verifier.clone_from(&annotations["dev.sigstore.cosign/certificate"]);
        };
    };
    refused(Base::Keyless, ALL, BOTH, certificate, &untrusted(MISMATCH));
}

/// GHSA-whqx-f9j3-ch6m as it was published: a genuine entry, cut out of one bundle and put into another.
#[rstest]
#[case::of_another_image(turn(|_, it| {
    it.manifest = b"another manifest".to_vec();
    it.payload["critical"]["image"]["docker-manifest-digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    it.statement["subject"][0]["digest"]["sha256"] = json!("0".repeat(64));
}))]
#[case::of_another_signer(turn(|_, it| it.key = Key::new()))]
#[case::of_another_signature(turn(|_, it| it.leaf.valid = SIGNED - 30..=SIGNED + 30))]
fn an_entry_cannot_be_spliced_in(#[case] turn: Turn, #[values(Base::Keyless, Base::Key)] base: Base) {
    for &form in ALL {
        for &what in BOTH {
            let mut sigstore = Sigstore::new();
            let signing = base.signing(form, what);
            let mut other = signing.clone();
            turn(&mut sigstore, &mut other);
            let genuine = sigstore.sign(&signing);
            assert!(base.check(&sigstore, &signing, &genuine).is_ok(), "{form:?} {what:?}");
            let spliced = splice(&genuine, &sigstore.sign(&other));
            let found = base.check(&sigstore, &signing, &spliced);
            let reason = found.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
            let expected = ["artifact mismatch: ", MISMATCH]
                .map(|reason| untrusted(reason).to_string())
                .iter()
                .any(|expected| reason.starts_with(expected));
            assert!(expected, "{form:?} {what:?}: {reason}");
        }
    }
}

/// The one candidate with the log entry of the other.
fn splice(into: &Candidate, from: &Candidate) -> Candidate {
    const ENTRY: &str = "dev.sigstore.cosign/bundle";
    let material = match (into.material.clone(), &from.material) {
        (Material::Bundle(into), Material::Bundle(from)) => {
            let [mut into, from] = [&into, from].map(|json| serde_json::from_str::<Value>(json).unwrap());
            into["verificationMaterial"]["tlogEntries"] = from["verificationMaterial"]["tlogEntries"].clone();
            Material::Bundle(into.to_string().into())
        }
        (
            Material::SimpleSigning { payload, mut annotations },
            Material::SimpleSigning { annotations: from, .. },
        ) => {
            annotations.insert(ENTRY.to_owned(), from[ENTRY].clone());
            Material::SimpleSigning { payload, annotations }
        }
        (Material::Envelope { envelope, mut annotations }, Material::Envelope { annotations: from, .. }) => {
            annotations.insert(ENTRY.to_owned(), from[ENTRY].clone());
            Material::Envelope { envelope, annotations }
        }
        _ => unreachable!(),
    };
    Candidate { place: into.place.clone(), material }
}

#[rstest]
#[case::in_an_unknown_log(turn(|_, it| it.entries[1].log = Some(Log::new())), "invalid ")]
#[case::of_another(turn(|_, it| it.entries[1].shown = |it| it.artifact = b"another".to_vec()), MISMATCH)]
#[case::promised_by_another(turn(|_, it| it.entries[1].promise.as_mut().unwrap().by = Some(Key::new())), PROMISE)]
fn one_good_entry_does_not_excuse_another(
    #[case] turn: Turn,
    #[case] reason: &str,
    #[values(Base::Keyless, Base::Key)] base: Base,
) {
    let twice: Turn = |_, it| it.entries.push(Entry::default());
    damaged_after(base, BUNDLES, ENVELOPE, twice, turn, &untrusted(reason));
}

/// GHSA-9vcr-p3rj-q5q6: logs are not counted by their entries, so there is nothing to be had from many.
#[test]
fn many_entries_of_one_log_are_one_signature() {
    for base in [Base::Keyless, Base::Key] {
        for &form in BUNDLES {
            let mut signing = base.signing(form, What::Envelope);
            signing.entries = vec![Entry::default(); 8];
            let verified = base.verify(&Sigstore::new(), &signing).unwrap();
            assert!(verified.logged);
            // More than anybody needs are not even looked at.
            signing.entries.push(Entry::default());
            let expected = malformed("it holds more than 8 log entries or timestamps");
            is(&base.verify(&Sigstore::new(), &signing), &expected, &format!("{base:?} {form:?}"));
        }
    }
}

/// TOB-SIGSTORE-3: where one entry is good, another that nobody vouches for says nothing, and no time either.
#[test]
fn an_entry_that_nobody_vouches_for_adds_no_time() {
    for base in [Base::Keyless, Base::Key] {
        for &form in BUNDLES {
            let mut signing = base.signing(form, What::Envelope);
            let (integrated, promise, proof) = (Some(SIGNED - 30), None, None);
            signing.entries.push(Entry { integrated, promise, proof, ..Entry::default() });
            let verified = base.verify(&Sigstore::new(), &signing).unwrap();
            let times: Vec<_> = verified.times.iter().map(ToString::to_string).collect();
            assert_eq!(times, [instant(SIGNED)], "{base:?} {form:?}");
        }
    }
}
