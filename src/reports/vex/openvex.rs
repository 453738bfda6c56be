use serde::Deserialize;

use super::{
    Statement, foreign, is_justification, names,
    product::{Parts, Product},
};
use crate::{
    evidence::VexStatus,
    reports::{
        ReadError,
        bounds::{Keys, parse},
        loose::Few,
        purl::Purl,
        text,
    },
};

const KEYS: Keys = Keys {
    counted: &["statements", "products", "subcomponents"],
    spelt: &["status", "timestamp", "vulnerability", "justification", "hashes", "identifiers"],
};

/// What a context begins with; a version follows, or none for 0.0.1.
const CONTEXT: &str = "https://openvex.dev/ns";

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@context")]
    context: String,
    timestamp: Option<String>,
    #[serde(default)]
    statements: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    vulnerability: Named,
    #[serde(default)]
    products: Vec<Item>,
    /// Of 0.0.1, where it stands beside the products.
    subcomponents: Option<Vec<Item>>,
    status: String,
    justification: Option<String>,
    impact_statement: Option<String>,
    timestamp: Option<String>,
}

/// A text in 0.0.1.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Name(String),
    Object {
        name: String,
        #[serde(default)]
        aliases: Few<String>,
    },
}

/// A text in 0.0.1.
#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Id(String),
    Object {
        #[serde(rename = "@id")]
        id: Option<String>,
        identifiers: Option<Identifiers>,
        #[serde(default)]
        hashes: Few<String>,
        subcomponents: Option<Vec<Item>>,
    },
}

#[derive(Deserialize)]
struct Identifiers {
    purl: Option<String>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Statement>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    let version = document.context.strip_prefix(CONTEXT).map(|rest| rest.trim_start_matches('/'));
    if !matches!(version, Some("" | "v0.0.1" | "v0.2.0")) {
        return Err(foreign(format!("a document with the @context {:?}", text::plain(&document.context))));
    }
    let mut statements = Vec::with_capacity(document.statements.len());
    for (nth, entry) in document.statements.into_iter().enumerate() {
        let place = |field: &str| format!("statements[{nth}].{field}");
        let malformed = |field: &str, problem: String| ReadError::malformed(place(field), problem);
        let Some(status) = text::vex(&entry.status) else {
            return Err(malformed(
                "status",
                format!("{:?} is no status of OpenVEX", text::plain(&entry.status)),
            ));
        };
        let is_said = |text: Option<&String>| text.is_some_and(|text| !text::plain(text).is_empty());
        let justified = entry.justification.as_deref().is_some_and(is_justification);
        if status == VexStatus::NotAffected && !justified && !is_said(entry.impact_statement.as_ref()) {
            let problem = "not_affected needs a justification of OpenVEX's list or an impact_statement";
            return Err(malformed("justification", problem.to_owned()));
        }
        let names = match &entry.vulnerability {
            Named::Name(name) => names([name.as_str()]),
            Named::Object { name, aliases } => {
                names(std::iter::once(name.as_str()).chain(aliases.iter().map(String::as_str)))
            }
        };
        if names.is_empty() {
            return Err(malformed("vulnerability", "it has no name".to_owned()));
        }
        // a statement that has none of its own was made with the document
        let at = match entry.timestamp.as_deref().or(document.timestamp.as_deref()) {
            None => None,
            Some(time) => Some(text::timestamp(time).ok_or_else(|| {
                malformed("timestamp", format!("{:?} is no time as RFC 3339 has it", text::plain(time)))
            })?),
        };
        let parts = parts(entry.subcomponents.as_deref());
        let products = entry.products.into_iter().map(|product| product.into_product(&parts)).collect();
        statements.push(Statement { names, products, status, at });
    }
    Ok(statements)
}

impl Item {
    /// The product, of which the statement itself may name `parts`.
    fn into_product(self, parts: &Parts) -> Product {
        match self {
            Self::Id(id) => Product::new(&id, parts.clone()),
            Self::Object { id, identifiers, hashes, subcomponents } => {
                let parts = match &subcomponents {
                    Some(_) => self::parts(subcomponents.as_deref()),
                    None => parts.clone(),
                };
                let mut product = Product::new(id.as_deref().unwrap_or_default(), parts);
                if let Some(purl) = identifiers.and_then(|identifiers| identifiers.purl) {
                    product.also(&purl);
                }
                // a hash that is none of an image makes it another product
                for name in ["sha-256", "sha-512"] {
                    if let Some(hex) = hashes.get(name) {
                        product.also(&format!("{}:{hex}", name.replace('-', "")));
                    }
                }
                product
            }
        }
    }

    fn purls(&self) -> impl Iterator<Item = Purl> {
        let texts = match self {
            Self::Id(id) => [Some(id.as_str()), None],
            Self::Object { id, identifiers, .. } => {
                [id.as_deref(), identifiers.as_ref().and_then(|identifiers| identifiers.purl.as_deref())]
            }
        };
        texts.into_iter().flatten().filter_map(Purl::parse)
    }
}

/// The packages that are named. An empty list names none.
fn parts(items: Option<&[Item]>) -> Parts {
    match items {
        None => Parts::All,
        Some(items) => Parts::Some(items.iter().flat_map(Item::purls).collect()),
    }
}
