use std::{borrow::Cow, collections::HashMap};

use super::{
    Document, Labels, ReadError, WorkloadKind,
    document::{Container, Metadata, Spec},
    json::{Strict, Text, quote},
    kind::group_of,
};

/// The most images that one object may ask to have judged. Each costs a look-up inside one deadline
/// and a line in the answer; Pods of more than a few dozen containers are not seen in practice.
pub const MAX_IMAGES: usize = 256;

/// The most `imagePullSecrets` that an object with images to be judged may name: each is a Secret
/// that we have to ask for.
pub const MAX_PULL_SECRETS: usize = 64;

/// One of the lists of a Pod spec whose items can name an image.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// `containers`.
    Container,
    /// `ephemeralContainers`, as `kubectl debug` adds them.
    EphemeralContainer,
    /// `initContainers`, sidecars (those with `restartPolicy: Always`) included.
    InitContainer,
    /// `volumes` with an `image` source (KEP-4639).
    Volume,
}

/// One image of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageSlot<'a> {
    pointer: String,
    place: Place,
    name: Cow<'a, str>,
    image: Cow<'a, str>,
    changed: bool,
}

/// An object's images and what bears on judging them.
///
/// An image that stands nowhere in a template is no image yet: higher level tools may fill it in, and
/// the Pods made from the template are judged each on its own. So a template may have fewer images
/// than containers. A Pod may not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workload<'a> {
    kind: WorkloadKind,
    metadata: Metadata<'a>,
    service_account: Cow<'a, str>,
    pull_secrets: Vec<Cow<'a, str>>,
    images: Vec<ImageSlot<'a>>,
}

/// Why an object's images could not be told. The object is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExtractError {
    /// The request has no object.
    #[error("the request carries no object; there is nothing to judge")]
    MissingObject,
    /// The object has no Pod spec.
    #[error("{pointer} is missing; a {kind} needs it")]
    MissingPodSpec {
        /// The kind of the object.
        kind: WorkloadKind,
        /// Where the Pod spec should be.
        pointer: &'static str,
    },
    /// The Pod spec has no containers.
    #[error("{pointer} is missing or empty; write at least one container")]
    NoContainers {
        /// Where they should be.
        pointer: String,
    },
    /// A container or image volume of a Pod names no image.
    #[error("{pointer} is missing or empty; write the image that is to run")]
    NoImage {
        /// Where it should be.
        pointer: String,
    },
    /// The object is of another kind than the request says.
    #[error("the request is about a {wanted} but its object is {found}")]
    OtherKind {
        /// What the request says.
        wanted: WorkloadKind,
        /// The object's `apiVersion` and `kind`, at most 200 bytes.
        found: String,
    },
    /// The object asks for more images than we judge at once.
    #[error("{found} images are to be judged and {MAX_IMAGES} at most can be; split the object")]
    TooManyImages {
        /// How many.
        found: usize,
    },
    /// The object names more pull secrets than we ask for.
    #[error("{pointer} names {found} secrets and {MAX_PULL_SECRETS} at most are asked for; name fewer")]
    TooManyPullSecrets {
        /// Where they are named.
        pointer: String,
        /// How many.
        found: usize,
    },
    /// The object is not what its kind should look like.
    #[error("the object cannot be read: {0}")]
    Unreadable(#[from] ReadError),
}

impl ExtractError {
    /// The stable name of this trouble, for metrics and the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingObject => "ObjectMissing",
            Self::MissingPodSpec { .. } => "PodSpecMissing",
            Self::NoContainers { .. } => "NoContainers",
            Self::NoImage { .. } => "ImageMissing",
            Self::OtherKind { .. } => "ObjectOfOtherKind",
            Self::TooManyImages { .. } => "TooManyImages",
            Self::TooManyPullSecrets { .. } => "TooManyPullSecrets",
            Self::Unreadable(_) => "ObjectUnreadable",
        }
    }
}

/// The paths of all images that the extractor finds in objects of `kind`: JSON pointers with `*` for
/// an index.
pub fn image_paths(kind: WorkloadKind) -> impl Iterator<Item = String> {
    Place::ALL.into_iter().map(move |place| place.pointer(kind, "*"))
}

impl Place {
    /// All places, in the order in which images are reported.
    pub const ALL: [Self; 4] = [Self::InitContainer, Self::Container, Self::EphemeralContainer, Self::Volume];

