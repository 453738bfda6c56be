//! What was published beside an image. Which tool published it, and how, nobody needs to say.
//!
//! 1. The lists, all at once: the registry's list of referrers, the tag that stands in for it (both count, as
//!    a registry may have got its list later than the tag), and cosign's own tags `.sig` and `.att`.
//! 2. The manifest of each referrer. It must be about the image; what its layers are decides what it is.
//! 3. The layers, each once however many signatures share it.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, join, stream};
use http::{Method, StatusCode};
use tokio::sync::SemaphorePermit;

use super::{
    Registries,
    authorization::Visit,
    errand::Errand,
    manifest::{
        Descriptor, MANIFEST_LIMIT, MEDIA_TYPES, Manifest, digest_of_body, malformed, manifest, unexpected,
    },
    referrers::Referrers,
    registries::Wanted,
    transport::Class,
};
use crate::{
    evidence::{Attached, Candidate, Material, RegistryError},
    image::{Digest, Repository},
    review::{credentials::Credential, ports::Attachments},
};

/// How many candidates are looked at.
const CANDIDATES: usize = 64;
/// The largest signature that is read, and the largest attestation, in bytes.
const SIGNATURE_LIMIT: u64 = 1 << 20;
const ATTESTATION_LIMIT: u64 = 32 << 20;
/// The most that is read by its digest for one image, in bytes.
const BUDGET: u64 = 64 << 20;
/// How many bytes need no room of their own.
const SMALL: u64 = 256 << 10;
/// How long a look-up may wait for room for what it reads.
const ROOM_TIME: Duration = Duration::from_secs(5);
/// How many manifests or layers are asked for at once.
const AT_ONCE: usize = 8;

/// What the media types of Sigstore bundles begin with. A bundle of a version that is not known is one that
/// nobody can verify, and not none.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// To find what stands beside an image.
struct Beside<'a> {
    image: &'a Digest,
    wanted: Attached,
}

/// Bytes of which size and digest are known before they are read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Content {
    digest: Digest,
    size: u64,
}

/// A candidate whose content is still to be read.
struct Announced {
    place: Digest,
    content: Content,
    form: Form,
}

/// Which of cosign's own tags.
#[derive(Clone, Copy)]
enum Kind {
    Signatures,
    Attestations,
}

enum Form {
    Bundle,
    SimpleSigning(BTreeMap<String, String>),
    Envelope(BTreeMap<String, String>),
}

impl Attachments for Registries {
    fn beside<'a>(
        &'a self,
        place: &'a Repository,
        image: &'a Digest,
        wanted: Attached,
        credentials: &'a [Credential],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Candidate>, RegistryError>> {
        async move {
            // In a box, as all that is kept while so many answers are waited for is large.
            let errand = Beside { image, wanted };
            match Box::pin(self.run(&errand, place, credentials, deadline)).await {
                Err(RegistryError::NotFound) => Ok(Vec::new()),
                answer => answer,
            }
        }
        .boxed()
    }
}

impl Errand for Beside<'_> {
    type Answer = Vec<Candidate>;

    /// [`RegistryError::NotFound`] where there is none of the lists: perhaps the registry only does not show
    /// them to this visitor. Where there is one, what is in it is all.
    async fn ask(&self, registries: &Registries, visit: Visit<'_>) -> Result<Vec<Candidate>, RegistryError> {
        let Self { image, wanted } = *self;
        let limit = if wanted.attestations { ATTESTATION_LIMIT } else { SIGNATURE_LIMIT };
        let look = Look { registries, visit, image, limit };
        // All of them are waited for, so that which error is told does not depend on who was faster.
        let (listed, tagged, signatures, attestations) = join!(
            registries.listed_referrers(visit, image),
            registries.tagged_referrers(visit, image),
            look.tagged_layers(Kind::Signatures, wanted.signatures),
            look.tagged_layers(Kind::Attestations, wanted.attestations),
        );
        let (listed, tagged) = (listed?, tagged?);
        let (signatures, attestations) = (signatures?, attestations?);
        if listed.is_none() && tagged.is_none() && signatures.is_none() && attestations.is_none() {
            return Err(RegistryError::NotFound);
        }
        let mut referrers = listed.unwrap_or_default();
        referrers.extend(tagged.unwrap_or_default().into_vec())?;
        let mut announced = signatures.unwrap_or_default();
        announced.extend(attestations.unwrap_or_default());
        look.candidates(referrers, announced).await
    }

    /// A mirror that holds nothing may only not have fetched it yet.
    fn suffices(candidates: &Vec<Candidate>) -> bool {
        candidates.iter().any(|candidate| !matches!(candidate.material, Material::Unreadable(_)))
    }
}

/// One look at what stands beside an image.
#[derive(Clone, Copy)]
struct Look<'a> {
    registries: &'a Registries,
    visit: Visit<'a>,
    image: &'a Digest,
    /// The largest layer that is read, in bytes.
    limit: u64,
}

