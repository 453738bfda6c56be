//! VEX: what the maker of an image says about the vulnerabilities that a scanner finds in it. Read are OpenVEX 0.0.1
//! and 0.2.0, CSAF 2.0 of the category `csaf_vex`, and CycloneDX.
//!
//! A statement counts only for an image that it names by digest: a name such as `pkg:oci/debian` stands for every image
//! that is ever called so. It counts for the packages that it names, or for the image as a whole. A document in which
//! one statement cannot be understood is refused as a whole, since that one may take back another.
//!
//! Whether its author is to be believed is for the caller to know.
//!
//! Sources: OpenVEX specification v0.2.0; CSAF 2.0, section 4.5 "VEX"; CycloneDX 1.6, "vulnerabilities".

mod apply;
mod csaf;
mod cyclonedx;
mod openvex;
mod product;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    LIMITS, ReadError,
    bounds::{Keys, parse},
    text,
};
use crate::evidence::VexStatus;
use product::Product;

/// One document: what one author says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VexDocument {
    statements: Vec<Statement>,
}

/// One status of one vulnerability in some products.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Statement {
    /// All names of the vulnerability, in lowercase.
    names: Vec<String>,
    products: Vec<Product>,
    status: VexStatus,
    /// Of two statements about the same, the later counts. None is the earliest.
    at: Option<Timestamp>,
}

/// The most statements that a document has, and the most products in all of them together: every one may be
/// looked at for every finding.
const LIMIT: usize = 10_000;

/// What tells the formats apart.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "@context")]
    context: Option<serde::de::IgnoredAny>,
    statements: Option<serde::de::IgnoredAny>,
    document: Option<serde::de::IgnoredAny>,
    #[serde(rename = "bomFormat")]
    bom_format: Option<serde::de::IgnoredAny>,
}

/// Reads one document.
pub fn read_vex(bytes: &[u8]) -> Result<VexDocument, ReadError> {
    let keys = Keys { counted: &[], spelt: &["@context", "statements", "bomFormat"] };
    if !bytes.trim_ascii_start().starts_with(b"{") {
        parse::<serde::de::IgnoredAny>(bytes, &keys)?;
        return Err(foreign("another document than VEX".to_owned()));
    }
    let shape: Shape = parse(bytes, &keys)?;
    let statements = match (shape.context, shape.document, shape.bom_format) {
        (Some(_), None, None) => openvex::read(bytes)?,
        (None, None, None) if shape.statements.is_some() => {
            return Err(foreign("a list of statements without @context".to_owned()));
        }
        (None, Some(_), None) => csaf::read(bytes)?,
        (None, None, Some(_)) => cyclonedx::read(bytes)?,
        _ => return Err(foreign("another document than VEX".to_owned())),
    };
    let products = statements.iter().map(|statement| statement.products.len()).sum();
    within("statements", statements.len())?;
    within("products", products)?;
    Ok(VexDocument { statements })
}

fn within(what: &'static str, found: usize) -> Result<(), ReadError> {
    match found > LIMIT {
        true => Err(ReadError::TooLarge { what, found, limit: LIMIT }),
        false => Ok(()),
    }
}

impl VexDocument {
    /// How many statements there are.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

/// Names of a vulnerability as they are compared, at most as many as are kept of a finding.
fn names<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names = texts.into_iter().filter_map(text::id).map(|name| name.to_ascii_lowercase());
    let mut names: Vec<String> = names.take(LIMITS.aliases).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Why something cannot be exploited (OpenVEX and CSAF 2.0 have the same five reasons).
fn is_justification(word: &str) -> bool {
    matches!(
        word,
        "component_not_present"
            | "vulnerable_code_not_present"
            | "vulnerable_code_not_in_execute_path"
            | "vulnerable_code_cannot_be_controlled_by_adversary"
            | "inline_mitigations_already_exist"
    )
}

fn foreign(found: String) -> ReadError {
    ReadError::Foreign {
        found,
        wanted: "VEX document",
        remedy: "use OpenVEX, CSAF of the category csaf_vex, or CycloneDX with an analysis",
    }
}
