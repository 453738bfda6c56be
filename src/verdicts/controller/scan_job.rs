//! The Jobs that scan: how they look. Computes.
//!
//! A Job scans one image by its digest and prints a report. It holds nothing that it does not need: no token
//! of its ServiceAccount, no capability, no way to more rights, a file system that it cannot write but for an
//! empty directory. It fits Kubernetes' Pod security standard "restricted". The one secret that it may bear is
//! the registry's, which the scanner itself must have.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath,
            LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements,
            SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};
use kube::Resource as _;

use super::source::Source;
use crate::{
    api::v1alpha1::{ScanJobSource, ScanResources, TrivyClient, VulnerabilitySource},
    cluster::{SCAN_NAME, SCAN_SOURCE},
    image::{Digest, ImageReference},
};

/// The scanner where nobody names one.
pub const TRIVY_IMAGE: &str = "docker.io/aquasec/trivy:0.65.0";
/// How long a Job may take where nobody says, in seconds.
const TIMEOUT: u32 = 600;
/// The longest report that is read where nobody says, in bytes: what a kubelet keeps of a log.
const REPORT_BYTES: u32 = 10 << 20;
/// How long an ended Job stays that nobody has cleared away, in seconds.
const LEFT: i32 = 600;
/// As whom the scanner runs: nobody of the system's.
const USER: i64 = 65_532;
/// Where it may write.
const SCRATCH: &str = "/tmp";
/// How much it may write there.
const SCRATCH_SIZE: &str = "2Gi";
/// Where the registry's credentials are.
const DOCKER: &str = "/var/run/tidewaiter/docker";

/// How long a Job may take, in seconds.
pub fn timeout_seconds(job: &ScanJobSource) -> u32 {
    job.timeout_seconds.unwrap_or(TIMEOUT)
}

/// The longest report that is read, in bytes.
pub fn report_bytes(job: &ScanJobSource) -> u32 {
    job.max_report_bytes.unwrap_or(REPORT_BYTES)
}

