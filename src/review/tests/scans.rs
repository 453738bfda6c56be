use super::*;
use crate::evidence::{Counts, Scan, Vulnerabilities};

fn scanning() -> Arc<World> {
    let rules = json!({
        "registries": {"allow": ["registry.example.com/**"]},
        "vulnerabilities": {"deny": [{"severity": "High"}]},
    });
    Arc::new(World { policies: policies(&rules), ..World::default() })
}

fn clean() -> Arc<ScanVerdict> {
    Arc::new(ScanVerdict {
        source: "trivy".into(),
        digest: Digest::sha256(b"web"),
        platforms: Vec::new(),
        content: Ok(Scan {
            end_of_life: None,
            scanned_at: Timestamp::UNIX_EPOCH,
            database_at: None,
            counts: Counts::default(),
            vulnerabilities: Vulnerabilities::default(),
        }),
    })
}

fn reasons(decision: &Decision) -> Vec<Reason> {
    let results = decision.images[0].results.iter().filter(|result| result.check == Check::Vulnerabilities);
    results.filter_map(|result| result.verdict.finding()).map(|finding| finding.reason).collect()
}

fn ask_now(reviewer: &Reviewer, image: &str) -> Option<Decision> {
    let images = [ImageSlot { pointer: "/spec/containers/0/image", image }];
    reviewer.review_now(&question(&images, &[], &Labels::new()))
}

#[tokio::test]
async fn an_image_is_admitted_once_somebody_has_scanned_it_and_refused_again_when_that_is_gone() {
    let world = scanning();
    let reviewer = reviewer(&world, ReviewSettings::default());
    assert!(ask_now(&reviewer, IMAGE).is_none(), "the registry must be asked");
    let refused = ask(&reviewer, IMAGE, &[]).await;
    assert_eq!((refused.allowed(), reasons(&refused)), (false, vec![Reason::ScanVerdictMissing]));
    assert!(!ask_now(&reviewer, IMAGE).unwrap().allowed());
    world.scanned.lock().unwrap().push(clean());
    assert!(ask_now(&reviewer, IMAGE).unwrap().allowed());
    let unreadable = ScanVerdict { content: Err("spec is missing".to_owned()), ..(*clean()).clone() };
    *world.scanned.lock().unwrap() = vec![Arc::new(unreadable)];
    assert_eq!(reasons(&ask_now(&reviewer, IMAGE).unwrap()), [Reason::ScanVerdictUnreadable]);
    world.scanned.lock().unwrap().clear();
    assert!(!ask_now(&reviewer, IMAGE).unwrap().allowed());
    assert_eq!((asked(&world), world.looked.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_pinned_image_that_was_scanned_as_a_whole_is_judged_without_asking_anybody() {
    let world = scanning();
    world.scanned.lock().unwrap().push(clean());
    let reviewer = reviewer(&world, ReviewSettings::default());
    let pinned = format!("{IMAGE}@{}", Digest::sha256(b"web"));
    assert!(ask_now(&reviewer, &pinned).unwrap().allowed());
    assert_eq!((asked(&world), world.looked.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test]
async fn what_is_refused_for_another_reason_makes_nobody_look_for_scans() {
    let world = scanning();
    let reviewer = reviewer(&world, ReviewSettings::default());
    let decision = ask(&reviewer, "other.example.com/web:1", &[]).await;
    assert!(!decision.allowed());
    assert_eq!((asked(&world), world.looked.load(Ordering::SeqCst)), (0, 0));
}
