use std::time::Duration;

/// Why a registry did not say what it was asked.
///
/// The first six are answers: a policy's `onError` never excuses them. The rest mean that we
/// could not ask ([`is_answer`](Self::is_answer) tells them apart). Details are for the log; what
/// a tenant reads is kept uniform by the message layer, so that a denial is no oracle for what a
/// private registry holds.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RegistryError {
    /// The registry answered 404: no such repository, tag or digest.
    #[error("the registry does not have it")]
    NotFound,
    /// The registry answered 401 or 403 with every credential that may be used.
    #[error("the registry does not show it to us")]
    Denied,
    /// The registry answered with something that breaks its own protocol: a digest that is not the
    /// body's, a broken header, a truncated document.
    #[error("the registry's answer cannot be believed: {0}")]
    Malformed(String),
    /// The registry answered with more than we read.
    #[error("the registry's {what} is larger than {limit} bytes")]
    TooLarge {
        /// What was too large: `manifest`, `token`, ….
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// The registry holds more beside the image than we look at.
    #[error("the registry lists more than {limit} {what}")]
    TooMany {
        /// What there is too much of: `referrers`, `signatures`, ….
        what: &'static str,
        /// The most that are looked at.
        limit: usize,
    },
    /// Our own rules forbid the request that this reference or this registry asks for: an address
    /// that is not public, a realm or redirect on another site, plain http.
    #[error("the request is not allowed: {0}")]
    Forbidden(String),
    /// The registry answered 429 until the time ran out.
    #[error("the registry throttles us")]
    Throttled {
        /// How long the registry asked us to wait, if it said so.
        retry_after: Option<Duration>,
    },
    /// No connection, a broken connection, a TLS error, or a 5xx answer.
    #[error("the registry cannot be reached: {0}")]
    Unreachable(String),
    /// The review's deadline came first.
    #[error("the registry did not answer in time")]
    TimedOut,
    /// We refused to queue yet another request.
    #[error("too many requests are waiting for this registry")]
    Overloaded,
    /// The Secrets that hold the credentials could not be read.
    #[error("the pull secrets could not be read: {0}")]
    CredentialsUnavailable(String),
}

impl RegistryError {
    /// Whether the registry (or our own rule) gave an answer, as opposed to our not having been able
    /// to ask. Only the latter is what a policy's `onError` speaks of.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::NotFound
            | Self::Denied
            | Self::Malformed(_)
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Forbidden(_) => true,
            Self::Throttled { .. }
            | Self::Unreachable(_)
            | Self::TimedOut
            | Self::Overloaded
            | Self::CredentialsUnavailable(_) => false,
        }
    }
}
