use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use moka::sync::Cache;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::{
    challenge::{self, Challenge},
    transport::{Class, Endpoint, Request, Transport},
};
use crate::{
    evidence::RegistryError,
    review::{
        credentials::{Credential, CredentialClass},
        ports::Pass,
    },
};

/// The largest answer of a token server that is read, in bytes.
const ANSWER_LIMIT: u64 = 64 << 10;
/// How long a token lives that does not say it (distribution's token specification).
const DEFAULT_LIFE: u64 = 60;
/// The longest that a token is kept, in seconds.
const LONGEST_LIFE: u64 = 3600;
/// How long before its end a token is no longer used, in seconds.
const MARGIN: u64 = 10;
/// How long a token server's refusal is told to others who want the same token.
const REFUSAL: Duration = Duration::from_secs(1);
/// How many tokens are kept, and how many registries' challenges.
const TOKENS: u64 = 4096;

/// Tokens that registries' token servers gave us, each asked for once however many want it.
///
/// Remembers what each registry asked for, so that the next request need not be refused first.
pub(super) struct Tokens {
    slots: Cache<Key, Arc<Mutex<Option<Answer>>>>,
    challenges: Cache<String, Challenge>,
}

/// A token is for one realm, service and scope, and for whom it was given to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    realm: String,
    service: String,
    scope: String,
    class: CredentialClass,
}

/// What the token server said, and until when that holds.
struct Answer {
    header: Result<HeaderValue, RegistryError>,
    until: Instant,
}

/// Who wants to see what.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) transport: &'a Transport,
    pub(super) endpoint: &'a Endpoint,
    pub(super) repository: &'a str,
    /// None asks as anybody may.
    pub(super) credential: Option<&'a Credential>,
    pub(super) deadline: Instant,
}

/// An `Authorization` header, and whether it may be out of date.
#[derive(Clone)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    pub(super) remembered: bool,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

impl Tokens {
    pub(super) fn new() -> Self {
        let life = Duration::from_secs(LONGEST_LIFE);
        Self {
            slots: Cache::builder().max_capacity(TOKENS).time_to_idle(life).build(),
            challenges: Cache::builder().max_capacity(TOKENS).time_to_live(life).build(),
        }
    }

    /// What the registry will probably want to be shown: what it wanted the last time. None where nobody
    /// knows, or where that cannot be had; the registry then says what it wants.
    pub(super) async fn expected(&self, visit: Visit<'_>) -> Option<Authorization> {
        let challenge = self.challenges.get(visit.endpoint.host())?;
        self.answer(visit, &challenge, None).await.ok()
    }

    /// What to show the registry after it answered 401 with these `headers`.
    ///
    /// Without a credential a token server is asked for an anonymous token. `refused` is what was shown in
    /// vain, and is not answered with again. [`RegistryError::Denied`] where there is nothing that we could
    /// show.
    pub(super) async fn authorize(
        &self,
        visit: Visit<'_>,
        headers: &HeaderMap,
        refused: Option<&Authorization>,
    ) -> Result<Authorization, RegistryError> {
        let challenges = headers.get_all(header::WWW_AUTHENTICATE).into_iter();
        let found: Vec<_> = challenges.filter_map(|value| challenge::parse(value.to_str().ok()?)).collect();
        let bearer = found.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        let challenge = bearer.or(found.first()).ok_or(RegistryError::Denied)?;
        // What is fresh, and refused although it is what the registry wants, will be refused again.
        let known = self.challenges.get(visit.endpoint.host());
        if refused.is_some_and(|refused| !refused.remembered) && known.as_ref() == Some(challenge) {
            return Err(RegistryError::Denied);
        }
        let refused = refused.map(|refused| &refused.header);
        let authorization = self.answer(visit, challenge, refused).await?;
        self.challenges.insert(visit.endpoint.host().to_owned(), challenge.clone());
        Ok(authorization)
    }

