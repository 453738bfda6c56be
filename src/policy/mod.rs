//! stub
pub struct PolicySet;
