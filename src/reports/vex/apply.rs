use std::collections::HashMap;

use super::{Statement, VexDocument};
use crate::{
    evidence::{VexStatus, Vulnerability},
    image::Digest,
    reports::Report,
};

impl VexDocument {
    /// Sets [`Vulnerability::vex`] of exactly those findings in `report` that a statement names, of the image with
    /// `digest`, which lies in `repository` (`host/path`). Where a statement names a repository, it counts only if
    /// `repository` is given and is that.
    ///
    /// 1. A statement names a finding by its name, or by the only CVE that the finding stands for. For an advisory
    ///    with several CVEs, each of them must be named.
    /// 2. Of several statements the latest counts; of several at one time, the one that takes nothing away.
    /// 3. What an earlier document has said of a finding stays if that takes nothing away: documents do not
    ///    overrule each other.
    ///
    /// Findings are put in order again ([`Report::settle`]), the worst that count first.
    pub fn apply(&self, report: &mut Report, digest: &Digest, repository: Option<&str>) {
        let mut by_name: HashMap<&str, Vec<&Statement>> = HashMap::new();
        for statement in &self.statements {
            if statement.products.iter().any(|product| product.is_image(digest, repository)) {
                for name in &statement.names {
                    by_name.entry(name).or_default().push(statement);
                }
            }
        }
        for found in &mut report.vulnerabilities {
            let latest = |names: &[&str]| {
                let keys = names.iter().map(|name| name.to_ascii_lowercase());
                let statements = keys.filter_map(|key| by_name.get(key.as_str())).flatten();
                let about = statements.filter(|statement| {
                    let mut products = statement.products.iter();
                    products.any(|product| product.is_image(digest, repository) && product.has_part(found))
                });
                about
                    .max_by_key(|statement| (statement.at, !statement.status.subtracts()))
                    .map(|one| one.status)
            };
            if let Some(status) = status(found, latest) {
                found.vex = Some(match found.vex {
                    Some(before) if !before.subtracts() => before,
                    _ => status,
                });
            }
        }
        report.settle();
    }
}

/// What is said of `found`, where `latest` is what is said of any of some names.
fn status(found: &Vulnerability, latest: impl Fn(&[&str]) -> Option<VexStatus>) -> Option<VexStatus> {
    let all: Vec<&str> = std::iter::once(&found.id).chain(&found.aliases).map(String::as_str).collect();
    let cves: Vec<&str> = all.iter().copied().filter(|name| is_cve(name)).collect();
    if cves.len() < 2 {
        return latest(&all);
    }
    let said: Vec<Option<VexStatus>> = cves.iter().map(|cve| latest(&[cve])).collect();
    let own = latest(&[&found.id]);
    let mut against = own.iter().chain(said.iter().flatten()).filter(|status| !status.subtracts());
    match (against.next(), own) {
        (Some(status), _) => Some(*status),
        (None, Some(own)) => Some(own),
        (None, None) => {
            let all: Option<Vec<VexStatus>> = said.into_iter().collect();
            let fixed = |all: &Vec<VexStatus>| all.iter().all(|status| *status == VexStatus::Fixed);
            all.map(|all| if fixed(&all) { VexStatus::Fixed } else { VexStatus::NotAffected })
        }
    }
}

fn is_cve(name: &str) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("CVE-"))
}
