use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::{
    Statement, foreign, is_justification, names,
    product::{Parts, Product},
    within,
};
use crate::{
    evidence::VexStatus,
    reports::{
        ReadError,
        bounds::{Keys, parse},
        findings::said,
        loose::Few,
        purl::Purl,
        text,
    },
};

const KEYS: Keys = Keys {
    counted: &[
        "branches",
        "full_product_names",
        "relationships",
        "product_groups",
        "product_ids",
        "vulnerabilities",
        "flags",
        "threats",
        "known_not_affected",
        "known_affected",
        "fixed",
        "first_fixed",
        "under_investigation",
    ],
    spelt: &["product_status", "category", "first_affected", "last_affected", "cve", "purl"],
};

#[derive(Deserialize)]
struct Document {
    document: Head,
    #[serde(default)]
    product_tree: Tree,
    #[serde(default)]
    vulnerabilities: Vec<Entry>,
}

#[derive(Deserialize)]
struct Head {
    category: Option<String>,
    tracking: Option<Tracking>,
}

#[derive(Deserialize)]
struct Tracking {
    current_release_date: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tree {
    branches: Vec<Branch>,
    full_product_names: Vec<Named>,
    relationships: Vec<Relationship>,
    product_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Branch {
    #[serde(default)]
    branches: Vec<Branch>,
    product: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    product_id: String,
    product_identification_helper: Option<Helper>,
}

#[derive(Deserialize)]
struct Helper {
    purl: Option<String>,
}

#[derive(Deserialize)]
struct Relationship {
    product_reference: String,
    relates_to_product_reference: String,
    full_product_name: Named,
}

#[derive(Deserialize)]
struct Group {
    group_id: String,
    #[serde(default)]
    product_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    cve: Option<String>,
    #[serde(default)]
    ids: Few<Id>,
    #[serde(default)]
    product_status: Statuses,
    #[serde(default)]
    flags: Vec<Reason>,
    #[serde(default)]
    threats: Vec<Reason>,
}

#[derive(Deserialize)]
struct Id {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Statuses {
    known_not_affected: Vec<String>,
    fixed: Vec<String>,
    first_fixed: Vec<String>,
    known_affected: Vec<String>,
    first_affected: Vec<String>,
    last_affected: Vec<String>,
    under_investigation: Vec<String>,
}

/// A flag, which has a label, or a threat, which has a category and details.
#[derive(Deserialize)]
struct Reason {
    label: Option<String>,
    category: Option<String>,
    details: Option<String>,
    #[serde(default)]
    product_ids: Vec<String>,
    #[serde(default)]
    group_ids: Vec<String>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Statement>, ReadError> {
    let document: Document = parse(bytes, &KEYS)?;
    if document.document.category.as_deref() != Some("csaf_vex") {
        let category = text::plain(document.document.category.as_deref().unwrap_or_default());
        return Err(foreign(format!("a CSAF document of the category {category:?}")));
    }
    let time = document.document.tracking.and_then(|tracking| tracking.current_release_date);
    let at = match time {
        None => None,
        Some(time) => Some(text::timestamp(&time).ok_or_else(|| {
            let problem = format!("{:?} is no time as RFC 3339 has it", text::plain(&time));
            ReadError::malformed("document.tracking.current_release_date", problem)
        })?),
    };
    let tree = &document.product_tree;
    let products = products(tree);
    let groups: HashMap<&str, &[String]> =
        tree.product_groups.iter().map(|group| (group.group_id.as_str(), &group.product_ids[..])).collect();
    let mut statements = Vec::new();
    for (nth, entry) in document.vulnerabilities.iter().enumerate() {
        let ids = entry.ids.iter().filter_map(|id| id.text.as_deref());
        let names = names(entry.cve.as_deref().into_iter().chain(ids));
        if names.is_empty() {
            let place = format!("vulnerabilities[{nth}].cve");
            return Err(ReadError::malformed(place, "the vulnerability has no name"));
        }
        let justified = entry.justified(&groups);
        let status = &entry.product_status;
        for (status, ids) in [
            (VexStatus::NotAffected, &status.known_not_affected),
            (VexStatus::Fixed, &status.fixed),
            (VexStatus::Fixed, &status.first_fixed),
            (VexStatus::Affected, &status.known_affected),
            (VexStatus::Affected, &status.first_affected),
            (VexStatus::Affected, &status.last_affected),
            (VexStatus::UnderInvestigation, &status.under_investigation),
        ] {
            if status == VexStatus::NotAffected
                && let Some(bare) = ids.iter().find(|id| !justified.contains(id.as_str()))
            {
                return Err(ReadError::malformed(
                    format!("vulnerabilities[{nth}].product_status.known_not_affected"),
                    format!(
                        "{:?} needs a flag with a justification or a threat of the category impact",
                        text::plain(bare)
                    ),
                ));
            }
            let of_status: Vec<Product> =
                ids.iter().filter_map(|id| products.get(id.as_str())).flatten().cloned().collect();
            if !of_status.is_empty() {
                statements.push(Statement { names: names.clone(), products: of_status, status, at });
            }
        }
        within("statements", statements.len())?;
    }
    Ok(statements)
}

/// What each product's id stands for, as far as it is an image, or a package in one.
fn products(tree: &Tree) -> HashMap<&str, Option<Product>> {
    let mut purls = HashMap::new();
    let named =
        tree.full_product_names.iter().chain(tree.relationships.iter().map(|one| &one.full_product_name));
    named.for_each(|named| named.collect(&mut purls));
    collect(&tree.branches, &mut purls);
    let mut products: HashMap<&str, Option<Product>> = HashMap::new();
    for (id, purl) in &purls {
        products.insert(id, Some(Product::new(purl, Parts::All)));
    }
    for one in &tree.relationships {
        let image = purls.get(one.relates_to_product_reference.as_str());
        let package = purls.get(one.product_reference.as_str()).and_then(|purl| Purl::parse(purl));
        let product = image.map(|image| Product::new(image, Parts::Some(package.into_iter().collect())));
        products.insert(&one.full_product_name.product_id, product);
    }
    products
}

fn collect<'a>(branches: &'a [Branch], purls: &mut HashMap<&'a str, &'a str>) {
    for branch in branches {
        branch.product.iter().for_each(|named| named.collect(purls));
        collect(&branch.branches, purls);
    }
}

impl Named {
    fn collect<'a>(&'a self, purls: &mut HashMap<&'a str, &'a str>) {
        if let Some(purl) =
            self.product_identification_helper.as_ref().and_then(|helper| helper.purl.as_deref())
        {
            purls.insert(&self.product_id, purl);
        }
    }
}

impl Entry {
    /// The products of which somebody says why they are not affected.
    fn justified<'a>(&'a self, groups: &HashMap<&'a str, &'a [String]>) -> HashSet<&'a str> {
        let flags = self.flags.iter().filter(|flag| flag.label.as_deref().is_some_and(is_justification));
        let threats = self.threats.iter().filter(|threat| {
            let details = threat.details.as_deref().unwrap_or_default();
            threat.category.as_deref() == Some("impact") && said(details).is_some()
        });
        let mut justified = HashSet::new();
        let mut seen = HashSet::new();
        for reason in flags.chain(threats) {
            justified.extend(reason.product_ids.iter().map(String::as_str));
            // each group once, though a million reasons point to it
            for group in reason.group_ids.iter().filter(|id| seen.insert(id.as_str())) {
                let of_group = groups.get(group.as_str()).copied().unwrap_or_default();
                justified.extend(of_group.iter().map(String::as_str));
            }
        }
        justified
    }
}
