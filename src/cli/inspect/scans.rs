//! What scanners have said of an image: from files, from the cluster, and from attestations beside it.

use std::fmt::Write as _;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Args, Shown, signer_text};
use crate::{
    cluster,
    decision::{attested_verdict, printable},
    evidence::{
        Claim, Counts, Platform, Scan, ScanVerdict, Severity, Signer, Verified, VexStatus, Vulnerability,
    },
    files,
    image::Digest,
    registry::ImageManifest,
    reports::{PREDICATE_TYPES, read_statement},
    verdicts,
};

/// How many findings are shown of each verdict.
const WORST: usize = 5;

/// What one source says of the image, or of one of its platforms.
pub(super) struct ShownScan {
    /// Where it was found.
    pub(super) place: String,
    /// What scanned the image, and in which version, as far as it can be read.
    scanner: Option<String>,
    version: Option<String>,
    /// How an attestation was signed; none for an object, which nobody has signed.
    pub(super) attested: Option<Attestation>,
    pub(super) verdict: ScanVerdict,
}

pub(super) struct Attestation {
    signer: Option<Signer>,
    /// By what it holds, and what was verified. Empty: it is nobody's word so far.
    pub(super) holds: Vec<(String, Verified)>,
}

/// Those in the files and in the cluster that `args` names, about the image or one of its platforms.
pub(super) async fn stored(
    args: &Args,
    digest: &Digest,
    manifest: &ImageManifest,
) -> anyhow::Result<Vec<ShownScan>> {
    let mut digests: Vec<&Digest> = vec![digest];
    digests.extend(manifest.platforms.iter().map(|platform| &platform.digest));
    let mut scans = Vec::new();
    for filed in files::read_policies_and_scans(&[], &args.verdicts)?.verdicts {
        let place = filed.place.to_string();
        let scan = object(place.clone(), &filed.name, filed.spec).with_context(|| place)?;
        scans.extend(Some(scan).filter(|scan| digests.contains(&&scan.verdict.digest)));
    }
    if args.cluster || args.kubeconfig.is_some() {
        let client = cluster::client(args.kubeconfig.as_deref()).await?;
        digests.sort_unstable();
        digests.dedup();
        for digest in digests {
            for (name, spec) in cluster::scan_verdicts(client.clone(), digest).await? {
                let place = format!("ImageScanVerdict/{name} in the cluster");
                scans.push(object(place.clone(), &name, spec).with_context(|| place)?);
            }
        }
    }
    Ok(scans)
}

fn object(place: String, name: &str, spec: Value) -> anyhow::Result<ShownScan> {
    let text = |field: &str| spec["scanner"][field].as_str().map(str::to_owned);
    let (scanner, version) = (text("name"), text("version"));
    let verdict = verdicts::from_value(name, spec)?;
    Ok(ShownScan { place, scanner, version, attested: None, verdict })
}

/// What the attestations among `shown` say of the image's scans, whether or not they hold.
pub(super) fn attested(shown: &[Shown], image: &Digest) -> Vec<ShownScan> {
    let read = |one: &Shown| {
        let unverified = one.unverified.as_ref().ok()?;
        let Ok(Claim::Attestation { predicate_type, statement }) = &unverified.claim else { return None };
        if !PREDICATE_TYPES.contains(&predicate_type.as_str()) {
            return None;
        }
        let report = read_statement(statement).ok();
        Some(ShownScan {
            place: one.place.to_string(),
            scanner: report.as_ref().map(|report| report.scanner.clone()),
            version: report.and_then(|report| report.scanner_version),
            attested: Some(Attestation { signer: unverified.signer.clone(), holds: one.holds.clone() }),
            verdict: attested_verdict(statement, image),
        })
    };
    shown.iter().filter_map(read).collect()
}

/// A block for people. `image` is the digest that stands above already.
pub(super) fn text(scan: &ShownScan, image: &Digest, now: Timestamp) -> String {
    let ShownScan { place, scanner, version, attested, verdict } = scan;
    let mut text = format!("\nscan by {}\n", printable(&verdict.source, 63));
    let mut line = |name: &str, said: &str| {
        // OK because writing to a String cannot fail
        writeln!(text, "  {name:<8} {said}").unwrap();
    };
    line("stored", &printable(place, 300));
    if verdict.digest != *image {
        line("of", verdict.digest.as_str());
    }
    if let Some(Attestation { signer, holds }) = attested {
        line("signer", &signer_text(signer.as_ref()));
        let by: Vec<String> = holds.iter().map(|(by, _)| printable(by, 200)).collect();
        match by.is_empty() {
            true => line("unproven", "it does not hold by what is known: see above"),
            false => line("holds", &format!("by {}", by.join(", "))),
        }
    }
    if let Some(scanner) = scanner.as_deref().filter(|name| !name.is_empty()) {
        let version = version.as_deref().map(|version| format!(" {}", printable(version, 128)));
        line("scanner", &format!("{}{}", printable(scanner, 128), version.unwrap_or_default()));
    }
    let scan = match &verdict.content {
        Ok(scan) => scan,
        Err(why) => {
            line("unreadable", &printable(why, 300));
            return text;
        }
    };
    line("scanned", &when(scan.scanned_at, now));
    if let Some(at) = scan.database_at {
        line("database", &when(at, now));
    }
    if !verdict.platforms.is_empty() {
        let platforms: Vec<&str> = verdict.platforms.iter().map(Platform::as_str).collect();
        line("platform", &platforms.join(", "));
    }
    if let Some(distribution) = &scan.end_of_life {
        let name = printable(distribution, 128);
        line("ended", &format!("{name} no longer gets advisories: what is not listed means little"));
    }
    line("found", &counted(&scan.counts));
    let total = total(&scan.counts);
    if (scan.vulnerabilities.len() as u64) < total {
        let listed = scan.vulnerabilities.len();
        line("cut", &format!("lists {listed} of {total}: what is not listed is not known to be harmless"));
    }
    for one in scan.vulnerabilities.iter().take(WORST) {
        line("", &finding(one));
    }
    match scan.vulnerabilities.len() {
        listed if listed > WORST => line("", &format!("and {} more", listed - WORST)),
        _ => {}
    }
    text
}

