//! The list of what refers to an image, in both places where it may be kept.

use std::collections::HashSet;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::{
    Registries,
    authorization::Visit,
    manifest::{Descriptor, INDEX, MANIFEST_LIMIT, digest_of_content, index, malformed, unexpected},
    registries::Wanted,
    transport::{Class, Reply},
};
use crate::{evidence::RegistryError, image::Digest};

/// How many referrers are looked at, of whatever kind they are.
pub(super) const REFERRERS: usize = 64;
/// How many pages of a list are read.
const PAGES: usize = 5;

/// Referrers, each once.
#[derive(Debug, Default)]
pub(super) struct Referrers {
    found: Vec<Descriptor>,
    digests: HashSet<Digest>,
}

impl Referrers {
    /// Adds those that are not there yet. Over the limit is an error, whatever they are: in a list of
    /// strangers' making, the first that fit are no better than the rest.
    pub(super) fn extend(&mut self, more: impl IntoIterator<Item = Descriptor>) -> Result<(), RegistryError> {
        for referrer in more {
            if self.digests.contains(&referrer.digest) {
                continue;
            }
            if self.found.len() == REFERRERS {
                return Err(RegistryError::TooMany { what: "referrers", limit: REFERRERS });
            }
            self.digests.insert(referrer.digest.clone());
            self.found.push(referrer);
        }
        Ok(())
    }

    pub(super) fn into_vec(self) -> Vec<Descriptor> {
        self.found
    }
}

impl Registries {
    /// What the registry's own list says (OCI distribution-spec 1.1, "Listing Referrers"). None where it
    /// keeps none.
    ///
    /// Not filtered by type: cosign 3 leaves the type that the list has for its signatures empty.
    pub(super) async fn listed_referrers(
        &self,
        visit: Visit<'_>,
        image: &Digest,
    ) -> Result<Option<Referrers>, RegistryError> {
        let first = visit.endpoint.url(&format!("{}/referrers/{image}", visit.repository));
        let mut referrers = Referrers::default();
        let mut url = first.clone();
        for page in 0..PAGES {
            let reply = match self.list(visit, url).await {
                Ok(reply) if page == 0 && is_unknown(reply.status) => return Ok(None),
                Err(RegistryError::NotFound) if page == 0 => return Ok(None),
                Err(RegistryError::NotFound) => return Err(malformed("a page of its list is not there")),
                reply => reply?,
            };
            if reply.status != StatusCode::OK {
                return Err(unexpected(reply.status));
            }
            digest_of_content(&reply.headers, &reply.body)?;
            referrers.extend(index(&reply.headers, &reply.body)?)?;
            match next_page(&first, &reply.headers)? {
                Some(next) => url = next,
                None => return Ok(Some(referrers)),
            }
        }
        Err(RegistryError::TooMany { what: "pages of referrers", limit: PAGES })
    }

    /// What the tag says under which publishers keep the list for registries that keep none (OCI
    /// distribution-spec 1.1, "Referrers Tag Schema"). None where there is no such tag.
    pub(super) async fn tagged_referrers(
        &self,
        visit: Visit<'_>,
        image: &Digest,
    ) -> Result<Option<Referrers>, RegistryError> {
        let url = visit.endpoint.url(&format!("{}/manifests/{}", visit.repository, referrers_tag(image)));
        let reply = match self.list(visit, url).await {
            Err(RegistryError::NotFound) => return Ok(None),
            reply => reply?,
        };
        if reply.status != StatusCode::OK {
            return Err(unexpected(reply.status));
        }
        digest_of_content(&reply.headers, &reply.body)?;
        let mut referrers = Referrers::default();
        // GitLab's registry takes the tag for the image's digest (oras-project/oras-go issue 1396). What an
        // image's own index lists does not refer to it.
        if !image.matches(&reply.body) {
            referrers.extend(index(&reply.headers, &reply.body)?)?;
        }
        Ok(Some(referrers))
    }

    async fn list(&self, visit: Visit<'_>, url: Url) -> Result<Reply, RegistryError> {
        let accept = Some(HeaderValue::from_static(INDEX));
        let wanted =
            Wanted { class: Class::Referrers, method: Method::GET, url, accept, limit: MANIFEST_LIMIT };
        self.fetch(visit, wanted).await
    }
}

