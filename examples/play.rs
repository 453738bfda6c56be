//! `make play`: a real API server with Tidewaiter's webhooks, to be tried with kubectl. The parts are those
//! that the tests run against: an API server without nodes, etcd, a registry, and the real program.

use std::{fs, path::Path, process::ExitCode};

use serde_json::json;
use tidewaiter::files;

#[path = "../tests/it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
mod support;

use support::{
    cluster::Cluster,
    cosign::{Cosign, Version},
};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    eprintln!("starting an API server, a registry and Tidewaiter …");
    let Some(cluster) = Cluster::start().await else {
        eprintln!("programs are missing: run this as `make play`");
        return Ok(ExitCode::from(2));
    };
    let Some(cosign) = Cosign::find() else {
        eprintln!("programs are missing: run this as `make play`");
        return Ok(ExitCode::from(2));
    };
    cluster.registry.push("shop/web", "1.5-dev").await;
    cluster.registry.push("shop/signed", "2.0-unsigned").await;
    let signed = cluster.registry.push("shop/signed", "2.0").await;
    let (key, auditors) = (cosign.key_pair().await, cosign.key_pair().await);
    let image = format!("{}/shop/signed@{signed}", cluster.registry.host());
    cosign.sign(Version::Three, &key, &image, &[]).await;
    let (key, auditors) = (fs::read_to_string(key.public)?, fs::read_to_string(auditors.public)?);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "release-keys", "namespace": "tidewaiter"},
        "stringData": {"cosign.pub": key, "auditors.pub": auditors},
    });
    anyhow::ensure!(cluster.apply(&secret.to_string()).await.success, "cannot make a Secret");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    anyhow::ensure!(cluster.apply(&namespace.to_string()).await.success, "cannot make a namespace");
    let mut policies: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    policies.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    policies.sort();
    for path in policies {
        for document in files::read(&path)? {
            match document.value["kind"] == "ImageTrustRoot" {
                true => anyhow::ensure!(
                    cluster.apply(&document.value.to_string()).await.success,
                    "cannot make {}",
                    document.place
                ),
                false => cluster.enforce(&document.value).await,
            }
        }
    }
    println!(
        "\nA Kubernetes API server (no nodes) asks Tidewaiter now, with the policies of policies/ in force.\n\
         In another terminal:\n\n  \
         export KUBECONFIG={kubeconfig}\n  \
         alias kubectl={kubectl}\n\n  \
         kubectl run web --image=registry.example.com/shop/web:1.4 -ojsonpath='{{.spec.containers[0].image}}'\n  \
         kubectl run old --image=registry.example.com/shop/web:latest\n  \
         kubectl create deployment tools --image=docker.io/library/busybox:1.36\n  \
         kubectl run signed --image=registry.example.com/shop/signed:2.0\n  \
         kubectl run unsigned --image=registry.example.com/shop/signed:2.0-unsigned\n\n\
         Ctrl-C ends it and removes everything.",
        kubeconfig = cluster.api.kubeconfig().display(),
        kubectl = cluster.api.kubectl_program().display(),
    );
    tokio::signal::ctrl_c().await?;
    eprintln!("\ncleaning up");
    Ok(ExitCode::SUCCESS)
}
