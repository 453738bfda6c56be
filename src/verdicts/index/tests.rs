use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::json;

use super::*;
use crate::verdicts::object_name;

const MINUTE: Duration = Duration::from_secs(60);

/// What an index has told of itself.
#[derive(Default)]
struct Told(Mutex<Heard>);

/// How many verdicts could be read and how many could not, each time, and what became of wishes.
type Heard = (Vec<(usize, usize)>, Vec<ScanRequest>);

impl ScanObserver for Told {
    fn verdicts(&self, ready: usize, failing: usize) {
        self.0.lock().unwrap().0.push((ready, failing));
    }

    fn scan_request(&self, became: ScanRequest) {
        self.0.lock().unwrap().1.push(became);
    }
}

impl Told {
    fn counts(&self) -> (usize, usize) {
        *self.0.lock().unwrap().0.last().unwrap()
    }
}

fn digest(content: &str) -> Digest {
    Digest::sha256(content.as_bytes())
}

fn spec(content: &str, source: &str) -> Value {
    json!({
        "digest": digest(content).as_str(), "source": source, "scanner": {"name": "trivy"},
        "scannedAt": "2026-01-01T00:00:00Z", "counts": {}, "truncated": false,
    })
}

fn kept(index: &VerdictIndex, content: &str, source: &str, version: &str) -> KeptVerdict {
    let spec = spec(content, source).to_string();
    index.read(&object_name(&digest(content), source), version, Some(&spec))
}

fn followed() -> (Arc<VerdictIndex>, Arc<Told>) {
    let told = Arc::new(Told::default());
    let (index, _) = VerdictIndex::followed(told.clone());
    index.vouched(Watched::Verdicts, MINUTE);
    index.vouched(Watched::Sources, MINUTE);
    (index, told)
}

fn sources_of(index: &VerdictIndex, content: &str) -> Vec<String> {
    let verdicts = index.of(&digest(content)).unwrap();
    assert!(verdicts.iter().all(|verdict| verdict.digest == digest(content)));
    verdicts.iter().map(|verdict| verdict.source.to_string()).collect()
}

#[test]
fn before_everything_was_listed_nobody_knows_anything() {
    let (index, _wanted) = VerdictIndex::followed(Arc::new(Told::default()));
    let unlisted = |why: &str| Err(ScanError::Unlisted(why.to_owned()));
    assert_eq!(index.of(&digest("a")), unlisted("they have not been listed yet"));
    index.vouched(Watched::Verdicts, MINUTE);
    assert!(index.of(&digest("a")).is_err(), "a source more may be a no more");
    index.failing(Watched::Sources, "no rights".to_owned());
    assert_eq!(index.of(&digest("a")), unlisted("no rights"));
    index.vouched(Watched::Sources, MINUTE);
    assert_eq!(index.of(&digest("a")), Ok(Vec::new()));
    index.vouched(Watched::Verdicts, Duration::ZERO);
    assert!(index.of(&digest("a")).is_err(), "the watch has been away for too long");
}

#[test]
fn every_source_has_its_own_word_on_a_digest() {
    let (index, told) = followed();
    let all = [("a", "trivy"), ("b", "trivy"), ("a", "grype")];
    index.verdicts_listed(all.map(|(content, source)| kept(&index, content, source, "1")).into());
    assert_eq!((sources_of(&index, "a"), sources_of(&index, "b")), {
        (vec!["grype".to_owned(), "trivy".to_owned()], vec!["trivy".to_owned()])
    });
    index.verdict_applied(kept(&index, "a", "clair", "1"));
    assert_eq!(sources_of(&index, "a"), ["clair", "grype", "trivy"]);
    index.verdict_applied(kept(&index, "a", "clair", "2"));
    assert_eq!(sources_of(&index, "a"), ["clair", "grype", "trivy"]);
    for source in ["trivy", "clair", "clair", "grype"] {
        index.verdict_deleted(&object_name(&digest("a"), source));
    }
    assert!(sources_of(&index, "a").is_empty());
    assert_eq!((sources_of(&index, "b"), told.counts()), (vec!["trivy".to_owned()], (1, 0)));
    index.verdicts_listed(Vec::new());
    assert!(sources_of(&index, "b").is_empty());
}

#[test]
fn what_nobody_can_read_is_a_word_too() {
    let (index, told) = followed();
    let name = object_name(&digest("a"), "trivy");
    index.verdict_applied(index.read(&name, "1", Some("{}")));
    index.verdict_applied(index.read("house", "1", Some("{}")));
    assert!(index.of(&digest("a")).unwrap()[0].content.is_err());
    assert_eq!(told.counts(), (0, 2));
    index.verdict_applied(kept(&index, "a", "trivy", "2"));
    assert!(index.of(&digest("a")).unwrap()[0].content.is_ok());
    index.verdict_deleted("house");
    assert_eq!(told.counts(), (1, 0));
}