fn counted(counts: &Counts) -> String {
    let of = |(severity, name): (Option<Severity>, &str)| {
        let count = counts.of(severity);
        (count.found > 0).then(|| format!("{} {name} ({} with a fix)", count.found, count.fixable))
    };
    let found: Vec<String> = severities().filter_map(of).collect();
    if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
}

fn total(counts: &Counts) -> u64 {
    severities().map(|(severity, _)| u64::from(counts.of(severity).found)).sum()
}

fn severities() -> impl Iterator<Item = (Option<Severity>, &'static str)> {
    let known = Severity::ALL.into_iter().map(|severity| (Some(severity), severity.as_str()));
    known.chain([(None, "of unknown severity")])
}

fn finding(one: &Vulnerability) -> String {
    let severity = one.severity.map_or("severity unknown", Severity::as_str);
    let mut text = format!("{} {severity}", printable(&one.id, 64));
    let mut add = |text_of: String| text.push_str(&text_of);
    if !one.package.is_empty() {
        add(format!(" {}", printable(&one.package, 100)));
    }
    if !one.installed.is_empty() {
        add(format!(" {}", printable(&one.installed, 64)));
    }
    match one.fixed.as_deref() {
        None => {}
        Some("") => add(" (a fix exists)".to_owned()),
        Some(version) => add(format!(" → {}", printable(version, 64))),
    }
    if let Some(day) = one.published {
        add(format!(", published {day}"));
    }
    if let Some(status) = one.vex {
        add(format!(", VEX {}", status.as_str()));
    }
    text
}

/// A moment, and how long ago it was.
fn when(at: Timestamp, now: Timestamp) -> String {
    match now.duration_since(at).as_hours() {
        ..0 => format!("{at} (ahead of this clock)"),
        0 => format!("{at} (within the hour)"),
        hours @ 1..=48 => format!("{at} ({hours} h ago)"),
        hours => format!("{at} ({} days ago)", hours / 24),
    }
}

/// The same for programs.
pub(super) fn document(scan: &ShownScan) -> Value {
    let ShownScan { place, scanner, version, attested, verdict } = scan;
    let mut value = json!({
        "source": verdict.source,
        "place": place,
        "digest": verdict.digest,
        "scanner": {"name": scanner, "version": version},
    });
    if let Some(Attestation { signer, holds }) = attested {
        value["signer"] = signer.as_ref().map(super::signer_document).into();
        value["holds"] = holds.iter().map(|(by, _)| json!({ "by": by })).collect();
    }
    let Scan { scanned_at, database_at, end_of_life, counts, vulnerabilities } = match &verdict.content {
        Ok(scan) => scan,
        Err(why) => {
            value["problem"] = json!(why);
            return value;
        }
    };
    let count = |severity| {
        let count = counts.of(severity);
        json!({"found": count.found, "fixable": count.fixable})
    };
    value["scannedAt"] = json!(scanned_at.to_string());
    value["databaseAt"] = json!(database_at.map(|at| at.to_string()));
    value["platforms"] = verdict.platforms.iter().map(Platform::as_str).collect();
    value["endOfLife"] = json!(end_of_life);
    value["counts"] = Severity::ALL
        .into_iter()
        .map(|severity| (severity.as_str().to_lowercase(), count(Some(severity))))
        .chain([("unknown".to_owned(), count(None))])
        .collect::<serde_json::Map<_, _>>()
        .into();
    value["listed"] = json!(vulnerabilities.len());
    value["truncated"] = json!((vulnerabilities.len() as u64) < total(counts));
    let worst = vulnerabilities.iter().take(WORST).map(|one| {
        json!({
            "id": one.id,
            "severity": one.severity.map(Severity::as_str),
            "package": one.package,
            "installed": one.installed,
            "fixed": one.fixed,
            "published": one.published.map(|day| day.to_string()),
            "vex": one.vex.map(VexStatus::as_str),
        })
    });
    value["worst"] = worst.collect();
    value
}
