use kube::core::Status;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    apiserver::definitions::{offer, refused, spec},
    support::apiserver::ApiServer,
};

const KIND: (&str, &str) = ("VulnerabilitySource", "vulnerabilitysources");

#[rstest]
#[case("trivyOperator: {namespaces: [team-a, team-b]}")]
#[case("trivyOperator: {allNamespaces: true}")]
#[case(
    "{trivyOperator: {namespaces: [a]}, platform: linux/arm64, match: {images: ['registry.example.com/**']}}"
)]
#[case("scanJob: {trivy: {server: 'http://trivy.trivy:4954'}}")]
#[case(
    "{scanJob: {trivy: {server: 'https://trivy.example.com', tokenSecretRef: {name: t, key: token}}, \
     image: 'registry.example.com/trivy@sha256:00', parallelism: 32, timeoutSeconds: 30, retries: 0, \
     registrySecret: pull, imagePullSecrets: [pull], resources: {requests: {cpu: 1}, limits: {memory: 1Gi}}}, \
     maxAge: 12h, suspend: true}"
)]
#[case("scanJob: {image: grype, command: [/grype, $(TIDEWAITER_IMAGE)], args: ['-o', json], format: Grype}")]
#[case("clair: {url: 'https://clair.example.com:6060'}")]
#[case("{clair: {url: 'http://matcher', indexerUrl: 'http://indexer'}, platform: linux/arm64}")]
#[case(
    "{clair: {url: 'http://clair:6060', pskSecretRef: {name: psk, key: key}, issuer: quay, caBundle: x}, maxAge: 7d}"
)]
#[case("harbor: {url: 'https://harbor.example.com', registry: harbor.example.com}")]
#[case(
    "{harbor: {url: 'https://h', registry: 'h.example.com:8443', caBundle: x, \
     credentialsSecretRef: {name: robot, usernameKey: name, passwordKey: secret}}, maxAge: 2d}"
)]
#[case(
    "{quay: {url: 'https://q', registry: q.example.com, tokenSecretRef: {name: t, key: token}}, platform: linux/arm64}"
)]
#[case("imported: {}")]
#[tokio::test]
async fn a_source_of_one_kind_is_stored(#[case] yaml: &str) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    // YAML that stands for text is text in Kubernetes' own schema too.
    let mut offered = spec(yaml);
    if let Some(cpu) = offered.pointer_mut("/scanJob/resources/requests/cpu") {
        *cpu = json!("1");
    }
    offer(server, KIND, Some(&offered)).await.unwrap();
}

