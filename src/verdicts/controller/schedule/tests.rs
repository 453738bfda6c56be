use rstest::rstest;

use super::*;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn start() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

/// The digest with this number, whose scans are not brought forward unless it is odd.
fn digest(number: usize) -> Digest {
    format!("sha256:{number:063x}0").parse().unwrap()
}

fn name(number: usize) -> Box<str> {
    format!("registry.example.com/app@{}", digest(number)).into()
}

fn pod(pod: &str, images: impl IntoIterator<Item = usize>) -> PodImages {
    PodImages { name: pod.into(), images: images.into_iter().map(name).collect() }
}

fn source(yaml: &str) -> Arc<Source> {
    Arc::new(Source::new("trivy", "u", 1, &serde_saphyr::from_str(yaml).unwrap()).unwrap())
}

fn jobs(parallelism: usize) -> Arc<Source> {
    source(&format!("{{scanJob: {{trivy: {{server: 'http://t'}}, parallelism: {parallelism}, retries: 1}}}}"))
}

fn verdict(number: usize, scanned_at: Timestamp) -> StoredVerdict {
    StoredVerdict {
        name: format!("{}.trivy", digest(number).as_str().replace(':', "-")).into(),
        digest: digest(number),
        source: "trivy".into(),
        scanned_at: Some(scanned_at),
        is_ours: true,
        uid: "u".to_owned(),
        version: "1".to_owned(),
    }
}

/// Knows the source and what there is: nothing.
fn schedule(source: Arc<Source>) -> Schedule {
    let mut schedule = Schedule::default();
    schedule.sources(&[source]);
    schedule.verdicts(Feed::All(Vec::new()));
    schedule.pods(Feed::All(Vec::new()), start());
    schedule
}

fn scanned(schedule: &mut Schedule, now: Timestamp) -> Vec<Digest> {
    schedule.next(now).into_iter().map(|scan| scan.digest).collect()
}

#[test]
fn what_runs_and_has_no_verdict_is_scanned_once() {
    let mut schedule = schedule(jobs(8));
    schedule.pods(Feed::One(pod("a/web", [1, 2, 2])), start());
    schedule.pods(Feed::One(pod("b/web", [2])), start());
    assert_eq!(scanned(&mut schedule, start()), [digest(1), digest(2)]);
    assert_eq!(scanned(&mut schedule, start()), [], "both are under way");
    schedule.verdicts(Feed::One(verdict(1, start())));
    schedule.ended("trivy", &digest(1), Ended::Done, start());
    assert_eq!(scanned(&mut schedule, start() + HOUR), []);
}

#[test]
fn before_it_is_known_which_verdicts_there_are_nothing_is_scanned() {
    let mut schedule = Schedule::default();
    schedule.sources(&[jobs(8)]);
    schedule.pods(Feed::All(vec![pod("a/web", [1])]), start());
    assert_eq!(scanned(&mut schedule, start()), []);
    schedule.verdicts(Feed::All(Vec::new()));
    assert_eq!(scanned(&mut schedule, start()), [digest(1)]);
}

#[test]
fn no_more_run_at_once_than_the_source_takes() {
    let mut schedule = schedule(jobs(3));
    schedule.pods(Feed::One(pod("a/web", 1..=10)), start());
    assert_eq!(scanned(&mut schedule, start()).len(), 3);
    assert_eq!(schedule.queue("trivy"), 7);
    schedule.ended("trivy", &digest(1), Ended::Failed, start());
    schedule.ended("trivy", &digest(2), Ended::Failed, start());
    assert_eq!(scanned(&mut schedule, start()), [digest(4), digest(5)]);
}

#[test]
fn what_somebody_waits_for_comes_first_and_what_is_missing_before_what_ages() {
    let mut schedule = schedule(jobs(1));
    let now = start() + HOUR * 100;
    schedule.verdicts(Feed::One(verdict(1, start())));
    schedule.pods(Feed::One(pod("a/web", [1, 2])), now);
    assert!(schedule.wanted(&name(3), now));
    for expected in [3, 2, 1] {
        assert_eq!(scanned(&mut schedule, now), [digest(expected)]);
        schedule.ended("trivy", &digest(expected), Ended::Done, now);
    }
}

