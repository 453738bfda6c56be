use super::tuf;
use crate::{review::ports::TrustRootCheck, signature::TrustRoot};

/// Reads the content of trust roots with the code that will use it.
pub struct RootCheck;

impl TrustRootCheck for RootCheck {
    fn trusted_root(&self, json: &str) -> Result<(), String> {
        TrustRoot::from_json(json).map(drop).map_err(|error| error.to_string())
    }

    fn tuf_root(&self, json: &str) -> Result<(), String> {
        tuf::check_root(json)
    }
}
