use std::{
    collections::BTreeSet,
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::*;

/// What `/metrics` shows where everything that can be counted has been: name, type and labels.
fn shown() -> BTreeSet<(String, String, String)> {
    let metrics = Metrics::new([]);
    metrics.review(&ReviewSample {
        kind: "Pod",
        operation: "CREATE",
        stage: "mutate",
        allowed: true,
        warned: false,
        dry_run: false,
        waited: false,
        duration: Duration::ZERO,
    });
    metrics.check_result(None, "Match", "Absent", "Warn");
    metrics.unmatched_image();
    metrics.set_policies([("ClusterImageAdmissionPolicy", "p".to_owned(), true)]);
    let refreshed = vec![("ours", Some(7))];
    metrics.set_trust(&TrustSample { version: 1, keys: (1, 0), roots: (1, 0), refreshed });
    metrics.trust_root_refreshed("ours", "ok");
    metrics.registry_request("r.example.com", "resolve", "ok", Duration::ZERO);
    metrics.cache_request("tag", "hit");
    metrics.set_scan_verdicts(1, 0);
    metrics.scan_request("accepted");
    metrics.rejected("malformed");
    metrics.panicked();
    metrics.certificate_reloaded(true);
    metrics.set_certificate_expiry(Some(1_800_000_000));
    metrics.log_line_dropped();
    metrics.set_trust(&TrustSample {
        version: 1,
        keys: (1, 0),
        roots: (1, 0),
        refreshed: vec![("house", Some(1))],
    });
    metrics.trust_root_refreshed("house", "ok");
    metrics.set_sources(["trivy"]);
    metrics.source_succeeded("trivy", 1);
    metrics.source_failed("trivy", "NoDigest");
    metrics.source_measured("trivy", 1, &[1.0]);
    let text = metrics.encode();
    let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(|described| {
        let (name, kind) = described.split_once(' ').unwrap();
        let series = if kind == "histogram" { format!("{name}_sum") } else { name.to_owned() };
        let labels = text.lines().find_map(|line| line.strip_prefix(&format!("{series}{{")));
        // A value holds neither comma nor equals sign here.
        let labels = labels.map_or("", |labels| labels.split_once('}').unwrap().0).split(',');
        let labels: Vec<_> = labels.filter_map(|label| Some(label.split_once('=')?.0)).collect();
        (name.to_owned(), kind.to_owned(), sorted(&labels))
    });
    let described: BTreeSet<_> = described.collect();
    for metric in metrics.catalogue() {
        assert!(described.iter().any(|(name, ..)| *name == metric.name), "{} is never counted", metric.name);
    }
    described
}

fn sorted(labels: &[&str]) -> String {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    labels.join(" ")
}

#[test]
fn the_documentation_lists_exactly_the_metrics_that_there_are() {
    let documented: BTreeSet<(String, String, String)> = include_str!("../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `tidewaiter_"))
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
            (format!("tidewaiter_{}", cells[0].trim_matches('`')), cells[1].to_owned(), sorted(&labels))
        })
        .collect();
    assert_eq!(documented, shown());
}

#[test]
fn labels_that_strangers_choose_have_a_bounded_number_of_values() {
    let metrics = Metrics::new(["registry.example.com".to_owned()]);
    metrics.set_policies([("ClusterImageAdmissionPolicy", "known".to_owned(), true)]);
    for number in 0..50 {
        let kind = format!("Kind{number}");
        let sample = ReviewSample {
            kind: &kind,
            operation: "CREATE",
            stage: "mutate",
            allowed: true,
            warned: false,
            dry_run: false,
            waited: false,
            duration: Duration::from_millis(1),
        };
        metrics.review(&sample);
        metrics.registry_request(&format!("r{number}.example.com"), "resolve", "ok", Duration::ZERO);
        metrics.check_result(Some(&format!("policy{number}")), "Digest", "Satisfied", "Deny");
    }
    metrics.registry_request("registry.example.com", "resolve", "ok", Duration::ZERO);
    metrics.check_result(Some("known"), "Digest", "Satisfied", "Deny");
    let text = metrics.encode();
    let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(series("tidewaiter_reviews_total{"), 1, "{text}");
    assert_eq!(series("tidewaiter_registry_requests_total{"), 2, "{text}");
    assert_eq!(series("tidewaiter_check_results_total{"), 2, "{text}");
    assert!(text.contains("kind=\"other\""));
}

