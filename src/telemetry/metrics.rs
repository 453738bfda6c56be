use std::{cell::RefCell, collections::BTreeSet, sync::Arc, time::Duration};

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

/// The content type of what [`Metrics::encode`] returns.
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The label of everything that has no label of its own.
const OTHER: &str = "other";
/// How many policies have a label of their own; the rest are [`OTHER`].
const POLICY_LIMIT: usize = 1000;
/// How many configured registries have a label of their own; the rest are [`OTHER`].
const HOST_LIMIT: usize = 50;
/// How many sources of verdicts have a label of their own; the rest are [`OTHER`].
const SOURCE_LIMIT: usize = 64;
/// The kinds that are told apart; the rest are [`OTHER`].
const KINDS: [&str; 9] = [
    "CronJob",
    "DaemonSet",
    "Deployment",
    "Job",
    "Pod",
    "PodTemplate",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
];
/// The labels of what checks made of images.
const CHECK_LABELS: [&str; 4] = ["policy", "check", "verdict", "action"];
/// The labels of what no verdict came of.
const SOURCE_ERROR_LABELS: [&str; 2] = ["source", "reason"];
/// How looks at TUF repositories end.
const REFRESH_OUTCOMES: [&str; 3] = ["ok", "refused", "unreachable"];
/// From 50 µs to the API server's longest timeout, in seconds.
const REVIEW_BUCKETS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 10.0, 30.0];
/// From a round trip inside a data centre to the longest look-up, in seconds.
const REGISTRY_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];
/// From an hour to a month, in seconds.
const AGE_BUCKETS: [f64; 9] =
    [3_600.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0, 259_200.0, 604_800.0, 1_209_600.0, 2_592_000.0];

/// All metrics, on a registry of their own. One for the whole process.
///
/// Every label has a bounded set of values, whatever requests and registries send.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    catalogue: Vec<MetricDescription>,
    hosts: BTreeSet<String>,
    cache_requests: IntCounterVec,
    certificate_expiry: IntGaugeVec,
    certificate_reloads: IntCounterVec,
    check_results: IntCounterVec,
    log_lines_dropped: IntCounter,
    panics: IntCounter,
    policies: IntGaugeVec,
    policy_labels: std::sync::Mutex<BTreeSet<String>>,
    registry_duration: HistogramVec,
    registry_requests: IntCounterVec,
    rejected: IntCounterVec,
    review_duration: HistogramVec,
    reviews: IntCounterVec,
    scan_requests: IntCounterVec,
    scan_verdicts: IntGaugeVec,
    source_errors: IntCounterVec,
    source_labels: std::sync::Mutex<BTreeSet<String>>,
    source_last_success: IntGaugeVec,
    source_queue: IntGaugeVec,
    trust: IntGaugeVec,
    trust_changes: IntCounter,
    trust_refreshed: IntGaugeVec,
    trust_refreshes: IntCounterVec,
    trust_seen: std::sync::Mutex<TrustSeen>,
    unmatched_images: IntCounter,
    verdict_age: HistogramVec,
}

/// One metric, for the documentation's test.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MetricDescription {
    /// The full name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The labels' names.
    pub labels: Vec<String>,
}

/// What of trust has been told.
#[derive(Debug, Default)]
struct TrustSeen {
    version: u64,
    roots: BTreeSet<String>,
}

/// Keys and trust roots in force, for [`Metrics::set_trust`].
#[derive(Clone, Debug)]
pub struct TrustSample<'a> {
    /// Their version, which grows with every change.
    pub version: u64,
    /// How many keys can be used, and how many cannot.
    pub keys: (usize, usize),
    /// How many trust roots can be used, and how many cannot.
    pub roots: (usize, usize),
    /// When TUF repositories last vouched for trust roots: name, and seconds since 1970; none if never.
    pub refreshed: Vec<(&'a str, Option<i64>)>,
}

/// One review, for [`Metrics::review`].
#[derive(Clone, Copy, Debug)]
pub struct ReviewSample<'a> {
    /// The object's kind as in the request.
    pub kind: &'a str,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'static str,
    /// `mutate` or `validate`.
    pub stage: &'static str,
    /// Whether it was admitted.
    pub allowed: bool,
    /// Whether somebody was warned.
    pub warned: bool,
    /// Whether nothing was to be stored.
    pub dry_run: bool,
    /// Whether somebody outside had to be asked.
    pub waited: bool,
    /// From the request's last byte to the answer.
    pub duration: Duration,
}