impl Look<'_> {
    /// The layers of cosign's own tag, `sha256-….sig` or `sha256-….att` (cosign's `SIGNATURE_SPEC.md`). None
    /// where there is no such tag.
    async fn tagged_layers(&self, kind: Kind, wanted: bool) -> Result<Option<Vec<Announced>>, RegistryError> {
        // The tag has all of the digest's value in it. With SHA-512 it would be longer than a tag may be.
        if !wanted || self.image.algorithm() != "sha256" {
            return Ok(None);
        }
        let tag = format!("sha256-{}.{}", self.image.hex(), kind.suffix());
        let body = match self.tagged_manifest(&tag).await {
            Err(RegistryError::NotFound) => return Ok(None),
            body => body?,
        };
        let layers =
            manifest(&body)?.layers.into_iter().filter(|layer| layer.media_type == kind.media_type());
        let announced: Vec<_> = layers.map(|layer| kind.announce(layer)).collect();
        check_number(announced.len())?;
        Ok(Some(announced))
    }

    async fn tagged_manifest(&self, tag: &str) -> Result<Vec<u8>, RegistryError> {
        let url = self.visit.endpoint.url(&format!("{}/manifests/{tag}", self.visit.repository));
        let (accept, limit) = (Some(self.registries.accept.clone()), MANIFEST_LIMIT);
        let wanted = Wanted { class: Class::Manifest, method: Method::GET, url, accept, limit };
        let reply = self.registries.fetch(self.visit, wanted).await?;
        if reply.status != StatusCode::OK {
            return Err(unexpected(reply.status));
        }
        digest_of_body(&reply.headers, &reply.body)?;
        Ok(reply.body)
    }

    /// The candidates: the bundles of all `referrers`, and what is announced already.
    async fn candidates(
        &self,
        referrers: Referrers,
        announced: Vec<Announced>,
    ) -> Result<Vec<Candidate>, RegistryError> {
        let mut budget = Budget(BUDGET);
        // An index is no bundle, and what it lists refers to nothing.
        let referrers =
            referrers.into_vec().into_iter().filter(|one| !MEDIA_TYPES[..2].contains(&&*one.media_type));
        let referrers: Vec<_> = referrers.map(Content::from).collect();
        budget.spend(referrers.iter(), MANIFEST_LIMIT)?;
        let read: Vec<_> = stream::iter(referrers)
            .map(|referrer| self.bundles_of(referrer))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let (mut candidates, mut bundles) = (Vec::new(), Vec::new());
        for one in read {
            match one {
                Ok(found) => bundles.extend(found),
                Err(unreadable) => candidates.push(unreadable),
            }
        }
        bundles.extend(announced);
        check_number(candidates.len() + bundles.len())?;
        budget.spend(bundles.iter().map(|one| &one.content), self.limit)?;
        let _room = self.room(BUDGET - budget.0).await?;
        let read: Vec<_> = stream::iter(by_content(bundles))
            .map(|(content, sharing)| self.content_of(content, sharing))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        candidates.extend(read.into_iter().flatten());
        Ok(candidates)
    }

    /// Room for so many bytes, to be held until they are read: many who look at once must not need more memory
    /// than there is. What is small, as signatures are, waits for nobody: slow registries with much to give must
    /// not keep others from being asked.
    async fn room(&self, bytes: u64) -> Result<Option<SemaphorePermit<'_>>, RegistryError> {
        if bytes <= SMALL {
            return Ok(None);
        }
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        match tokio::time::timeout(ROOM_TIME, self.registries.room.acquire_many(kib)).await {
            Ok(Ok(room)) => Ok(Some(room)),
            Ok(Err(_)) | Err(_) => Err(RegistryError::Overloaded),
        }
    }

    /// The bundles in one referrer, or that it cannot be read. None where it is about another image, or is
    /// something else: an SBOM, a signature of another make.
    async fn bundles_of(
        &self,
        referrer: Content,
    ) -> Result<Result<Vec<Announced>, Candidate>, RegistryError> {
        let read = self.read(Class::Manifest, &referrer, MANIFEST_LIMIT).await;
        let place = referrer.digest;
        let Manifest { subject, layers } = match read.and_then(|body| manifest(&body)) {
            Ok(manifest) => manifest,
            Err(error) => return unreadable(place, error).map(Err),
        };
        if subject.as_ref() != Some(self.image) {
            return Ok(Ok(Vec::new()));
        }
        // cosign 2 can store its classic layers in a referrer too (`--registry-referrers-mode=oci-1-1`).
        let announce = |layer: Descriptor| match &*layer.media_type {
            SIMPLE_SIGNING => Some(Kind::Signatures.announce(layer)),
            ENVELOPE => Some(Kind::Attestations.announce(layer)),
            kind if kind.starts_with(BUNDLE) => {
                Some(Announced { place: place.clone(), content: layer.into(), form: Form::Bundle })
            }
            _ => None,
        };
        let bundles: Vec<_> = layers.into_iter().filter_map(announce).collect();
        check_number(bundles.len())?;
        Ok(Ok(bundles))
    }

    /// All candidates that share one content.
    async fn content_of(
        &self,
        content: Content,
        mut sharing: Vec<Announced>,
    ) -> Result<Vec<Candidate>, RegistryError> {
        let body = match self.read(Class::Blob, &content, self.limit).await {
            Ok(body) => body,
            Err(error) => {
                let unreadable = unreadable(content.digest, error)?;
                return Ok(vec![unreadable; sharing.len()]);
            }
        };
        let last = sharing.pop();
        let mut candidates: Vec<_> = sharing.into_iter().map(|one| one.with(body.clone())).collect();
        candidates.extend(last.map(|one| one.with(body)));
        Ok(candidates)
    }

    /// Reads what is named by its digest. It must be no longer than `limit`, and just what was announced.
    async fn read(&self, class: Class, content: &Content, limit: u64) -> Result<Vec<u8>, RegistryError> {
        if content.size > limit {
            return Err(RegistryError::TooLarge { what: class.body(), limit });
        }
        let (folder, accept) = match class {
            Class::Blob => ("blobs", None),
            _ => ("manifests", Some(self.registries.accept.clone())),
        };
        let url = self.visit.endpoint.url(&format!("{}/{folder}/{}", self.visit.repository, content.digest));
        let wanted = Wanted { class, method: Method::GET, url, accept, limit: content.size };
        let another = |what| malformed(&format!("a {} has another {what} than was announced", class.body()));
        let reply = match self.registries.fetch(self.visit, wanted).await {
            Err(RegistryError::TooLarge { .. }) => return Err(another("size")),
            reply => reply?,
        };
        if reply.status != StatusCode::OK {
            return Err(unexpected(reply.status));
        }
        if reply.body.len() as u64 != content.size {
            return Err(another("size"));
        }
        if !content.digest.matches(&reply.body) {
            return Err(another("digest"));
        }
        Ok(reply.body)
    }
}