/// The last digit of a digest brings its scan forward: by up to a ninth of the time.
#[rstest]
#[case('0', 18 * 60)]
#[case('7', 18 * 60 - 7 * 24 * 60 / 64)]
fn a_verdict_is_made_anew_before_it_is_too_old(#[case] last: char, #[case] minutes: i64) {
    let digest: Digest = format!("sha256:{}{last}", "0".repeat(63)).parse().unwrap();
    let mut schedule = schedule(jobs(1));
    let image = PodImages { name: "a/web".into(), images: vec![format!("app@{digest}").into()] };
    schedule.pods(Feed::One(image), start());
    schedule.verdicts(Feed::One(StoredVerdict { digest: digest.clone(), ..verdict(1, start()) }));
    let due = start() + SignedDuration::from_mins(minutes);
    assert_eq!(scanned(&mut schedule, due - MINUTE), []);
    assert_eq!(scanned(&mut schedule, due + MINUTE), [digest]);
}

#[test]
fn what_has_stopped_is_of_interest_for_a_day_and_is_scanned_no_more() {
    let mut schedule = schedule(jobs(1));
    schedule.pods(Feed::One(pod("a/web", [1])), start());
    schedule.pods(Feed::Gone(pod("a/web", [1])), start() + HOUR);
    assert_eq!(scanned(&mut schedule, start() + HOUR * 24), [digest(1)]);
    schedule.ended("trivy", &digest(1), Ended::Failed, start() + HOUR * 24);
    assert_eq!(scanned(&mut schedule, start() + HOUR * 48), []);
}

#[test]
fn a_list_of_pods_takes_away_those_that_it_does_not_name() {
    let mut schedule = schedule(jobs(9));
    schedule.pods(Feed::One(pod("a/web", [1])), start());
    schedule.pods(Feed::All(vec![pod("b/web", [2])]), start());
    assert_eq!(scanned(&mut schedule, start() + HOUR * 25), [digest(2)]);
}

#[test]
fn an_image_that_cannot_be_scanned_is_tried_soon_and_then_ever_less_often() {
    let mut schedule = schedule(jobs(1));
    schedule.pods(Feed::One(pod("a/web", [1])), start());
    let mut now = start();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert_eq!(scanned(&mut schedule, now), [digest(1)]);
        schedule.ended("trivy", &digest(1), Ended::Failed, now);
        let began = now;
        while schedule.next(now).is_empty() {
            now += SignedDuration::from_secs(10);
        }
        // It has begun to find out when; that one has not ended.
        schedule.lanes.get_mut("trivy").unwrap().under_way.clear();
        pauses.push(now.duration_since(began));
    }
    assert_eq!(pauses[..3], [SOON, LATER, LATER * 2]);
    assert_eq!(pauses[11], LATEST);
}

#[test]
fn a_source_in_trouble_rests_and_then_gets_one_scan_until_it_works() {
    let mut schedule = schedule(jobs(4));
    schedule.pods(Feed::One(pod("a/web", 1..=4)), start());
    assert_eq!(scanned(&mut schedule, start()).len(), 4);
    for number in 1..=4 {
        schedule.ended("trivy", &digest(number), Ended::Trouble, start());
    }
    assert_eq!(scanned(&mut schedule, start() + REST * 7), []);
    assert_eq!(schedule.queue("trivy"), 4, "they wait");
    let later = start() + REST * 8;
    assert_eq!(scanned(&mut schedule, later), [digest(1)]);
    schedule.ended("trivy", &digest(1), Ended::Done, later);
    assert_eq!(scanned(&mut schedule, later).len(), 3);
}

#[test]
fn a_new_generation_of_a_source_forgets_its_troubles() {
    let mut schedule = schedule(jobs(1));
    schedule.pods(Feed::One(pod("a/web", [1])), start());
    schedule.next(start());
    schedule.ended("trivy", &digest(1), Ended::Trouble, start());
    let mut mended = (*jobs(1)).clone();
    mended.generation = 2;
    schedule.sources(&[Arc::new(mended)]);
    assert_eq!(scanned(&mut schedule, start()), [digest(1)]);
    schedule.sources(&[source("{scanJob: {trivy: {server: 'http://t'}}, suspend: true}")]);
    schedule.ended("trivy", &digest(1), Ended::Failed, start());
    assert_eq!(scanned(&mut schedule, start() + HOUR), [], "it is suspended");
}

