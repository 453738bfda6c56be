//! What probes and Prometheus see, on a plain listener of its own: probes must not depend on TLS.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use actix_web::{HttpResponse, mime, web};

use crate::telemetry::{METRICS_CONTENT_TYPE, Metrics};

/// Whether the process can do its work, condition by condition. Ready is when all are.
#[derive(Debug, Default)]
pub struct Readiness {
    conditions: Mutex<BTreeMap<&'static str, Option<String>>>,
}

impl Readiness {
    /// The condition `name` does not hold, because of `reason`.
    pub fn unmet(&self, name: &'static str, reason: impl Into<String>) {
        self.set(name, Some(reason.into()));
    }

    /// The condition `name` holds.
    pub fn met(&self, name: &'static str) {
        self.set(name, None);
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        // OK because nothing that holds this lock can panic
        self.conditions.lock().unwrap().insert(name, reason);
    }

    /// One line per condition, and whether all hold. Without conditions nobody has begun: not ready.
    pub fn report(&self) -> (bool, String) {
        // OK because nothing that holds this lock can panic
        let conditions = self.conditions.lock().unwrap();
        let ready = !conditions.is_empty() && conditions.values().all(Option::is_none);
        let line = |(name, reason): (&&str, &Option<String>)| match reason {
            None => format!("[+] {name}: ok\n"),
            Some(reason) => format!("[-] {name}: {reason}\n"),
        };
        let mut text: String = conditions.iter().map(line).collect();
        text.push_str(if ready { "ready\n" } else { "not ready\n" });
        (ready, text)
    }
}

/// Puts `/livez`, `/readyz` and `/metrics` into an application.
pub fn configure(
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static {
    move |app| {
        let (readiness, metrics) = (readiness.clone(), metrics.clone());
        app.route("/livez", web::get().to(async || text(HttpResponse::Ok(), "ok\n".to_owned())));
        app.route(
            "/readyz",
            web::get().to(move || {
                let (ready, report) = readiness.report();
                let answer = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
                std::future::ready(text(answer, report))
            }),
        );
        app.route(
            "/metrics",
            web::get().to(move || {
                let answer = HttpResponse::Ok().content_type(METRICS_CONTENT_TYPE).body(metrics.encode());
                std::future::ready(answer)
            }),
        );
        app.default_service(web::to(async || {
            text(HttpResponse::NotFound(), "here are /livez, /readyz and /metrics\n".to_owned())
        }));
    }
}

fn text(mut answer: actix_web::HttpResponseBuilder, body: String) -> HttpResponse {
    answer.content_type(mime::TEXT_PLAIN_UTF_8).body(body)
}