    /// The list's field in a Pod spec.
    pub fn list(self) -> &'static str {
        match self {
            Self::Container => "containers",
            Self::EphemeralContainer => "ephemeralContainers",
            Self::InitContainer => "initContainers",
            Self::Volume => "volumes",
        }
    }

    /// Where the image stands below an item of the list.
    fn image(self) -> &'static str {
        match self {
            Self::Container | Self::EphemeralContainer | Self::InitContainer => "image",
            Self::Volume => "image/reference",
        }
    }

    fn pointer(self, kind: WorkloadKind, index: &str) -> String {
        let parts = [kind.pod_spec(), "/", self.list(), "/", index, "/", self.image()];
        parts.concat()
    }
}

impl ImageSlot<'_> {
    /// Where the image stands, as a JSON pointer (RFC 6901).
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The list that it stands in.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The name of the container or volume; empty where it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reference as written. Never empty; otherwise it may be anything.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Whether it must be judged: always in a new object; in an update where it is not what stood
    /// there before.
    pub fn changed(&self) -> bool {
        self.changed
    }

    fn identity(&self) -> (Place, &str) {
        (self.place, &self.name)
    }
}

impl<'a> Workload<'a> {
    /// Finds every image in `object`, which the request says is a `kind`.
    ///
    /// `before` is the object as stored, if this is an update. An image is
    /// [unchanged](ImageSlot::changed) only where a container or volume of the same list and name had
    /// the very same text before. Renamed, moved to another list, named twice, or stored in an
    /// object that nobody could read: changed. That the object is being deleted excuses nothing.
    ///
    /// A Pod without an image where one belongs is refused, except where an update leaves such a
    /// place as it was: the API server tolerates those too, and the Pod must stay deletable.
    pub fn extract(
        kind: WorkloadKind,
        object: Document<'a>,
        before: Option<Document<'_>>,
    ) -> Result<Self, ExtractError> {
        let (mut workload, mut blanks) = Self::read(kind, object)?;
        if let Some((stored, stored_blanks)) = before.and_then(|before| Workload::read(kind, before).ok()) {
            mark(&mut workload.images, &mut blanks, &stored.images, &stored_blanks);
        }
        if let Some(blank) = blanks.into_iter().find(|blank| kind.is_pod() && blank.changed) {
            return Err(ExtractError::NoImage { pointer: blank.pointer });
        }
        match workload.changed_images().count() {
            0 => {}
            found if found > MAX_IMAGES => return Err(ExtractError::TooManyImages { found }),
            _ if workload.pull_secrets.len() > MAX_PULL_SECRETS => {
                return Err(ExtractError::TooManyPullSecrets {
                    pointer: format!("{}/imagePullSecrets", kind.pod_spec()),
                    found: workload.pull_secrets.len(),
                });
            }
            _ => {}
        }
        Ok(workload)
    }

    /// The kind.
    pub fn kind(&self) -> WorkloadKind {
        self.kind
    }

    /// `metadata.name`; empty where the API server is to make it from [`generate_name`](Self::generate_name).
    pub fn name(&self) -> &str {
        self.metadata.name.as_ref().map_or("", |text| &text.0)
    }

    /// `metadata.generateName`; empty where there is none.
    pub fn generate_name(&self) -> &str {
        self.metadata.generate_name.as_ref().map_or("", |text| &text.0)
    }

