//! AdmissionReviews as an API server sends them, made up to the sizes that real ones have.

use serde_json::{Value, json};

/// How many containers the reviews of a benchmark have: about 4.8, 13 and 53 KB of JSON.
pub const CONTAINERS: [usize; 3] = [1, 5, 20];

/// The CREATE review of a Pod of that many containers, as a ReplicaSet's controller makes it.
///
/// The fields of review and request stand in the API server's own order: kind and operation come
/// before the object.
pub fn review(containers: usize) -> Vec<u8> {
    let type_meta = r#"{"group":"","version":"v1","kind":"Pod"}"#;
    let resource = r#"{"group":"","version":"v1","resource":"pods"}"#;
    let user = json!({
        "username": "system:serviceaccount:kube-system:replicaset-controller",
        "uid": "3f0b7c1e-8d5a-4b3e-9a52-6f1c7d2e4b90",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=9b1d3c52-7a44-4b0f-8f0e-2c5d1a6e7f83"]},
    });
    let object = pod(containers);
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"e2d9f1a4-5b7c-4c1d-8a3e-0f6b2d4c8e71","kind":{type_meta},"resource":{resource},"requestKind":{type_meta},"requestResource":{resource},"name":"shop-6d5f7c9b8-qk2lv","namespace":"shop","operation":"CREATE","userInfo":{user},"object":{object},"oldObject":null,"dryRun":false,"options":{{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}}}}"#
    )
    .into_bytes()
}

fn pod(containers: usize) -> Value {
    let managed: serde_json::Map<String, Value> =
        (0..containers).map(|n| (format!(r#"k:{{"name":"part-{n}"}}"#), managed_container())).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "shop-6d5f7c9b8-qk2lv", "generateName": "shop-6d5f7c9b8-", "namespace": "shop",
            "uid": "0c8a4f6e-1b2d-4e3f-9a5b-7c6d8e9f0a1b", "creationTimestamp": "2026-03-01T08:00:00Z",
            "labels": {"app.kubernetes.io/name": "shop", "app.kubernetes.io/version": "7.4.2", "pod-template-hash": "6d5f7c9b8"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "example.com/owner": "team \"shop\""},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-6d5f7c9b8",
                "uid": "7d3e5a90-2c4b-4f6d-8e1a-9b0c1d2e3f40", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "time": "2026-03-01T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {
                    "f:metadata": {"f:annotations": {".": {}, "f:example.com/owner": {}}, "f:generateName": {},
                        "f:labels": {".": {}, "f:app.kubernetes.io/name": {}, "f:pod-template-hash": {}}},
                    "f:spec": {"f:containers": managed, "f:dnsPolicy": {}, "f:restartPolicy": {}}}}],
        },
        "spec": {
            "volumes": [
                {"name": "settings", "configMap": {"name": "shop-settings", "defaultMode": 420}},
                {"name": "kube-api-access-8xk4q", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}},
            ],
            "containers": (0..containers).map(|n| container(n, containers)).collect::<Vec<_>>(),
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 45, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "shop", "serviceAccount": "shop",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "imagePullSecrets": [{"name": "registry-credentials"}], "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "priority": 0, "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    })
}

fn container(n: usize, of: usize) -> Value {
    // The more containers a Pod has, the more its templates were generated, and the longer they are.
    let settings = 3 + of * 2 / 5;
    let mut env: Vec<Value> = (0..settings)
        .map(|e| json!({"name": format!("PART_{n}_SETTING_{e}"), "value": format!("https://backend-{e}.example.com/v1?part=\"{n}\"")}))
        .collect();
    env.push(json!({"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}));
    let probe = |path: &str| {
        json!({"httpGet": {"path": path, "port": 8080 + n, "scheme": "HTTP"}, "initialDelaySeconds": 5, "timeoutSeconds": 2,
            "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
    };
    json!({
        "name": format!("part-{n}"),
        "image": format!("registry.example.com/shop/part-{n}:7.4.{n}"),
        "args": ["--listen=:8080", format!("--part={n}"), "--config=/etc/shop/shop.yaml"],
        "ports": [{"name": format!("http-{n}"), "containerPort": 8080 + n, "protocol": "TCP"}],
        "env": env,
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "250m", "memory": "256Mi"}},
        "volumeMounts": [
            {"name": "settings", "readOnly": true, "mountPath": "/etc/shop"},
            {"name": "kube-api-access-8xk4q", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "livenessProbe": probe("/alive"), "readinessProbe": probe("/ready"),
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true},
    })
}

fn managed_container() -> Value {
    json!({
        ".": {}, "f:args": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {".": {}, "f:limits": {}, "f:requests": {}},
        "f:env": {".": {}, "k:{\"name\":\"NODE_NAME\"}": {".": {}, "f:name": {}, "f:valueFrom": {".": {}, "f:fieldRef": {}}}},
        "f:livenessProbe": {".": {}, "f:httpGet": {".": {}, "f:path": {}, "f:port": {}}, "f:periodSeconds": {}},
        "f:volumeMounts": {".": {}, "k:{\"mountPath\":\"/etc/shop\"}": {".": {}, "f:mountPath": {}, "f:name": {}}},
    })
}
