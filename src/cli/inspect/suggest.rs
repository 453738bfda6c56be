//! The policy that `--suggest-policy` prints.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Args, Means, Shown, scans::ShownScan};
use crate::{
    decision::{Reason, Verdict, judge, printable},
    evidence::{Claim, Evidence, Resolution, ScanEvidence, ScanSubject, ScanVerdict, Signer, Verified},
    image::{Digest, ImageReference},
    policy::{self, Requirement},
    registry::ImageManifest,
};

/// The name of the authority that signs the image, and of one that signs what its scanner found.
const PUBLISHER: &str = "publisher";
const SCANNER: &str = "scanner";
/// As which a verdict is tried that is an attestation: under its own name only those of named authorities count.
const TRIED: &str = "attested";

#[derive(Default)]
pub(super) struct Suggestion {
    /// What whoever reads it should know, each in one line.
    pub(super) notes: Vec<String>,
    pub(super) documents: Vec<Value>,
}

/// What is known of the image.
pub(super) struct Known<'a> {
    pub(super) digest: &'a Digest,
    pub(super) manifest: &'a ImageManifest,
    pub(super) shown: &'a [Shown],
    pub(super) scans: &'a [ShownScan],
    pub(super) now: Timestamp,
}

/// The smallest policy that demands what holds: one signature or else each kind of attestation, and what scanners have said;
/// before it the trust roots that it names. No documents where there is nothing
/// that could be demanded; none at all where a key is needed that was not given.
pub(super) fn suggest(args: &Args, means: &Means, known: &Known<'_>) -> Option<Suggestion> {
    let holding = || known.shown.iter().flat_map(|one| &one.holds);
    let root_of = |by: &str| means.roots.iter().find(|root| root.name == by)?.resource.as_ref();
    let mut spec = json!({"match": {"images": [args.image.name()]}});
    let (mut documents, mut notes): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    let mut name_root = |(by, _): &(String, Verified)| {
        documents.extend(root_of(by).filter(|root| !documents.contains(root)).cloned());
    };
    let signed = holding().find(|(_, verified)| matches!(verified.claim, Claim::Image { .. }));
    let reported = known
        .scans
        .iter()
        .flat_map(|scan| &scan.attested)
        .flat_map(|attested| &attested.holds)
        .find(|one| authority(args, means, SCANNER, one).is_some());
    let mut attests = None;
    if let Some(signed) = signed {
        name_root(signed);
        let mut signatures = json!({"authorities": [authority(args, means, PUBLISHER, signed)?]});
        match reported {
            Some(reported) if same_signer(signed, reported) => attests = Some((PUBLISHER, reported)),
            Some(reported) => {
                name_root(reported);
                // Whoever scans must not be able to sign in the publisher's place.
                signatures["mustInclude"] = json!([PUBLISHER]);
                let authorities = signatures["authorities"].as_array_mut()?;
                authorities.push(authority(args, means, SCANNER, reported)?);
                attests = Some((SCANNER, reported));
            }
            None => {}
        }
        spec["signatures"] = signatures;
    } else {
        let mut rules: Vec<Value> = Vec::new();
        for attested in holding() {
            let Claim::Attestation { predicate_type, .. } = &attested.1.claim else { continue };
            if rules.iter().any(|rule| rule["predicateType"] == **predicate_type) {
                continue;
            }
            name_root(attested);
            let name = format!("attestation-{}", rules.len() + 1);
            rules.push(json!({
                "name": name, "predicateType": predicate_type,
                "inlineAuthorities": [authority(args, means, PUBLISHER, attested)?],
            }));
        }
        if !rules.is_empty() {
            spec["attestations"] = json!(rules);
        }
        if reported.is_some() {
            notes.push(
                "vulnerability attestations count as scans of those only who are among signatures.authorities: no signature holds"
                    .to_owned(),
            );
        }
    }
    let scans = counted(known.scans, attests.map(|(_, reported)| reported));
    if !scans.is_empty() {
        spec["vulnerabilities"] = vulnerabilities(&args.image, known, &scans, &mut notes).into();
    }
    match spec["vulnerabilities"].as_object_mut() {
        None => {
            spec.as_object_mut()?.remove("vulnerabilities");
        }
        Some(rules) => {
            if let Some((name, _)) = attests {
                rules.insert("sources".to_owned(), json!({"attestations": [name]}));
            }
        }
    }
    let demands = ["signatures", "attestations", "vulnerabilities"];
    if !demands.into_iter().any(|demand| spec.get(demand).is_some()) {
        return Some(Suggestion { notes, documents: Vec::new() });
    }
    let name: String =
        args.image.repository().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-').chars().take(200).collect::<String>();
    documents.push(document(&name, &spec));
    Some(Suggestion { notes, documents })
}

