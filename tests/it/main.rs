//! The whole program, and the real parts that it lives with: an API server, etcd, a registry.
//!
//! One test program, so that its tests share one API server. What a test needs from outside is found
//! by `support::tools`; `make test` provides it, and without it such a test is skipped, visibly.

mod admission;
mod apiserver;
mod check;
mod cluster_jobs;
mod cosign;
mod damaged;
mod definitions_on_disk;
mod examination;
mod inspect;
mod known_attacks;
mod openapi;
mod references;
mod references_and_patterns;
mod registry;
mod reports;
mod scanners;
mod serve;
mod settings;
mod signatures;
mod sigstore;
mod support;
mod trust;
mod verdict_import;