/// What registries that know no such list answer, beside 404: Artifactory says 406 (google/go-containerregistry
/// issue 1962).
fn is_unknown(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::NOT_IMPLEMENTED
    )
}

/// The tag for an image's list: the digest's algorithm and value, as much of them as fits into a tag.
fn referrers_tag(image: &Digest) -> String {
    format!("{:.32}-{:.64}", image.algorithm(), image.hex())
}

/// Where the list goes on (RFC 8288), which must be the place where it began: a registry that names another
/// would choose where our requests go. None at its end.
fn next_page(first: &Url, headers: &HeaderMap) -> Result<Option<Url>, RegistryError> {
    for header in headers.get_all(header::LINK) {
        let header = header.to_str().map_err(|_| malformed("its Link header is no text"))?;
        let Some(target) = next_of(header) else { continue };
        let target = first.join(target).map_err(|_| malformed("its Link header leads nowhere"))?;
        let path = target.path().replace("%3A", ":").replace("%3a", ":");
        if target.origin() != first.origin() || path != first.path() {
            let told = "its list of referrers goes on at another place";
            return Err(RegistryError::Forbidden(told.to_owned()));
        }
        // Nothing else of what it names is taken: there could be a password in it.
        let mut next = first.clone();
        next.set_query(target.query());
        return Ok(Some(next));
    }
    Ok(None)
}

/// The target of the link of type `next` in a header, if there is one.
fn next_of(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, behind) = rest.split_once('<')?;
        let (target, behind) = behind.split_once('>')?;
        // The parameters go on until a comma that is not within quotes.
        let mut quoted = false;
        let end = behind.find(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let (parameters, behind) = behind.split_at(end.unwrap_or(behind.len()));
        let is_next =
            parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value
                        .trim()
                        .trim_matches('"')
                        .split_whitespace()
                        .any(|kind| kind.eq_ignore_ascii_case("next"))
            });
        if is_next {
            return Some(target);
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("</v2/a/referrers/b?last=c>; rel=\"next\"", Some("/v2/a/referrers/b?last=c"))]
    #[case("<https://registry.example.com/a>;rel=next", Some("https://registry.example.com/a"))]
    #[case("<a>; REL=\"prev NEXT\"", Some("a"))]
    #[case("<a>; rel=prev, <b>; title=\"x, <c>; rel=prev\"; rel=next", Some("b"))]
    #[case("<a>; rel=prev, <b>; rel=up", None)]
    #[case("<a>; rel=nextbutone", None)]
    #[case("<a>; title=next", None)]
    #[case("<a>", None)]
    #[case("<a; rel=next", None)]
    #[case("a; rel=next", None)]
    #[case("<>; rel=next", Some(""))]
    #[case("", None)]
    fn links_are_read_as_rfc_8288_writes_them(#[case] header: &str, #[case] next: Option<&str>) {
        assert_eq!(next_of(header), next);
    }

    proptest::proptest! {
        #[test]
        fn no_link_keeps_the_reader_busy_for_ever(header in "[<>;,=\"a-z ]{0,200}") {
            let _ = next_of(&header);
        }
    }

    #[rstest]
    #[case("sha256", 64)]
    #[case("sha512", 128)]
    fn a_tag_holds_as_much_of_a_digest_as_the_schema_says(#[case] algorithm: &str, #[case] length: usize) {
        let hex: String = "0123456789abcdef".chars().cycle().take(length).collect();
        let image = format!("{algorithm}:{hex}").parse().unwrap();
        assert_eq!(referrers_tag(&image), format!("{algorithm}-{}", "0123456789abcdef".repeat(4)));
    }

    fn stranger(number: usize) -> Descriptor {
        let digest = Digest::sha256(number.to_string().as_bytes());
        Descriptor { media_type: INDEX.to_owned(), digest, size: 1, annotations: Default::default() }
    }

    #[test]
    fn a_referrer_counts_once_and_one_over_the_limit_is_too_much() {
        let mut referrers = Referrers::default();
        for _ in 0..2 {
            assert_eq!(referrers.extend((0..REFERRERS).map(stranger)), Ok(()));
        }
        let error = RegistryError::TooMany { what: "referrers", limit: REFERRERS };
        assert_eq!(referrers.extend([stranger(REFERRERS)]), Err(error));
        assert_eq!(referrers.into_vec(), (0..REFERRERS).map(stranger).collect::<Vec<_>>());
    }
}