fn document(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "tidewaiter.dev/v1alpha1",
        "kind": "ClusterImageAdmissionPolicy",
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// Whoever signed something that holds; none for a key that was not given.
fn authority(args: &Args, means: &Means, name: &str, (by, verified): &(String, Verified)) -> Option<Value> {
    let mut authority = match &verified.signer {
        Signer::Key(fingerprint) => {
            let (_, _, pem) = means.keys.iter().find(|(_, key, _)| key.fingerprint() == *fingerprint)?;
            json!({"name": name, "key": {"inline": pem}})
        }
        Signer::Identity { subject, issuer } => {
            let mut keyless = json!({"identities": [{"issuer": issuer, "subject": subject}]});
            if !verified.logged {
                keyless["transparencyLog"] = json!("Ignored");
            }
            let root = means.roots.iter().find(|root| root.name == *by);
            if let Some(resource) = root.and_then(|root| root.resource.as_ref()) {
                keyless["trustRootRef"] = json!({"name": resource["metadata"]["name"]});
            }
            json!({"name": name, "keyless": keyless})
        }
    };
    if let Some(source) = &args.source {
        authority["source"] = json!({"repository": source.to_string()});
    }
    Some(authority)
}

/// Whether one authority accepts both.
fn same_signer((by, one): &(String, Verified), (other_by, other): &(String, Verified)) -> bool {
    let key = matches!(one.signer, Signer::Key(_));
    one.signer == other.signer && (key || (by == other_by && one.logged == other.logged))
}

/// The verdicts that would count: all objects, and of what is attested that of one authority, the newest of each platform.
fn counted(scans: &[ShownScan], reported: Option<&(String, Verified)>) -> Vec<ScanVerdict> {
    let by = |scan: &ShownScan| match (&scan.attested, reported) {
        (None, _) => true,
        (Some(attested), Some(reported)) => attested.holds.iter().any(|one| same_signer(one, reported)),
        (Some(_), None) => false,
    };
    let at = |scan: &ShownScan| scan.verdict.content.as_ref().ok().map(|scan| scan.scanned_at);
    let is_replaced = |scan: &ShownScan| {
        let newer = |other: &&ShownScan| {
            other.attested.is_some()
                && by(other)
                && other.verdict.platforms == scan.verdict.platforms
                && at(other) > at(scan)
        };
        scan.attested.is_some() && at(scan).is_some() && scans.iter().any(|other| newer(&other))
    };
    let counts = scans.iter().filter(|scan| by(scan) && !is_replaced(scan));
    let tried = counts.map(|scan| {
        let mut verdict = scan.verdict.clone();
        if scan.attested.is_some() {
            verdict.source = TRIED.into();
        }
        verdict
    });
    tried.collect()
}

/// The strictest rules of those that one would begin with that admit the image now; none, with a note, if none does.
fn vulnerabilities(
    image: &ImageReference,
    known: &Known<'_>,
    scans: &[ScanVerdict],
    notes: &mut Vec<String>,
) -> Option<Value> {
    let evidence = Evidence {
        resolution: Resolution::Resolved(known.digest.clone()),
        scans: ScanEvidence::Seen { subjects: subjects(known, scans), sources: [].into() },
    };
    let deny = || json!([{"severity": "Critical", "fixable": true, "olderThanDays": 7}]);
    let mut ages = vec!["168h".to_owned()];
    ages.extend(older(scans, known.now));
    let mut refused = None;
    for age in &ages {
        for rules in [json!({"deny": deny(), "maxVerdictAge": age}), json!({ "maxVerdictAge": age })] {
            let verdict = verdict(image, &rules, &evidence, known.now)?;
            let Some(finding) = verdict.finding() else {
                if let Some(why) = refused.filter(|_| rules.get("deny").is_none()) {
                    notes.push(format!("deny: {} would refuse the image today: {why}", deny()));
                }
                if age != "168h" {
                    notes.push(format!(
                        "maxVerdictAge is {age} as the scan is that old: have the image scanned again"
                    ));
                }
                return Some(rules);
            };
            let told = format!("{}: {}", finding.reason.as_str(), printable(&finding.found, 300));
            // With more time the first rules may do.
            if finding.reason == Reason::ScanVerdictStale {
                refused = Some(told);
                break;
            }
            refused = Some(told);
        }
    }
    let why = refused.unwrap_or_default();
    notes.push(format!("no rule about vulnerabilities admits the image today: {why}"));
    None
}

fn verdict(image: &ImageReference, rules: &Value, evidence: &Evidence, now: Timestamp) -> Option<Verdict> {
    let policy = policy::read(&document("tried", &json!({ "vulnerabilities": rules })))?.policy;
    let requirement =
        policy.requirements().iter().find(|one| matches!(one, Requirement::Vulnerabilities(_)))?;
    Some(judge(requirement, image, evidence, now))
}

/// What must have been scanned: the image or, of an index, each of its platforms, as a cluster may run any.
fn subjects(known: &Known<'_>, scans: &[ScanVerdict]) -> Vec<ScanSubject> {
    let of = |digest: &Digest, platform: Option<&str>| {
        let platform = platform.and_then(|name| name.parse().ok());
        let speaks = |verdict: &&ScanVerdict| {
            verdict.digest == *digest
                || (verdict.digest == *known.digest
                    && platform.as_ref().is_none_or(|platform| {
                        verdict.platforms.is_empty()
                            || verdict.platforms.iter().any(|one| one.covers(platform))
                    }))
        };
        let verdicts = scans.iter().filter(speaks).cloned().map(Into::into).collect();
        ScanSubject { digest: digest.clone(), platform, verdicts, requested: false }
    };
    if known.manifest.platforms.is_empty() {
        return vec![of(known.digest, None)];
    }
    known.manifest.platforms.iter().map(|one| of(&one.digest, Some(&one.name))).collect()
}

/// An age in days that the oldest scan and database do not reach for a day; none where they are younger than the default, or
/// older than a policy can say.
fn older(scans: &[ScanVerdict], now: Timestamp) -> Option<String> {
    let readable = scans.iter().filter_map(|verdict| verdict.content.as_ref().ok());
    let oldest = readable.flat_map(|scan| [Some(scan.scanned_at), scan.database_at]).flatten().min()?;
    let age: SignedDuration = now.duration_since(oldest);
    let days = age.as_hours() / 24 + 2;
    (age > SignedDuration::from_hours(168) && days <= 365).then(|| format!("{days}d"))
}
