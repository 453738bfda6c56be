//! What was learned about an image: facts with their source, and no opinion about them.
//!
//! "We looked and found nothing" and "we could not look" are different values here and stay
//! different all the way to the message.

mod registry_error;
mod resolution;
mod scan;
mod signature;
mod vulnerabilities;

pub use registry_error::RegistryError;
pub use resolution::Resolution;
pub use scan::{
    Count, Counts, Platform, PlatformError, Scan, ScanError, ScanEvidence, ScanSubject, ScanVerdict,
    Severity, VexStatus, Vulnerability,
};
pub use signature::{
    Attached, AuthorityError, AuthorityEvidence, Candidate, Claim, KeyFingerprint, Material, Rejection,
    Signer, Verified,
};
pub use vulnerabilities::{Aliases, Vulnerabilities, VulnerabilityRef};

/// All that is known about one image when it is judged.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What became of the question which digest the reference stands for.
    pub resolution: Resolution,
    /// What is known of the image's scans.
    pub scans: ScanEvidence,
}