    /// `metadata.namespace`; empty where the object does not say. The request's namespace is the one to go by.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_ref().map_or("", |text| &text.0)
    }

    /// The object's own labels: of a Deployment its own, not those of its Pods. None where there are none.
    pub fn labels(&self) -> Option<&Labels<'a>> {
        self.metadata.labels.as_ref()
    }

    /// The ServiceAccount that the Pod runs as; `default` where the object does not say.
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    /// The names of the `imagePullSecrets`, in their order. An item without a name is passed over, as the kubelet does.
    pub fn pull_secrets(&self) -> impl Iterator<Item = &str> {
        self.pull_secrets.iter().map(|name| &**name)
    }

    /// All images: init containers, containers, ephemeral containers, volumes; each list in its order.
    pub fn images(&self) -> &[ImageSlot<'a>] {
        &self.images
    }

    /// The images that must be judged, in the same order. None where an update leaves all as they were.
    pub fn changed_images(&self) -> impl Iterator<Item = &ImageSlot<'a>> {
        self.images.iter().filter(|slot| slot.changed)
    }

    /// All images, and apart from them the places where one should be and is not.
    fn read(kind: WorkloadKind, object: Document<'a>) -> Result<(Self, Vec<ImageSlot<'a>>), ExtractError> {
        if (group_of(object.api_version()), object.kind()) != (kind.group(), kind.name()) {
            let found = match (object.api_version(), object.kind()) {
                ("", "") => "one without apiVersion and kind".to_owned(),
                (version, kind) => quote(&format!("a {version} {kind}"), 200),
            };
            return Err(ExtractError::OtherKind { wanted: kind, found });
        }
        let (metadata, spec) = object.take(kind);
        let spec = spec.ok_or(ExtractError::MissingPodSpec { kind, pointer: kind.pod_spec() })?;
        if spec.containers.as_ref().is_none_or(Vec::is_empty) {
            let pointer = format!("{}/{}", kind.pod_spec(), Place::Container.list());
            return Err(ExtractError::NoContainers { pointer });
        }
        let (images, blanks, rest) = slots(kind, spec);
        let named = |text: Option<Text<'a>>| text.filter(|text| !text.0.is_empty());
        let service_account = named(rest.service_account_name).or(named(rest.service_account));
        let pull_secrets = rest.image_pull_secrets.unwrap_or_default().into_iter();
        let workload = Self {
            kind,
            metadata,
            service_account: service_account.map_or(Cow::Borrowed("default"), |text| text.0),
            pull_secrets: pull_secrets.filter_map(|secret| named(secret.0.name)).map(|text| text.0).collect(),
            images,
        };
        Ok((workload, blanks))
    }
}

/// The images of a Pod spec, the places without one, and the rest of the spec.
fn slots<'a>(kind: WorkloadKind, mut spec: Spec<'a>) -> (Vec<ImageSlot<'a>>, Vec<ImageSlot<'a>>, Spec<'a>) {
    let (mut images, mut blanks) = (Vec::new(), Vec::new());
    let mut add = |place: Place, index: usize, name: Option<Text<'a>>, image: Option<Text<'a>>| {
        let slot = ImageSlot {
            pointer: place.pointer(kind, &index.to_string()),
            place,
            name: Text::or_empty(name),
            image: Text::or_empty(image),
            changed: true,
        };
        if slot.image.is_empty() { blanks.push(slot) } else { images.push(slot) }
    };
    for place in Place::ALL {
        let containers = match place {
            Place::Container => spec.containers.take(),
            Place::EphemeralContainer => spec.ephemeral_containers.take(),
            Place::InitContainer => spec.init_containers.take(),
            Place::Volume => {
                for (index, Strict(volume)) in spec.volumes.take().into_iter().flatten().enumerate() {
                    if let Some(Strict(source)) = volume.image {
                        add(place, index, volume.name, source.reference);
                    }
                }
                continue;
            }
        };
        for (index, Strict(Container { name, image })) in containers.into_iter().flatten().enumerate() {
            add(place, index, name, image);
        }
    }
    (images, blanks, spec)
}

/// Marks as unchanged what stood in the stored object just so. A name that stands twice in a list, on
/// either side, vouches for nothing.
fn mark<'a>(
    images: &mut [ImageSlot<'a>],
    blanks: &mut [ImageSlot<'a>],
    stored: &[ImageSlot<'_>],
    stored_blanks: &[ImageSlot<'_>],
) {
    let before = by_identity(stored, stored_blanks);
    let now = by_identity(images, blanks);
    let unchanged = |slot: &ImageSlot<'_>| {
        let image = Some(&Some(slot.image()));
        now.get(&slot.identity()) == image && before.get(&slot.identity()) == image
    };
    let changed: Vec<bool> = images.iter().chain(&*blanks).map(|slot| !unchanged(slot)).collect();
    for (slot, changed) in images.iter_mut().chain(blanks).zip(changed) {
        slot.changed = changed;
    }
}

/// The image under each identity; none where an identity stands twice.
fn by_identity<'s>(
    images: &'s [ImageSlot<'_>],
    blanks: &'s [ImageSlot<'_>],
) -> HashMap<(Place, &'s str), Option<&'s str>> {
    let mut found = HashMap::with_capacity(images.len() + blanks.len());
    for slot in images.iter().chain(blanks) {
        found.entry(slot.identity()).and_modify(|image| *image = None).or_insert(Some(slot.image()));
    }
    found
}
