use std::{collections::HashMap, sync::Mutex};

use futures::future::{BoxFuture, ready};
use rstest::rstest;

use super::*;
use crate::review::ports::CacheAnswer;

const TIME: Duration = Duration::from_secs(10);

/// What scanners and the registry say.
#[derive(Default)]
struct World {
    verdicts: Mutex<HashMap<Digest, Vec<Arc<ScanVerdict>>>>,
    unlisted: bool,
    /// What the registry says; that it cannot be reached if nothing.
    listed: Option<Option<Vec<ImagePlatform>>>,
    asked: Mutex<usize>,
    requested: Mutex<Vec<Digest>>,
}

impl Verdicts for World {
    fn of(&self, digest: &Digest) -> Result<Vec<Arc<ScanVerdict>>, ScanError> {
        match self.unlisted {
            true => Err(ScanError::Unlisted("no rights".to_owned())),
            false => Ok(self.verdicts.lock().unwrap().get(digest).cloned().unwrap_or_default()),
        }
    }

    fn sources(&self) -> Arc<[Box<str>]> {
        ["trivy".into()].into()
    }

    fn request(&self, _: &ImageReference, digest: &Digest) -> bool {
        self.requested.lock().unwrap().push(digest.clone());
        true
    }
}

impl Platforms for World {
    fn platforms<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        _: &'a [Credential],
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<ImagePlatform>>, RegistryError>> {
        assert_eq!((place.path(), image), ("app", &digest("index")));
        *self.asked.lock().unwrap() += 1;
        ready(self.listed.clone().ok_or(RegistryError::TimedOut)).boxed()
    }
}

impl CacheObserver for World {
    fn cache(&self, name: CacheName, _: CacheAnswer) {
        assert_eq!(name, CacheName::Platforms);
    }
}

impl World {
    /// An index of these platforms, each with the digest of its name.
    fn of_index(platforms: &[&str]) -> Self {
        let listed =
            platforms.iter().map(|name| ImagePlatform { platform: name.parse().ok(), digest: digest(name) });
        Self { listed: Some(Some(listed.collect())), ..Self::default() }
    }

    /// Adds what `source` says of `content`, on these platforms.
    fn with(self, content: &str, source: &str, platforms: &[&str]) -> Self {
        let verdict = ScanVerdict {
            source: source.into(),
            digest: digest(content),
            platforms: platforms.iter().map(|platform| platform.parse().unwrap()).collect(),
            content: Err("as the test wants it".to_owned()),
        };
        self.verdicts.lock().unwrap().entry(digest(content)).or_default().push(Arc::new(verdict));
        self
    }
}

fn digest(content: &str) -> Digest {
    Digest::sha256(content.as_bytes())
}

fn image() -> ImageReference {
    "registry.example.com/app:1".parse().unwrap()
}

fn scans(world: &Arc<World>, wanted: Option<&[&str]>) -> Scans {
    let wanted = wanted.map(|all| all.iter().map(|one| one.parse().unwrap()).collect());
    Scans::new((world.clone(), world.clone()), wanted, world.clone(), Handle::current())
}

async fn find(scans: &Scans) -> ScanEvidence {
    let keyring = Ok(Arc::default());
    scans.find(&image(), &digest("index"), &keyring, "shop", Instant::now() + TIME).await
}

/// Each subject's platform, or `-`, its digest's content if it is the index, and who has said something of it.
fn told(evidence: &ScanEvidence) -> Vec<String> {
    let ScanEvidence::Seen { subjects, sources } = evidence else { panic!("{evidence:?}") };
    assert_eq!(&**sources, ["trivy".into()]);
    let told = subjects.iter().map(|subject| {
        let platform = subject.platform.as_ref().map_or("-", Platform::as_str);
        let expected = subject.platform.as_ref().map_or("index", Platform::as_str);
        let of = if subject.digest == digest(expected) { "" } else { "?" };
        let sources: Vec<_> = subject.verdicts.iter().map(|verdict| &*verdict.source).collect();
        let requested = if subject.requested { " requested" } else { "" };
        format!("{platform}{of} {}{requested}", sources.join(","))
    });
    told.collect()
}

async fn of(world: World, wanted: Option<&[&str]>) -> (Vec<String>, usize) {
    let world = Arc::new(world);
    let told = told(&find(&scans(&world, wanted)).await);
    let asked = *world.asked.lock().unwrap();
    (told, asked)
}

#[rstest]
#[case(&[], None)]
#[case(&["linux/amd64", "linux/arm64/v8"], Some(&["linux/arm64", "linux/amd64"][..]))]
#[case(&["linux/amd64", "linux/s390x"], Some(&["linux/amd64"][..]))]
#[tokio::test]
async fn a_verdict_that_speaks_of_all_platforms_that_count_is_enough_without_asking(
    #[case] platforms: &[&str],
    #[case] wanted: Option<&[&str]>,
) {
    let world = World::default().with("index", "trivy", platforms).with("index", "grype", &[]);
    assert_eq!(of(world, wanted).await, (vec!["- trivy,grype".to_owned()], 0));
}