impl Metrics {
    /// `registry_hosts` are the configured registries; others are counted together.
    pub fn new(registry_hosts: impl IntoIterator<Item = String>) -> Arc<Self> {
        let registry = Registry::new();
        let make = Maker { registry: &registry, made: RefCell::default() };
        make.gauges("build_info", "Always 1; the label says which version runs.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let mut metrics = Self {
            catalogue: Vec::new(),
            hosts: registry_hosts.into_iter().take(HOST_LIMIT).collect(),
            cache_requests: make.counters(
                "cache_requests_total",
                "Questions to a cache.",
                &["cache", "answer"],
            ),
            // No series before there is a certificate: 0 would be 1970, and an alert in a process that shows none.
            certificate_expiry: make.gauges(
                "certificate_expiry_timestamp_seconds",
                "When the serving certificate expires, since 1970.",
                &[],
            ),
            certificate_reloads: make.counters(
                "certificate_reloads_total",
                "New serving certificates found.",
                &["outcome"],
            ),
            check_results: make.counters(
                "check_results_total",
                "What policies' checks made of images.",
                &CHECK_LABELS,
            ),
            log_lines_dropped: make
                .counter("decision_log_lines_dropped_total", "Decisions that the log was too slow to take."),
            panics: make.counter("panics_total", "Reviews that broke off and were denied."),
            policies: make.gauges("policies", "Policies in force.", &["kind", "state"]),
            policy_labels: std::sync::Mutex::default(),
            registry_duration: make.histograms(
                "registry_request_duration_seconds",
                "How long registries and token servers took.",
                &["host", "class"],
                &REGISTRY_BUCKETS,
            ),
            registry_requests: make.counters(
                "registry_requests_total",
                "Requests to registries and token servers.",
                &["host", "class", "outcome"],
            ),
            rejected: make.counters("rejected_requests_total", "Requests that were no review.", &["reason"]),
            review_duration: make.histograms(
                "review_duration_seconds",
                "From a request's last byte to its answer.",
                &["stage", "waited"],
                &REVIEW_BUCKETS,
            ),
            reviews: make.counters(
                "reviews_total",
                "Answered AdmissionReviews.",
                &["kind", "operation", "stage", "decision", "dry_run"],
            ),
            scan_requests: make.counters(
                "scan_requests_total",
                "Scans that reviews have asked for.",
                &["outcome"],
            ),
            scan_verdicts: make.gauges("scan_verdicts", "Scan verdicts at hand.", &["state"]),
            source_errors: make.counters(
                "source_errors_total",
                "Reports and scans of which no verdict came.",
                &SOURCE_ERROR_LABELS,
            ),
            source_labels: std::sync::Mutex::default(),
            source_last_success: make.gauges(
                "source_last_success_timestamp_seconds",
                "When the last verdict came of a source, since 1970.",
                &["source"],
            ),
            source_queue: make.gauges("source_queue", "Images that wait to be scanned.", &["source"]),
            trust: make.gauges("trust", "Keys and trust roots that policies name.", &["kind", "state"]),
            trust_changes: make.counter("trust_changes_total", "Changes of keys or trust roots."),
            trust_refreshed: make.gauges(
                "trust_root_refreshed_timestamp_seconds",
                "When a TUF repository last vouched for a trust root, since 1970.",
                &["root"],
            ),
            trust_refreshes: make.counters(
                "trust_root_refreshes_total",
                "Times that a TUF repository was asked for a trust root.",
                &["root", "outcome"],
            ),
            trust_seen: std::sync::Mutex::default(),
            unmatched_images: make.counter("unmatched_images_total", "Images that no policy was about."),
            verdict_age: make.histograms(
                "verdict_age_seconds",
                "How old the verdicts are that there are now.",
                &["source"],
                &AGE_BUCKETS,
            ),
            registry: registry.clone(),
        };
        metrics.catalogue = make.made.into_inner();
        metrics.catalogue.sort();
        Arc::new(metrics)
    }

    /// An AdmissionReview was answered.
    pub fn review(&self, sample: &ReviewSample<'_>) {
        let kind = KINDS.into_iter().find(|kind| *kind == sample.kind).unwrap_or(OTHER);
        let decision = match (sample.allowed, sample.warned) {
            (false, _) => "denied",
            (true, true) => "warned",
            (true, false) => "allowed",
        };
        let dry_run = yes_or_no(sample.dry_run);
        self.reviews.with_label_values(&[kind, sample.operation, sample.stage, decision, dry_run]).inc();
        self.review_duration
            .with_label_values(&[sample.stage, yes_or_no(sample.waited)])
            .observe(sample.duration.as_secs_f64());
    }