    /// What meets a challenge. [`RegistryError::Denied`] where nothing can.
    async fn answer(
        &self,
        visit: Visit<'_>,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
    ) -> Result<Authorization, RegistryError> {
        let Visit { endpoint, repository, credential, .. } = visit;
        let (realm, service) = match challenge {
            Challenge::Bearer { realm, service } => (realm, service),
            Challenge::Basic => {
                let header = basic(credential.ok_or(RegistryError::Denied)?)?;
                return Ok(Authorization { header, remembered: false });
            }
        };
        let scope = scope(repository);
        let url = endpoint.realm(realm)?;
        let class = CredentialClass::of(credential.map(std::slice::from_ref).unwrap_or_default());
        let key = Key { realm: url.to_string(), service: service.clone(), scope, class };

        let slot = self.slots.get_with(key, Arc::default);
        // Whoever comes while the token is under way waits here.
        let mut slot = slot.lock().await;
        if let Some(answer) = slot.as_ref().filter(|answer| Instant::now() < answer.until)
            && refused.is_none_or(|refused| answer.header.as_ref() != Ok(refused))
        {
            return answer.header.clone().map(|header| Authorization { header, remembered: true });
        }
        let (header, life) = match fetch(visit, token_request(visit, url, service)?).await {
            Ok((header, life)) => (Ok(header), life),
            Err(error) => (Err(error), REFUSAL),
        };
        *slot = Some(Answer { header: header.clone(), until: Instant::now() + life });
        header.map(|header| Authorization { header, remembered: false })
    }

    /// What somebody else can show this registry, which has just shown the visitor something: a token that is
    /// nobody else's and has its whole life before it, where there are tokens. None if it wants nothing.
    pub(super) async fn pass(&self, visit: Visit<'_>) -> Result<Option<Pass>, RegistryError> {
        let text = |header: HeaderValue| header.to_str().map(Box::from).map_err(|_| RegistryError::Denied);
        match self.challenges.get(visit.endpoint.host()) {
            None => Ok(None),
            Some(Challenge::Basic) => {
                let header = visit.credential.map(basic).transpose()?;
                header.map(text).transpose().map(|text| text.map(Pass::Password))
            }
            Some(Challenge::Bearer { realm, service }) => {
                let request = token_request(visit, visit.endpoint.realm(&realm)?, &service)?;
                let (header, _) = fetch(visit, request).await?;
                text(header).map(|text| Some(Pass::Token(text)))
            }
        }
    }
}

fn scope(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// To ask a token server for a token to read one repository with.
fn token_request(visit: Visit<'_>, mut url: Url, service: &str) -> Result<Request, RegistryError> {
    if !service.is_empty() {
        url.query_pairs_mut().append_pair("service", service);
    }
    url.query_pairs_mut().append_pair("scope", &scope(visit.repository));
    Ok(Request {
        class: Class::Token,
        method: Method::GET,
        url,
        accept: Some(HeaderValue::from_static("application/json")),
        authorization: visit.credential.map(basic).transpose()?,
        limit: ANSWER_LIMIT,
    })
}

/// A token and how long it may be used.
async fn fetch(visit: Visit<'_>, request: Request) -> Result<(HeaderValue, Duration), RegistryError> {
    let malformed = |what: &str| RegistryError::Malformed(format!("its token server {what}"));
    let reply = visit.transport.ask(visit.endpoint, request, visit.deadline).await?;
    match reply.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(RegistryError::Denied),
        status => return Err(malformed(&format!("answered {}", status.as_u16()))),
    }
    // The parser's own words could repeat a token.
    let answer: TokenAnswer =
        serde_json::from_slice(&reply.body).map_err(|_| malformed("answered with no token in JSON"))?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if token.is_empty() {
        return Err(malformed("answered without a token"));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| malformed("answered with a broken token"))?;
    header.set_sensitive(true);
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE).saturating_sub(MARGIN);
    Ok((header, Duration::from_secs(life)))
}

/// RFC 7617.
fn basic(credential: &Credential) -> Result<HeaderValue, RegistryError> {
    let pair = format!("{}:{}", credential.username(), credential.password());
    let mut header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).map_err(|_| {
        RegistryError::CredentialsUnavailable("a user name or password is unusable".to_owned())
    })?;
    header.set_sensitive(true);
    Ok(header)
}
