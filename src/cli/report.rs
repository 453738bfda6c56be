use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    cluster::{PoliciesObserver, PublishedPolicies},
    decision::CheckResult,
    image::Digest,
    policy::PolicySet,
    review::{
        Stage,
        ports::{
            CacheAnswer, CacheName, CacheObserver, RegistryExchange, RegistryObserver, ScanObserver,
            ScanRequest,
        },
    },
    telemetry::{DecisionLog, DecisionRecord, ImageRecord, Metrics, ResultRecord, ReviewSample, TrustSample},
    trust::{Published, RefreshOutcome, TrustObserver},
    webhook::report::{Rejection, Report, Reporter},
};

/// Brings what the other rooms tell into metrics and the decision log.
pub struct Telemetry {
    metrics: Arc<Metrics>,
    log: DecisionLog,
}

impl Telemetry {
    pub fn new(metrics: Arc<Metrics>, log: DecisionLog) -> Arc<Self> {
        Arc::new(Self { metrics, log })
    }

    /// These policies are in force from now on.
    pub fn policies(&self, set: &PolicySet) {
        self.metrics.set_policies(set.iter().map(|policy| {
            let id = policy.id();
            (id.kind.as_str(), id.to_string(), policy.compile_error().is_none())
        }));
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl Reporter for Telemetry {
    fn reviewed(&self, report: &Report<'_>) {
        let stage = match report.stage {
            Stage::Mutate => "mutate",
            Stage::Validate => "validate",
        };
        let operation = report.operation.as_str();
        self.metrics.review(&ReviewSample {
            kind: report.kind,
            operation,
            stage,
            allowed: report.allowed(),
            warned: report.warnings > 0,
            dry_run: report.dry_run,
            waited: report.waited,
            duration: report.duration,
        });
        for image in &report.decision.images {
            if !image.matched() {
                self.metrics.unmatched_image();
            }
            for result in &image.results {
                let policy = result.policy.as_ref().map(ToString::to_string);
                let (verdict, action) = (result.verdict.as_str(), result.action.as_str());
                self.metrics.check_result(policy.as_deref(), result.check.as_str(), verdict, action);
            }
        }
        let images = report.decision.images.iter().map(|image| ImageRecord {
            pointer: &image.pointer,
            image: &image.image,
            reference: image.reference.as_ref().map(ToString::to_string),
            digest: image.digest.as_ref().map(Digest::as_str),
            detail: image.detail.as_deref(),
            results: image.results.iter().map(result).collect(),
        });
        let record = DecisionRecord {
            time: Timestamp::now().to_string(),
            decision_id: report.decision_id,
            uid: report.uid,
            stage,
            operation,
            kind: report.kind,
            namespace: report.namespace,
            name: report.name,
            user: report.user,
            dry_run: report.dry_run,
            allowed: report.allowed(),
            warnings: report.warnings,
            duration_ms: report.duration.as_secs_f64() * 1000.0,
            unjudged: report.unjudged,
            images_left_out: None,
            images: images.collect(),
        };
        if !self.log.write(&record) {
            self.metrics.log_line_dropped();
        }
    }

    fn rejected(&self, rejection: Rejection) {
        self.metrics.rejected(rejection.as_str());
    }

    fn panicked(&self) {
        self.metrics.panicked();
    }
}

fn result(result: &CheckResult) -> ResultRecord<'_> {
    let finding = result.verdict.finding();
    ResultRecord {
        policy: result.policy.as_ref().map(ToString::to_string),
        check: result.check.as_str(),
        verdict: result.verdict.as_str(),
        action: result.action.as_str(),
        reason: finding.map(|finding| finding.reason.as_str()),
        found: finding.map(|finding| &*finding.found),
    }
}

impl CacheObserver for Telemetry {
    fn cache(&self, name: CacheName, answer: CacheAnswer) {
        let answer = match answer {
            CacheAnswer::Hit => "hit",
            CacheAnswer::Shared => "shared",
            CacheAnswer::Miss => "miss",
        };
        self.metrics.cache_request(name.as_str(), answer);
    }
}

impl RegistryObserver for Telemetry {
    fn registry_request(&self, exchange: &RegistryExchange<'_>) {
        let RegistryExchange { host, class, outcome, duration } = *exchange;
        self.metrics.registry_request(host, class, outcome, duration);
    }
}

impl ScanObserver for Telemetry {
    fn verdicts(&self, ready: usize, failing: usize) {
        self.metrics.set_scan_verdicts(ready, failing);
    }

    fn scan_request(&self, became: ScanRequest) {
        self.metrics.scan_request(became.as_str());
    }
}

impl PoliciesObserver for Telemetry {
    fn published(&self, set: &PolicySet, published: &PublishedPolicies) {
        self.policies(set);
        let failing = published.cluster.failing + published.namespaced.failing;
        let ready = published.cluster.ready + published.namespaced.ready;
        tracing::info!(ready, failing, "policies are in force");
        for policy in set.iter() {
            if let Some(error) = policy.compile_error() {
                tracing::warn!(policy = %policy.id(), %error, "a policy cannot be read and fails for all it could match");
            }
        }
    }
}

impl TrustObserver for Telemetry {
    fn published(&self, published: &Published) {
        let Published { version, keys, roots, refreshed } = published;
        self.metrics.set_trust(&TrustSample {
            version: *version,
            keys: (keys.ready, keys.failing),
            roots: (roots.ready, roots.failing),
            refreshed: refreshed
                .iter()
                .map(|(root, time)| (&**root, time.map(Timestamp::as_second)))
                .collect(),
        });
    }

    fn refreshed(&self, root: &str, outcome: RefreshOutcome) {
        self.metrics.trust_root_refreshed(root, outcome.as_str());
    }
}