#[rstest]
#[case("{}", "set exactly one of trivyOperator, scanJob, clair, harbor, quay and imported")]
#[case(
    "{imported: {}, clair: {url: 'https://clair'}}",
    "set exactly one of trivyOperator, scanJob, clair, harbor, quay and imported"
)]
#[case("trivyOperator: {}", "spec.trivyOperator: Invalid value: set namespaces or allNamespaces: true")]
#[case("trivyOperator: {allNamespaces: false}", "spec.trivyOperator: Invalid value: set namespaces or")]
#[case(
    "trivyOperator: {namespaces: [a], allNamespaces: true}",
    "spec.trivyOperator: Invalid value: set names"
)]
#[case("trivyOperator: {namespaces: []}", "spec.trivyOperator.namespaces: Invalid value")]
#[case("trivyOperator: {namespaces: [A]}", "spec.trivyOperator.namespaces[0]: Invalid value")]
#[case("trivyOperator: {namespaces: [a, a]}", "spec.trivyOperator.namespaces[1]: Duplicate value")]
#[case(
    "{trivyOperator: {allNamespaces: true}, maxAge: 1h}",
    "maxAge is for sources that are asked: scanJob, clair, harbor and quay"
)]
#[case("{imported: {}, suspend: true}", "imported only names a source")]
#[case("{imported: {}, match: {images: ['**']}}", "imported only names a source")]
#[case("{imported: {}, platform: linux/amd64}", "imported only names a source")]
#[case("clair: {url: 'https://clair', indexerUrl: 'indexer:6060'}", "spec.clair.indexerUrl: Invalid value")]
#[case("clair: {url: 'clair:6060'}", "spec.clair.url: Invalid value")]
#[case("clair: {url: 'https://clair?x'}", "spec.clair.url: Invalid value")]
#[case("{clair: {url: 'https://clair'}, maxAge: soon}", "spec.maxAge: Invalid value")]
#[case("{clair: {url: 'https://clair'}, platforms: [a]}", "unknown field \"spec.platforms\"")]
#[case("{imported: {}, maxAge: 1h}", "maxAge is for sources that are asked")]
#[case("harbor: {url: 'https://h'}", "spec.harbor.registry: Required value")]
#[case("harbor: {url: 'https://h', registry: 'https://h'}", "spec.harbor.registry: Invalid value")]
#[case("{harbor: {url: 'https://h', registry: h.example.com}, platform: linux/amd64}", "leave platform out")]
#[case("quay: {url: q, registry: q.example.com}", "spec.quay.url: Invalid value")]
#[case("scanJob: {}", "spec.scanJob: Invalid value: set trivy, or image, command and format")]
#[case("scanJob: {image: grype}", "spec.scanJob: Invalid value: set trivy, or image, command and format")]
#[case("scanJob: {image: grype, command: [grype]}", "a scanner of your own needs image, command and format")]
#[case("scanJob: {command: [grype], format: Grype}", "a scanner of your own needs image, command and format")]
#[case("scanJob: {trivy: {server: 'http://t'}, format: Trivy}", "trivy sets its own args and format")]
#[case(
    "scanJob: {trivy: {server: 'http://t'}, args: [--ignore-unfixed]}",
    "trivy sets its own args and format"
)]
#[case("scanJob: {trivy: {server: t}}", "spec.scanJob.trivy.server: Invalid value")]
#[case("scanJob: {trivy: {server: 'http://t'}, parallelism: 33}", "spec.scanJob.parallelism: Invalid value")]
#[case("scanJob: {trivy: {server: 'http://t'}, timeoutSeconds: 29}", "spec.scanJob.timeoutSeconds: Invalid")]
#[case("{scanJob: {trivy: {server: 'http://t'}}, platform: amd64}", "spec.platform: Invalid value")]
#[tokio::test]
async fn a_source_that_could_not_work_is_refused_at_its_field(#[case] yaml: &str, #[case] message: &str) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    refused(server, KIND, Some(&spec(yaml)), message).await;
}

#[rstest]
#[case::a_dot("team.scanner", false)]
#[case::the_name_of_attestations("attestation", false)]
#[case::too_long(&"a".repeat(64), false)]
#[case::the_longest(&"a".repeat(63), true)]
#[tokio::test]
async fn a_name_must_be_one_that_verdicts_can_carry(#[case] name: &str, #[case] good: bool) {
    let Some(server) = ApiServer::shared().await else { return };
    server.apply_crds().await;
    let document = json!({
        "apiVersion": "tidewaiter.dev/v1alpha1", "kind": "VulnerabilitySource",
        "metadata": {"name": name}, "spec": {"imported": {}},
    });
    let request = http::Request::post("/apis/tidewaiter.dev/v1alpha1/vulnerabilitysources?dryRun=All")
        .header("content-type", "application/json")
        .body(document.to_string().into_bytes())
        .unwrap();
    let answer: Result<Value, _> = server.client().await.request(request).await;
    match answer {
        Ok(_) => assert!(good, "it was accepted"),
        Err(kube::Error::Api(status)) => {
            let Status { code, message, .. } = *status;
            assert!(!good && code == 422 && message.contains("name"), "{message}");
        }
        Err(error) => panic!("{error}"),
    }
}