#[tokio::test]
async fn the_manifest_of_one_image_is_what_its_own_verdicts_are_about() {
    let plain = || World { listed: Some(None), ..World::default() };
    assert_eq!(of(plain(), None).await, (vec!["-  requested".to_owned()], 1));
    let scanned = plain().with("index", "trivy", &["linux/amd64"]);
    assert_eq!(of(scanned, Some(&["linux/amd64", "linux/arm64"])).await, (vec!["- trivy".to_owned()], 1));
}

#[tokio::test]
async fn of_an_index_each_platform_must_have_been_scanned() {
    let world = World::of_index(&["linux/amd64", "linux/arm64/v8", "linux/s390x", "Windows"])
        .with("linux/amd64", "grype", &[])
        .with("index", "trivy", &["linux/amd64", "linux/arm64"]);
    let (told, asked) = of(world, None).await;
    assert_eq!(
        told,
        [
            "linux/amd64 grype,trivy",
            "linux/arm64/v8 trivy",
            "linux/s390x  requested",
            // Which nobody can name, and which may run all the same.
            "-?  requested",
        ]
    );
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_verdict_on_part_of_an_index_does_not_hide_behind_one_on_all_of_it() {
    let world = World::of_index(&["linux/amd64", "linux/arm64"]).with("index", "trivy", &[]).with(
        "index",
        "grype",
        &["linux/arm64"],
    );
    let (told, _) = of(world, None).await;
    assert_eq!(told, ["linux/amd64 trivy", "linux/arm64 trivy,grype"]);
}

#[rstest]
#[case(&["linux/arm64"], &["linux/arm64/v8"])]
#[case(&["linux/arm/v7"], &["linux/arm/v7"])]
#[case(&["linux/arm"], &["linux/arm/v6", "linux/arm/v7"])]
#[case(&["linux/s390x", "linux/amd64"], &["linux/amd64"])]
#[tokio::test]
async fn only_platforms_that_the_cluster_runs_count(#[case] wanted: &[&str], #[case] expected: &[&str]) {
    let world = World::of_index(&["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8"]);
    let (told, _) = of(world, Some(wanted)).await;
    let expected: Vec<_> = expected.iter().map(|name| format!("{name}  requested")).collect();
    assert_eq!(told, expected);
}

#[rstest]
#[case(World::of_index(&["linux/amd64"]).with("index", "trivy", &["linux/amd64"]))]
#[case(World::of_index(&[]))]
#[tokio::test]
async fn an_image_without_a_platform_that_counts_is_one_that_nobody_has_scanned(#[case] world: World) {
    assert_eq!(of(world, Some(&["linux/arm64"])).await.0, ["- "]);
}

#[tokio::test]
async fn what_nobody_could_look_at_is_not_what_nobody_has_scanned() {
    let world = Arc::new(World::default());
    let timed_out = ScanError::Platforms(RegistryError::TimedOut);
    let found = find(&scans(&world, None)).await;
    assert!(matches!(found, ScanEvidence::Unseen(error) if error == timed_out));
    let no_keyring = Err(RegistryError::CredentialsUnavailable("no rights".to_owned()));
    let found = scans(&world, None);
    let found = found.find(&image(), &digest("index"), &no_keyring, "shop", Instant::now() + TIME).await;
    let ScanEvidence::Unseen(ScanError::Platforms(error)) = found else { panic!("{found:?}") };
    assert!(matches!(error, RegistryError::CredentialsUnavailable(_)));
    let world = Arc::new(World { unlisted: true, ..World::default() });
    let found = find(&scans(&world, None)).await;
    assert!(matches!(found, ScanEvidence::Unseen(ScanError::Unlisted(_))));
    assert_eq!((*world.asked.lock().unwrap(), world.requested.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn which_platforms_an_index_has_is_asked_once_for_those_who_may_see_the_same() {
    let world = Arc::new(World::of_index(&["linux/amd64"]));
    let scans = scans(&world, None);
    let (image, index, keyring) = (image(), digest("index"), Keyring::default());
    assert!(scans.needs_platforms(&image, &index));
    assert!(scans.known(&image, &index, &keyring).is_none());
    assert_eq!(told(&find(&scans).await), ["linux/amd64  requested"]);
    assert_eq!(told(&scans.known(&image, &index, &keyring).unwrap()), ["linux/amd64  requested"]);
    let config = br#"{"auths": {"registry.example.com": {"username": "u", "password": "p"}}}"#;
    let other = Keyring::from_docker_config(config).unwrap();
    assert!(scans.known(&image, &index, &other).is_none(), "what one may see is not told to another");
    let scanned = World::default().with("index", "trivy", &[]).verdicts.into_inner().unwrap();
    *world.verdicts.lock().unwrap() = scanned;
    assert!(!scans.needs_platforms(&image, &index));
    assert_eq!(told(&scans.known(&image, &index, &other).unwrap()), ["- trivy"]);
    assert_eq!(*world.asked.lock().unwrap(), 1);
    assert_eq!(*world.requested.lock().unwrap(), [digest("linux/amd64"), digest("linux/amd64")]);
}