#[test]
fn one_that_has_no_answer_yet_is_asked_when_it_says_and_then_ever_less_often() {
    let mut schedule = schedule(jobs(1));
    schedule.pods(Feed::One(pod("a/web", [1])), start());
    schedule.next(start());
    schedule.ended("trivy", &digest(1), Ended::NotYet(MINUTE), start());
    assert_eq!(scanned(&mut schedule, start() + MINUTE / 2), []);
    let mut now = start() + MINUTE;
    assert_eq!(scanned(&mut schedule, now), [digest(1)]);
    for minutes in [2, 4, 8, 16, 32, 60, 60] {
        schedule.ended("trivy", &digest(1), Ended::NotYet(MINUTE), now);
        now += MINUTE * minutes;
        assert_eq!(scanned(&mut schedule, now - MINUTE / 2), []);
        assert_eq!(scanned(&mut schedule, now), [digest(1)]);
    }
}

#[test]
fn a_verdict_that_bears_an_old_date_does_not_make_the_scans_spin() {
    let mut schedule = schedule(jobs(1));
    schedule.pods(Feed::One(pod("a/web", [1])), start());
    schedule.next(start());
    schedule.verdicts(Feed::One(verdict(1, start() - HOUR * 1000)));
    schedule.ended("trivy", &digest(1), Ended::Done, start());
    assert_eq!(scanned(&mut schedule, start() + MINUTE * 9), []);
    assert_eq!(scanned(&mut schedule, start() + MINUTE * 10), [digest(1)]);
}

#[test]
fn a_source_is_asked_only_about_what_it_is_about_and_by_a_name_that_it_knows() {
    let yaml = "{scanJob: {trivy: {server: 'http://t'}}, match: {images: ['mirror.example.com/**']}}";
    let mut schedule = schedule(source(yaml));
    schedule.pods(Feed::One(pod("a/web", [1])), start());
    assert_eq!(scanned(&mut schedule, start()), []);
    let mirrored = format!("mirror.example.com/app@{}", digest(1));
    assert!(schedule.wanted(&mirrored, start()));
    let scans = schedule.next(start());
    assert_eq!(scans[0].image.to_string(), mirrored);
}

#[rstest]
#[case("registry.example.com/app:1.2")]
#[case("not an image")]
#[case("")]
fn what_has_no_digest_is_not_scanned(#[case] image: &str) {
    let mut schedule = schedule(jobs(1));
    assert!(!schedule.wanted(image, start()));
    schedule.pods(Feed::One(PodImages { name: "a/web".into(), images: vec![image.into()] }), start());
    assert_eq!(scanned(&mut schedule, start()), []);
}

#[test]
fn one_image_too_many_takes_the_place_of_one_that_does_not_run() {
    let mut schedule = schedule(jobs(1));
    for number in 0..IMAGES {
        assert!(
            schedule
                .wanted(&name(number), start() + SignedDuration::from_secs(i64::try_from(number).unwrap()))
        );
    }
    schedule.pods(Feed::One(pod("a/web", [IMAGES])), start());
    assert_eq!(schedule.images.len(), IMAGES);
    assert!(!schedule.images.contains_key(&digest(0)) && schedule.images.contains_key(&digest(IMAGES)));
    schedule.pods(Feed::One(pod("a/all", 1..IMAGES)), start());
    assert!(!schedule.wanted(&name(IMAGES + 1), start()));
    assert_eq!(schedule.left_out(), 1);
}

#[test]
fn a_verdict_is_given_up_only_if_it_is_ours_and_old_and_nobody_needs_it() {
    let now = start() + RETENTION + HOUR;
    let mut schedule = schedule(jobs(1));
    let foreign = StoredVerdict { is_ours: false, ..verdict(2, start()) };
    let undated = StoredVerdict { scanned_at: None, ..verdict(3, start()) };
    let all = vec![verdict(1, start()), foreign, undated, verdict(4, start()), verdict(5, now - HOUR)];
    schedule.verdicts(Feed::All(all));
    schedule.pods(Feed::One(pod("a/web", [4])), now);
    let outdated: Vec<_> = schedule.outdated(now).into_iter().map(|verdict| verdict.digest).collect();
    assert_eq!(outdated, [digest(1)]);
    let mut unlisted = Schedule::default();
    unlisted.verdicts(Feed::All(vec![verdict(1, start())]));
    assert_eq!(unlisted.outdated(now), [], "who knows what runs?");
}