/// The Job by which `source` scans `image`, whose digest is `digest`, in `namespace`. `nonce` makes its name one that
/// there has not been.
pub fn manifest(
    source: &Source,
    job: &ScanJobSource,
    image: &ImageReference,
    digest: &Digest,
    namespace: &str,
    nonce: u32,
) -> Job {
    let name = format!("tidewaiter-scan-{}-{nonce:08x}", &digest.hex()[..16]);
    // A tag beside the digest could lead a scanner astray.
    let by_digest = format!("{}@{digest}", image.name());
    let labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "tidewaiter".to_owned()),
        ("app.kubernetes.io/component".to_owned(), "scan".to_owned()),
        (SCAN_SOURCE.to_owned(), source.name.to_string()),
        (SCAN_NAME.to_owned(), name.clone()),
    ]);
    let annotations = BTreeMap::from([("tidewaiter.dev/image".to_owned(), by_digest.clone())]);
    let owner = OwnerReference {
        api_version: VulnerabilitySource::api_version(&()).into_owned(),
        block_owner_deletion: None,
        controller: Some(true),
        kind: VulnerabilitySource::kind(&()).into_owned(),
        name: source.name.to_string(),
        uid: source.uid.clone(),
    };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            annotations: Some(annotations.clone()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(source, job, by_digest)),
    };
    Job {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            labels: Some(labels),
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            active_deadline_seconds: Some(timeout_seconds(job).into()),
            // Whether and when it is tried again is the schedule's to say.
            backoff_limit: Some(0),
            template,
            ttl_seconds_after_finished: Some(LEFT),
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn pod(source: &Source, job: &ScanJobSource, image: String) -> PodSpec {
    let platform = source.platform.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut environment = vec![
        value("TIDEWAITER_IMAGE", &image),
        value("TIDEWAITER_PLATFORM", &platform),
        value("HOME", SCRATCH),
        value("TMPDIR", SCRATCH),
    ];
    let mut volumes = vec![scratch()];
    let mut mounts = vec![mount("scratch", SCRATCH, None)];
    if let Some(secret) = &job.registry_secret {
        environment.push(value("DOCKER_CONFIG", DOCKER));
        volumes.push(credentials(secret));
        mounts.push(mount("registry", DOCKER, Some(true)));
    }
    let (command, args) = match &job.trivy {
        Some(trivy) => {
            environment.extend(trivy_environment(trivy, job));
            (None, Some(trivy_arguments(&trivy.server, &image, &platform)))
        }
        None => (job.command.clone(), job.args.clone()),
    };
    let restricted = SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        ..SecurityContext::default()
    };
    let scanner = Container {
        args,
        command,
        env: Some(environment),
        image: Some(job.image.clone().unwrap_or_else(|| TRIVY_IMAGE.to_owned())),
        name: "scan".to_owned(),
        resources: Some(job.resources.as_ref().map_or_else(resources, ScanResources::of_container)),
        security_context: Some(restricted),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    let secrets = job
        .image_pull_secrets
        .as_ref()
        .map(|names| names.iter().map(|name| LocalObjectReference { name: name.clone() }).collect());
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![scanner],
        enable_service_links: Some(false),
        image_pull_secrets: secrets,
        restart_policy: Some("Never".to_owned()),
        security_context: Some(PodSecurityContext {
            fs_group: Some(USER),
            run_as_group: Some(USER),
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                localhost_profile: None,
                type_: "RuntimeDefault".to_owned(),
            }),
            ..PodSecurityContext::default()
        }),
        service_account_name: job.service_account_name.clone(),
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// Everything that is found is told: nothing is filtered, since a report does not say what was left out of it.
fn trivy_arguments(server: &str, image: &str, platform: &str) -> Vec<String> {
    let arguments = [
        "image",
        "--server",
        server,
        "--image-src",
        "remote",
        "--platform",
        platform,
        "--scanners",
        "vuln",
        "--format",
        "json",
        "--no-progress",
        // Its own log would stand among the report.
        "--quiet",
        image,
    ];
    arguments.map(str::to_owned).to_vec()
}

fn trivy_environment(trivy: &TrivyClient, job: &ScanJobSource) -> Vec<EnvVar> {
    // Those that an older or newer Trivy does not know do no harm as variables; as arguments they would.
    let mut environment = vec![
        value("TRIVY_CACHE_DIR", &format!("{SCRATCH}/trivy")),
        value("TRIVY_TIMEOUT", &format!("{}s", timeout_seconds(job))),
        value("TRIVY_SKIP_VERSION_CHECK", "true"),
        value("TRIVY_DISABLE_TELEMETRY", "true"),
    ];
    if let Some(secret) = &trivy.token_secret_ref {
        let key = SecretKeySelector { key: secret.key.clone(), name: secret.name.clone(), optional: None };
        environment.push(EnvVar {
            name: "TRIVY_TOKEN".to_owned(),
            value: None,
            value_from: Some(EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() }),
        });
    }
    environment
}