#[test]
fn the_series_of_a_policy_that_is_gone_are_gone_and_no_others() {
    let metrics = Metrics::new([]);
    let named = |name: &str| ("ClusterImageAdmissionPolicy", name.to_owned(), true);
    metrics.set_policies([named("old"), named("older")]);
    for check in ["Digest", "Match"] {
        metrics.check_result(Some("old"), check, "Satisfied", "Deny");
        metrics.check_result(Some("older"), check, "Satisfied", "Deny");
    }
    assert!(metrics.encode().contains("policy=\"old\""));
    metrics.set_policies([("ClusterImageAdmissionPolicy", "new".to_owned(), false), named("older")]);
    let text = metrics.encode();
    assert!(!text.contains("policy=\"old\""), "{text}");
    assert_eq!(text.matches("policy=\"older\"").count(), 2, "{text}");
    assert!(text.contains("tidewaiter_policies{kind=\"ClusterImageAdmissionPolicy\",state=\"failing\"} 1"));
}

fn record<'a>(name: &'a str, images: Vec<ImageRecord<'a>>) -> DecisionRecord<'a> {
    DecisionRecord {
        time: "2026-11-23T00:00:00Z".to_owned(),
        decision_id: "id",
        uid: "uid",
        stage: "mutate",
        operation: "CREATE",
        kind: "Pod",
        namespace: "shop",
        name,
        user: "dev",
        dry_run: false,
        allowed: false,
        warnings: 0,
        duration_ms: 0.25,
        unjudged: None,
        images_left_out: None,
        images,
    }
}

/// A sink that remembers, and waits before each line until it is let go.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn written(format: LogFormat, record: &DecisionRecord<'_>) -> String {
    let sink = Sink::default();
    let log = DecisionLog::start(format, sink.clone()).unwrap();
    assert!(log.write(record));
    let patience = Instant::now() + Duration::from_secs(10);
    while !sink.0.lock().unwrap().ends_with(b"\n") && Instant::now() < patience {
        std::thread::yield_now();
    }
    let bytes = sink.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_decision_is_one_line_whatever_its_object_is_called() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let line = written(format, &record("a\nb \u{1b}[31m\u{202e}", Vec::new()));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn no_text_of_a_stranger_forges_a_field_or_another_line() {
    let forged = "Pod\n2026-11-24 allowed id=forged name=\"x\"";
    let result = ResultRecord {
        policy: Some(format!("ImageAdmissionPolicy/shop/{forged}")),
        check: "Policy",
        verdict: "Violated",
        action: "Deny",
        reason: Some("PolicyUnreadable"),
        found: None,
    };
    let image = ImageRecord {
        pointer: "/p",
        image: forged,
        reference: None,
        digest: None,
        detail: Some(forged),
        results: vec![result],
    };
    let hostile = DecisionRecord {
        kind: forged,
        namespace: forged,
        user: forged,
        unjudged: Some(forged),
        ..record(forged, vec![image])
    };
    let line = written(LogFormat::Text, &hostile);
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    // Outside of quotes nothing stands but what we have written.
    let own: String = line.replace("\\\\", "").replace("\\\"", "").split('"').step_by(2).collect();
    assert!(!own.contains("forged") && own.contains("id=id"), "{own}");
}

#[test]
fn a_json_line_holds_images_and_results_as_json() {
    let result = ResultRecord {
        policy: Some("ClusterImageAdmissionPolicy/a".to_owned()),
        check: "Registries",
        verdict: "Violated",
        action: "Deny",
        reason: Some("RegistryDenied"),
        found: Some("docker.io"),
    };
    let image = ImageRecord {
        pointer: "/spec/containers/0/image",
        image: "nginx",
        reference: Some("docker.io/library/nginx:latest".to_owned()),
        digest: None,
        detail: None,
        results: vec![result],
    };
    let line = written(LogFormat::Json, &record("web", vec![image]));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["images"][0]["results"][0]["reason"], "RegistryDenied");
    assert_eq!(value["decision_id"], "id");
}

