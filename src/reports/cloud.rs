//! The scanners that registries in clouds bring along.

pub(super) mod defender;
pub(super) mod ecr;
pub(super) mod grafeas;
mod inspector;
mod security_hub;

use std::collections::BTreeMap;

use super::{LIMITS, ReadError, Report, Subject, findings::Findings, text};
use crate::{evidence::Vulnerability, image::Digest};

/// What was found in each of the images of one document, which may name each image in each of its entries.
#[derive(Default)]
struct ByImage {
    images: BTreeMap<Digest, Findings>,
    rows: usize,
}

impl ByImage {
    /// Notes that there is an image whose digest stands at `place`.
    fn image(&mut self, digest: &str, place: impl FnOnce() -> String) -> Result<Digest, ReadError> {
        let digest: Digest = digest
            .parse()
            .map_err(|error| ReadError::malformed(place(), format!("{:?}: {error}", text::plain(digest))))?;
        self.images.entry(digest.clone()).or_default();
        Ok(digest)
    }

    /// Adds an entry about the image that stands at `place`.
    fn add(
        &mut self,
        image: &Digest,
        place: impl FnOnce() -> String,
        found: Vulnerability,
    ) -> Result<(), ReadError> {
        self.rows += 1;
        if self.rows > LIMITS.rows {
            return Err(ReadError::TooLarge { what: "entries", found: self.rows, limit: LIMITS.rows });
        }
        self.images.entry(image.clone()).or_default().add(place, found)
    }

    fn into_reports(self, scanner: &str) -> Vec<Report> {
        let report = |(digest, findings): (Digest, Findings)| {
            findings.into_report(scanner, Subject { digests: vec![digest], ..Subject::default() })
        };
        self.images.into_iter().map(report).collect()
    }
}
