//! The computing rooms that the report readers need, compiled from the program's own files, so that a fuzz target
//! is built in seconds and instruments what it is to fuzz.

#![allow(dead_code, reason = "the rooms have more than the readers use")]
#![allow(rustdoc::broken_intra_doc_links, reason = "the rooms speak of others")]

#[path = "../../src/evidence/mod.rs"]
pub mod evidence;
#[path = "../../src/image/mod.rs"]
pub mod image;
#[path = "../../src/reports/mod.rs"]
pub mod reports;