    /// A policy's check judged an image; no policy where the result is about there being none.
    pub fn check_result(
        &self,
        policy: Option<&str>,
        check: &'static str,
        verdict: &'static str,
        action: &'static str,
    ) {
        let policy = match policy {
            None => "none",
            // OK because nothing that holds this lock can panic
            Some(policy) if self.policy_labels.lock().unwrap().contains(policy) => policy,
            Some(_) => OTHER,
        };
        self.check_results.with_label_values(&[policy, check, verdict, action]).inc();
    }

    /// No policy was about an image.
    pub fn unmatched_image(&self) {
        self.unmatched_images.inc();
    }

    /// These policies are in force now: kind, name and whether each compiles.
    pub fn set_policies(&self, policies: impl IntoIterator<Item = (&'static str, String, bool)>) {
        self.policies.reset();
        let mut labels = BTreeSet::new();
        for (kind, name, ready) in policies {
            self.policies.with_label_values(&[kind, if ready { "ready" } else { "failing" }]).inc();
            if labels.len() < POLICY_LIMIT {
                labels.insert(name);
            }
        }
        // OK because nothing that holds this lock can panic
        let mut known = self.policy_labels.lock().unwrap();
        for policy in known.difference(&labels) {
            self.forget(policy);
        }
        *known = labels;
    }

    /// Takes away the series of a policy that is gone, and no other's: whoever may write policies for a
    /// namespace must not wipe out everybody's counts.
    fn forget(&self, policy: &str) {
        forget(&self.check_results, &CHECK_LABELS, policy);
    }

    /// These sources of verdicts exist now. The series of one that is gone go with it.
    pub fn set_sources<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let labels: BTreeSet<String> = names.into_iter().take(SOURCE_LIMIT).map(str::to_owned).collect();
        // OK because nothing that holds this lock can panic
        let mut known = self.source_labels.lock().unwrap();
        for gone in known.difference(&labels) {
            // An error says that there was no such series.
            let _ = self.source_last_success.remove_label_values(&[gone]);
            let _ = self.source_queue.remove_label_values(&[gone]);
            let _ = self.verdict_age.remove_label_values(&[gone]);
            forget(&self.source_errors, &SOURCE_ERROR_LABELS, gone);
        }
        *known = labels;
    }

    /// A verdict has come of `source` at this time, in seconds since 1970.
    pub fn source_succeeded(&self, source: &str, at: i64) {
        self.source_last_success.with_label_values(&[&*self.source_label(source)]).set(at);
    }

    /// No verdict has come of something in `source`.
    pub fn source_failed(&self, source: &str, reason: &'static str) {
        self.source_errors.with_label_values(&[&*self.source_label(source), reason]).inc();
    }

    /// How many images wait for `source`, and how old all its verdicts are, in seconds: takes the place of what was
    /// measured before. Sources without a label of their own are not measured.
    pub fn source_measured(&self, source: &str, queue: usize, ages: &[f64]) {
        let label = self.source_label(source);
        if label == OTHER {
            return;
        }
        self.source_queue.with_label_values(&[&*label]).set(i64::try_from(queue).unwrap_or(i64::MAX));
        let _ = self.verdict_age.remove_label_values(&[&*label]);
        let histogram = self.verdict_age.with_label_values(&[&*label]);
        ages.iter().for_each(|age| histogram.observe(*age));
    }

    fn source_label(&self, source: &str) -> String {
        // OK because nothing that holds this lock can panic
        let known = self.source_labels.lock().unwrap();
        known.get(source).cloned().unwrap_or_else(|| OTHER.to_owned())
    }

    /// A registry or its token server answered, or failed to.
    pub fn registry_request(
        &self,
        host: &str,
        class: &'static str,
        outcome: &'static str,
        duration: Duration,
    ) {
        let host = if self.hosts.contains(host) { host } else { OTHER };
        self.registry_requests.with_label_values(&[host, class, outcome]).inc();
        self.registry_duration.with_label_values(&[host, class]).observe(duration.as_secs_f64());
    }