fn value(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn mount(name: &str, path: &str, read_only: Option<bool>) -> VolumeMount {
    VolumeMount { mount_path: path.to_owned(), name: name.to_owned(), read_only, ..VolumeMount::default() }
}

fn scratch() -> Volume {
    Volume {
        empty_dir: Some(EmptyDirVolumeSource {
            medium: None,
            size_limit: Some(Quantity(SCRATCH_SIZE.to_owned())),
        }),
        name: "scratch".to_owned(),
        ..Volume::default()
    }
}

fn credentials(secret: &str) -> Volume {
    let file = KeyToPath { key: ".dockerconfigjson".to_owned(), mode: None, path: "config.json".to_owned() };
    Volume {
        name: "registry".to_owned(),
        secret: Some(SecretVolumeSource {
            default_mode: Some(0o440),
            items: Some(vec![file]),
            optional: None,
            secret_name: Some(secret.to_owned()),
        }),
        ..Volume::default()
    }
}

fn resources() -> ResourceRequirements {
    let quantities = |all: &[(&str, &str)]| {
        all.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
    };
    ResourceRequirements {
        claims: None,
        limits: Some(quantities(&[("memory", "1Gi")])),
        requests: Some(quantities(&[("cpu", "100m"), ("memory", "256Mi")])),
    }
}

/// The report in what a Job has printed: from the first line that begins a JSON document on. What the scanner or its
/// runtime printed before it is left out; what stands behind it makes the report unreadable.
pub fn report_in(log: &str) -> &str {
    let mut rest = log;
    while let Some(line) = rest.lines().next() {
        if line.trim_start().starts_with(['{', '[']) && !looks_like_a_log(line) {
            return rest.trim_end();
        }
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    log
}

/// Whether a line that begins with a bracket is `[0001] …` or `[INFO] …`, as some programs log.
fn looks_like_a_log(line: &str) -> bool {
    let inside = line.trim_start().strip_prefix('[').and_then(|line| line.split_once(']'));
    inside.is_some_and(|(inside, rest)| {
        rest.starts_with(' ') && inside.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn source(yaml: &str) -> (Source, ScanJobSource) {
        let source = Source::new("trivy", "uid-1", 1, &serde_saphyr::from_str(yaml).unwrap()).unwrap();
        let super::super::source::SourceKind::ScanJob(job) = &source.kind else { panic!("{yaml}") };
        let job = (**job).clone();
        (source, job)
    }

    fn made(yaml: &str) -> Job {
        let (source, job) = source(yaml);
        let digest = Digest::sha256(b"an image");
        let image = format!("registry.example.com/shop/web:1.4@{digest}").parse().unwrap();
        manifest(&source, &job, &image, &digest, "tidewaiter", 0xbeef)
    }

    #[test]
    fn trivy_asks_its_server_and_holds_nothing_that_it_does_not_need() {
        let job = made(
            "{scanJob: {trivy: {server: 'http://trivy:4954', tokenSecretRef: {name: trivy, key: token}}, \
             registrySecret: pull, imagePullSecrets: [mirror]}}",
        );
        insta::assert_yaml_snapshot!(job, @r#"
        apiVersion: batch/v1
        kind: Job
        metadata:
          annotations:
            tidewaiter.dev/image: "registry.example.com/shop/web@sha256:a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9"
          labels:
            app.kubernetes.io/component: scan
            app.kubernetes.io/managed-by: tidewaiter
            tidewaiter.dev/scan: tidewaiter-scan-a5df3fde7b200c3f-0000beef
            tidewaiter.dev/scan-source: trivy
          name: tidewaiter-scan-a5df3fde7b200c3f-0000beef
          namespace: tidewaiter
          ownerReferences:
            - apiVersion: tidewaiter.dev/v1alpha1
              controller: true
              kind: VulnerabilitySource
              name: trivy
              uid: uid-1
        spec:
          activeDeadlineSeconds: 600
          backoffLimit: 0
          template:
            metadata:
              annotations:
                tidewaiter.dev/image: "registry.example.com/shop/web@sha256:a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9"
              labels:
                app.kubernetes.io/component: scan
                app.kubernetes.io/managed-by: tidewaiter
                tidewaiter.dev/scan: tidewaiter-scan-a5df3fde7b200c3f-0000beef
                tidewaiter.dev/scan-source: trivy
            spec:
              automountServiceAccountToken: false
              containers:
                - args:
                    - image
                    - "--server"
                    - "http://trivy:4954"
                    - "--image-src"
                    - remote
                    - "--platform"
                    - linux/amd64
                    - "--scanners"
                    - vuln
                    - "--format"
                    - json
                    - "--no-progress"
                    - "--quiet"
                    - "registry.example.com/shop/web@sha256:a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9"
                  env:
                    - name: TIDEWAITER_IMAGE
                      value: "registry.example.com/shop/web@sha256:a5df3fde7b200c3fa2791144c7e05c5c2bced4c6ad863d3a4cf76c972c1712f9"
                    - name: TIDEWAITER_PLATFORM
                      value: linux/amd64
                    - name: HOME
                      value: /tmp
                    - name: TMPDIR
                      value: /tmp
                    - name: DOCKER_CONFIG
                      value: /var/run/tidewaiter/docker
                    - name: TRIVY_CACHE_DIR
                      value: /tmp/trivy
                    - name: TRIVY_TIMEOUT
                      value: 600s
                    - name: TRIVY_SKIP_VERSION_CHECK
                      value: "true"
                    - name: TRIVY_DISABLE_TELEMETRY
                      value: "true"
                    - name: TRIVY_TOKEN
                      valueFrom:
                        secretKeyRef:
                          key: token
                          name: trivy
                  image: "docker.io/aquasec/trivy:0.65.0"
                  name: scan
                  resources:
                    limits:
                      memory: 1Gi
                    requests:
                      cpu: 100m
                      memory: 256Mi
                  securityContext:
                    allowPrivilegeEscalation: false
                    capabilities:
                      drop:
                        - ALL
                    privileged: false
                    readOnlyRootFilesystem: true
                    runAsNonRoot: true
                  volumeMounts:
                    - mountPath: /tmp
                      name: scratch
                    - mountPath: /var/run/tidewaiter/docker
                      name: registry
                      readOnly: true
              enableServiceLinks: false
              imagePullSecrets:
                - name: mirror
              restartPolicy: Never
              securityContext:
                fsGroup: 65532
                runAsGroup: 65532
                runAsNonRoot: true
                runAsUser: 65532
                seccompProfile:
                  type: RuntimeDefault
              volumes:
                - emptyDir:
                    sizeLimit: 2Gi
                  name: scratch
                - name: registry
                  secret:
                    defaultMode: 288
                    items:
                      - key: ".dockerconfigjson"
                        path: config.json
                    secretName: pull
          ttlSecondsAfterFinished: 600
        "#);
    }

    #[test]
    fn a_scanner_of_ones_own_is_told_by_its_environment() {
        let job = made(
            "{scanJob: {image: 'registry.example.com/grype:1', command: [/grype, $(TIDEWAITER_IMAGE)], \
             args: [--output, json], format: Grype, timeoutSeconds: 60, serviceAccountName: scanner, \
             resources: {limits: {memory: 2Gi}}}, platform: linux/arm64}",
        );
        let spec = job.spec.unwrap();
        assert_eq!(spec.active_deadline_seconds, Some(60));
        let pod = spec.template.spec.unwrap();
        assert_eq!(pod.service_account_name.as_deref(), Some("scanner"));
        assert_eq!(pod.volumes.unwrap().len(), 1, "no credentials");
        let container = &pod.containers[0];
        assert_eq!(container.command.as_deref().unwrap(), ["/grype", "$(TIDEWAITER_IMAGE)"]);
        let environment = container.env.as_ref().unwrap();
        let of =
            |name: &str| environment.iter().find(|one| one.name == name).and_then(|one| one.value.clone());
        let digest = Digest::sha256(b"an image");
        assert_eq!(of("TIDEWAITER_IMAGE"), Some(format!("registry.example.com/shop/web@{digest}")));
        assert_eq!(of("TIDEWAITER_PLATFORM").as_deref(), Some("linux/arm64"));
        assert_eq!(of("TRIVY_TIMEOUT"), None);
    }

    #[rstest]
    #[case("{\"a\": 1}\n", "{\"a\": 1}")]
    #[case("WARN no database\n{\"a\": 1}", "{\"a\": 1}")]
    #[case("[0001] INFO\n[INFO] x\n[\n{}]\n", "[\n{}]")]
    #[case("[1]", "[1]")]
    #[case("nothing of that kind", "nothing of that kind")]
    #[case("", "")]
    fn the_report_begins_where_json_does(#[case] log: &str, #[case] report: &str) {
        assert_eq!(report_in(log), report);
    }
}