#[test]
fn a_version_that_is_kept_already_is_not_read_again() {
    let (index, _) = followed();
    let name = object_name(&digest("a"), "trivy");
    index.verdict_applied(kept(&index, "a", "trivy", "1"));
    let before = index.of(&digest("a")).unwrap().remove(0);
    let again = |version, spec| index.read(&name, version, spec).verdict.unwrap();
    assert!(Arc::ptr_eq(&before, &again("1", None)));
    assert!(!Arc::ptr_eq(&before, &again("2", None)));
    assert!(again("2", None).content.is_err());
    index.verdict_applied(KeptVerdict { version: Box::default(), ..kept(&index, "a", "trivy", "1") });
    assert!(again("", None).content.is_err(), "no version is no version to go by");
}

#[test]
fn an_object_that_moves_to_another_digest_leaves_none_behind() {
    let (index, _) = followed();
    // Only what has no proper name can: its digest is that of its content.
    for content in ["a", "b"] {
        index.verdict_applied(index.read("house", content, Some(&spec(content, "trivy").to_string())));
    }
    assert!(sources_of(&index, "a").is_empty());
    assert_eq!(sources_of(&index, "b"), ["trivy"]);
}

#[test]
fn files_are_held_as_they_are_and_say_what_cannot_be_read() {
    let index = VerdictIndex::fixed(Arc::new(Told::default()));
    let verdict = |content: &str| (object_name(&digest(content), "trivy").into(), spec(content, "trivy"));
    let troubles = index.hold(
        vec![
            verdict("a"),
            ("house".into(), json!({})),
            (object_name(&digest("b"), "trivy").into(), json!({})),
        ],
        vec![("trivy".into(), json!({"scanJob": {}}))],
    );
    let names: Vec<_> = troubles.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["house".to_owned(), object_name(&digest("b"), "trivy")]);
    assert_eq!(sources_of(&index, "a"), ["trivy"]);
    assert!(index.of(&digest("b")).unwrap()[0].content.is_err());
    assert_eq!(&*Verdicts::sources(&*index), ["trivy".into()]);
    assert!(!index.request(&"a".parse().unwrap(), &digest("a")), "nobody listens");
    index.hold(vec![verdict("b")], Vec::new());
    assert!(sources_of(&index, "a").is_empty() && Verdicts::sources(&*index).is_empty());
}

#[test]
fn a_scan_is_asked_for_where_somebody_can_do_it() {
    let told = Arc::new(Told::default());
    let (index, mut wanted) = VerdictIndex::followed(told.clone());
    let image = "registry.example.com/a:1".parse().unwrap();
    assert!(!index.request(&image, &digest("a")));
    index.sources_listed(vec![("b".into(), json!({"imported": {}})), ("a".into(), json!({"scanJob": {}}))]);
    assert_eq!(&*Verdicts::sources(&*index), ["a".into(), "b".into()]);
    assert!(index.request(&image, &digest("a")) && index.request(&image, &digest("a")));
    let written = format!("registry.example.com/a:1@{}", digest("a"));
    assert_eq!(wanted.try_recv().as_deref(), Ok(&*written));
    let pinned = format!("registry.example.com/a@{}", digest("a")).parse().unwrap();
    assert!(index.request(&pinned, &digest("b")));
    assert_eq!(wanted.try_recv().unwrap(), format!("registry.example.com/a@{}", digest("b")).into());
    let became = [ScanRequest::NoSource, ScanRequest::Accepted, ScanRequest::UnderWay, ScanRequest::Accepted];
    assert_eq!(told.0.lock().unwrap().1, became);
}

#[test]
fn whoever_looks_something_up_while_others_write_sees_the_old_or_the_new() {
    let (index, _) = followed();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..200 {
                let version = round.to_string();
                index.verdict_applied(kept(&index, "a", "trivy", &version));
                index.verdict_applied(kept(&index, &version, "trivy", "1"));
            }
            done.store(true, Ordering::Release);
        });
        let mut seen = false;
        while !done.load(Ordering::Acquire) {
            let found = sources_of(&index, "a").len();
            assert!(found == 1 || (found == 0 && !seen));
            seen |= found == 1;
        }
    });
    assert_eq!(sources_of(&index, "a").len(), 1);
}
