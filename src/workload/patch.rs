use serde::Serialize;

use crate::image::Digest;

/// One digest to be written behind one image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin<'a> {
    /// The JSON pointer of the image, as [`ImageSlot::pointer`](super::ImageSlot::pointer) has it.
    pub pointer: &'a str,
    /// The reference as it stands there.
    pub image: &'a str,
    /// The digest that was judged.
    pub digest: &'a Digest,
}

/// A JSON patch (RFC 6902) that replaces image references and touches nothing else.
///
/// There is no `test` operation before a `replace`: the API server applies the patch to the very
/// object that it sent, and whatever another webhook changes afterwards is seen by the validating pass.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Patch(Vec<Operation>);

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Replace { path: String, value: String },
}

impl Patch {
    /// The patch that writes `@digest` behind each image, and keeps what the author wrote before it.
    ///
    /// An image that has a digest already stays as it is: two would be no reference.
    pub fn pinning<'a>(pins: impl IntoIterator<Item = Pin<'a>>) -> Self {
        let open = pins.into_iter().filter(|pin| !pin.image.contains('@'));
        Self(
            open.map(|pin| Operation::Replace {
                path: pin.pointer.to_owned(),
                value: format!("{}@{}", pin.image, pin.digest),
            })
            .collect(),
        )
    }

    /// What it writes: each image's JSON pointer and the reference that will stand there.
    pub fn changes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|Operation::Replace { path, value }| (&**path, &**value))
    }

    /// Whether it changes nothing. An AdmissionResponse then carries no patch at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patch as JSON; `[]` where it is empty.
    pub fn to_json(&self) -> Vec<u8> {
        // OK because strings in structs serialise, and writing to memory does not fail
        serde_json::to_vec(self).unwrap()
    }
}