/// What may still be read.
struct Budget(u64);

impl Budget {
    /// Sets aside room for all `contents` but those that are not read, being over the limit for one.
    ///
    /// Counts what many candidates share for each of them, as each of them keeps it.
    fn spend<'a>(
        &mut self,
        contents: impl Iterator<Item = &'a Content>,
        limit: u64,
    ) -> Result<(), RegistryError> {
        for size in contents.map(|content| content.size).filter(|size| *size <= limit) {
            let too_large = RegistryError::TooLarge { what: "content beside the image", limit: BUDGET };
            self.0 = self.0.checked_sub(size).ok_or(too_large)?;
        }
        Ok(())
    }
}

impl Kind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Signatures => "sig",
            Self::Attestations => "att",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Signatures => SIMPLE_SIGNING,
            Self::Attestations => ENVELOPE,
        }
    }

    fn announce(self, layer: Descriptor) -> Announced {
        let Descriptor { digest, size, annotations, .. } = layer;
        let form = match self {
            Self::Signatures => Form::SimpleSigning(annotations),
            Self::Attestations => Form::Envelope(annotations),
        };
        Announced { place: digest.clone(), content: Content { digest, size }, form }
    }
}

impl Announced {
    /// The candidate, now that its content is read.
    fn with(self, body: Vec<u8>) -> Candidate {
        let Self { place, content, form } = self;
        let material = match form {
            Form::Bundle => match String::from_utf8(body) {
                Ok(bundle) => Material::Bundle(bundle.into()),
                Err(_) => {
                    let material = Material::Unreadable(malformed("a bundle is no text"));
                    return Candidate { place: content.digest, material };
                }
            },
            Form::SimpleSigning(annotations) => Material::SimpleSigning { payload: body.into(), annotations },
            Form::Envelope(annotations) => Material::Envelope { envelope: body.into(), annotations },
        };
        Candidate { place, material }
    }
}

impl From<Descriptor> for Content {
    fn from(Descriptor { digest, size, .. }: Descriptor) -> Self {
        Self { digest, size }
    }
}

/// A candidate of which the registry says what is wrong with it. One that could not be asked for is an
/// error: nobody knows what it is.
fn unreadable(place: Digest, error: RegistryError) -> Result<Candidate, RegistryError> {
    match error.is_answer() {
        true => Ok(Candidate { place, material: Material::Unreadable(error) }),
        false => Err(error),
    }
}

/// Over the limit is an error, as whoever wrote them has chosen their order.
fn check_number(candidates: usize) -> Result<(), RegistryError> {
    match candidates > CANDIDATES {
        true => Err(RegistryError::TooMany { what: "signatures", limit: CANDIDATES }),
        false => Ok(()),
    }
}

/// What is announced, by the content that some of it may share.
fn by_content(announced: Vec<Announced>) -> Vec<(Content, Vec<Announced>)> {
    let mut groups: Vec<(Content, Vec<Announced>)> = Vec::new();
    let mut places: HashMap<Content, usize> = HashMap::new();
    for one in announced {
        let at = *places.entry(one.content.clone()).or_insert_with(|| {
            groups.push((one.content.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(one);
    }
    groups
}
