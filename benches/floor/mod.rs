//! The floor: the least that any webhook on this stack must do. It reads the body, finds the request's uid
//! and admits. What the real one takes longer than this is what its judgement costs.

use actix_web::{HttpResponse, mime, web};
use serde::Deserialize;

#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
struct Request<'a> {
    uid: &'a str,
}

/// Puts the floor's `/mutate` into an application.
pub fn configure(app: &mut web::ServiceConfig) {
    app.app_data(web::PayloadConfig::new(8 << 20)).route("/mutate", web::post().to(admit));
}

async fn admit(body: web::Bytes) -> HttpResponse {
    let Ok(Review { request: Request { uid } }) = serde_json::from_slice(&body) else {
        return HttpResponse::BadRequest().finish();
    };
    let answer = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{{"uid":"{uid}","allowed":true}}}}"#
    );
    HttpResponse::Ok().content_type(mime::APPLICATION_JSON).body(answer)
}