    /// So many scan verdicts can be read, and so many cannot.
    pub fn set_scan_verdicts(&self, ready: usize, failing: usize) {
        for (state, number) in [("ready", ready), ("failing", failing)] {
            self.scan_verdicts.with_label_values(&[state]).set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    /// A review has asked for a scan.
    pub fn scan_request(&self, outcome: &'static str) {
        self.scan_requests.with_label_values(&[outcome]).inc();
    }

    /// These keys and trust roots are in force now. The series of a root that is gone go with it.
    pub fn set_trust(&self, sample: &TrustSample<'_>) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for (kind, (ready, failing)) in [("key", sample.keys), ("root", sample.roots)] {
            self.trust.with_label_values(&[kind, "ready"]).set(count(ready));
            self.trust.with_label_values(&[kind, "failing"]).set(count(failing));
        }
        // OK because nothing that holds this lock can panic
        let mut seen = self.trust_seen.lock().unwrap();
        self.trust_changes.inc_by(sample.version.saturating_sub(seen.version));
        seen.version = seen.version.max(sample.version);
        let roots: BTreeSet<String> = sample.refreshed.iter().map(|(root, _)| (*root).to_owned()).collect();
        for gone in seen.roots.difference(&roots) {
            // An error says that there was no such series.
            let _ = self.trust_refreshed.remove_label_values(&[gone]);
            for outcome in REFRESH_OUTCOMES {
                let _ = self.trust_refreshes.remove_label_values(&[gone, outcome]);
            }
        }
        seen.roots = roots;
        for (root, time) in &sample.refreshed {
            if let Some(time) = time {
                self.trust_refreshed.with_label_values(&[root]).set(*time);
            }
        }
    }

    /// A TUF repository was asked for the trust root of this name: `ok`, `unreachable` or `refused`.
    pub fn trust_root_refreshed(&self, root: &str, outcome: &'static str) {
        self.trust_refreshes.with_label_values(&[root, outcome]).inc();
    }

    /// A cache was asked.
    pub fn cache_request(&self, cache: &'static str, answer: &'static str) {
        self.cache_requests.with_label_values(&[cache, answer]).inc();
    }

    /// A request was refused before it became a review.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected.with_label_values(&[reason]).inc();
    }

    /// A review broke off.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// The serving certificate expires at this time, in seconds since 1970; none if nobody knows.
    pub fn set_certificate_expiry(&self, at: Option<i64>) {
        match at {
            Some(at) => self.certificate_expiry.with_label_values::<&str>(&[]).set(at),
            None => self.certificate_expiry.reset(),
        }
    }

    /// The serving certificate's files have changed.
    pub fn certificate_reloaded(&self, usable: bool) {
        self.certificate_reloads.with_label_values(&[if usable { "ok" } else { "failed" }]).inc();
    }

    /// The decision log could not take a line.
    pub fn log_line_dropped(&self) {
        self.log_lines_dropped.inc();
    }

    /// All metrics in Prometheus' text format.
    pub fn encode(&self) -> String {
        // OK because writing to a String cannot fail, and every family has a name
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    /// Every metric that there is, by name, also those that have not counted anything yet.
    pub fn catalogue(&self) -> &[MetricDescription] {
        &self.catalogue
    }
}

/// Takes away all series of `family` whose first label has this value.
fn forget(family: &IntCounterVec, labels: &[&str], value: &str) {
    for metrics in family.collect() {
        for metric in metrics.get_metric() {
            let of = |label: &&str| {
                let found = metric.get_label().iter().find(|pair| pair.name() == *label);
                found.map_or("", |pair| pair.value())
            };
            let values: Vec<&str> = labels.iter().map(of).collect();
            if values[0] == value {
                // It is gone already if somebody else was faster.
                let _ = family.remove_label_values(&values);
            }
        }
    }
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

/// Registers metrics and takes note of each, so that none can be forgotten in the documentation.
struct Maker<'a> {
    registry: &'a Registry,
    made: RefCell<Vec<MetricDescription>>,
}

// OK because names and labels are constants, each registered once: `Metrics::new` in any test shows it
impl Maker<'_> {
    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("tidewaiter")
    }

    fn add<C: Collector + Clone + 'static>(&self, kind: &'static str, collector: C) -> C {
        self.registry.register(Box::new(collector.clone())).unwrap();
        self.made.borrow_mut().extend(collector.desc().into_iter().map(|description| MetricDescription {
            name: description.fq_name.clone(),
            kind,
            labels: description.variable_labels.clone(),
        }));
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add("counter", IntCounter::with_opts(Self::opts(name, help)).unwrap())
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add("counter", IntCounterVec::new(Self::opts(name, help), labels).unwrap())
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add("gauge", IntGaugeVec::new(Self::opts(name, help), labels).unwrap())
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        let opts = HistogramOpts { common_opts: Self::opts(name, help), buckets: buckets.to_vec() };
        self.add("histogram", HistogramVec::new(opts, labels).unwrap())
    }
}