#[test]
fn a_line_that_would_be_too_long_says_what_it_leaves_out() {
    let text = "x".repeat(1000);
    let image = ImageRecord {
        pointer: "/p",
        image: &text,
        reference: None,
        digest: None,
        detail: None,
        results: Vec::new(),
    };
    let line = written(LogFormat::Json, &record("web", vec![image; 256]));
    assert!(line.len() < 2000, "{}", line.len());
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["images_left_out"], &value["images"]), (&256.into(), &serde_json::json!([])));
    assert!(value.get("unjudged").is_none(), "the images were judged: {line}");
}

#[test]
fn a_text_line_has_an_end_too() {
    let text = "ä".repeat(1 << 20);
    let image = ImageRecord {
        pointer: "/p",
        image: &text,
        reference: None,
        digest: None,
        detail: None,
        results: Vec::new(),
    };
    let line = written(LogFormat::Text, &record("web", vec![image]));
    assert!(line.len() < 66 << 10 && line.ends_with(" …\n"), "{}", line.len());
}

#[test]
fn a_log_that_nobody_reads_loses_lines_and_holds_up_nobody() {
    struct Stuck;
    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            loop {
                std::thread::park();
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = DecisionLog::start(LogFormat::Json, Stuck).unwrap();
    let record = record("web", Vec::new());
    assert!((0..20_000).any(|_| !log.write(&record)));
}

#[test]
fn the_series_of_a_trust_root_that_is_gone_are_gone_and_no_others() {
    let metrics = Metrics::new([]);
    let trust = |version, refreshed| TrustSample { version, keys: (2, 1), roots: (0, 1), refreshed };
    metrics.set_trust(&trust(3, vec![("old", Some(10)), ("new", Some(20)), ("never", None)]));
    for root in ["old", "new", "never"] {
        metrics.trust_root_refreshed(root, "refused");
    }
    let text = metrics.encode();
    assert!(text.contains("tidewaiter_trust{kind=\"key\",state=\"failing\"} 1"), "{text}");
    assert!(text.contains("tidewaiter_trust_changes_total 3"), "{text}");
    assert!(text.contains("tidewaiter_trust_root_refreshed_timestamp_seconds{root=\"old\"} 10"), "{text}");
    assert!(!text.contains("seconds{root=\"never\"}"), "{text}");
    metrics.set_trust(&trust(3, vec![("new", Some(20))]));
    let text = metrics.encode();
    assert!(!text.contains("\"old\"") && !text.contains("\"never\""), "{text}");
    assert!(
        text.contains("tidewaiter_trust_root_refreshes_total{outcome=\"refused\",root=\"new\"} 1"),
        "{text}"
    );
    assert!(text.contains("tidewaiter_trust_changes_total 3"), "{text}");
}

#[test]
fn sources_that_nobody_has_named_are_counted_together_and_those_that_go_take_their_series() {
    let metrics = Metrics::new([]);
    metrics.set_sources(["clair", "trivy"]);
    for source in ["clair", "trivy", "stranger"] {
        metrics.source_failed(source, "ScanFailed");
        metrics.source_measured(source, 3, &[10.0, 4000.0]);
    }
    let text = metrics.encode();
    assert!(
        text.contains("tidewaiter_source_errors_total{reason=\"ScanFailed\",source=\"other\"} 1"),
        "{text}"
    );
    assert!(!text.contains("stranger") && !text.contains("tidewaiter_source_queue{source=\"other\"}"));
    metrics.source_measured("trivy", 0, &[10.0]);
    metrics.set_sources(["trivy"]);
    let text = metrics.encode();
    assert!(!text.contains("clair"), "{text}");
    assert!(
        text.contains("tidewaiter_verdict_age_seconds_count{source=\"trivy\"} 1"),
        "measured anew: {text}"
    );
}

#[test]
fn no_more_than_64_sources_have_a_label_of_their_own() {
    let metrics = Metrics::new([]);
    let names: Vec<String> = (0..100).map(|number| format!("s-{number}")).collect();
    metrics.set_sources(names.iter().map(String::as_str));
    names.iter().for_each(|name| metrics.source_succeeded(name, 1));
    let series = metrics.encode().lines().filter(|line| line.starts_with("tidewaiter_source_last")).count();
    assert_eq!(series, 65, "those, and one for the others");
}
