//! Scan verdicts: the cache that reviews look into, and those who fill it.
//!
//! In come ImageScanVerdicts, and the reports of scanners. Out go what is known of one digest's scans, at once
//! and without asking anybody, and ImageScanVerdicts for the cluster to keep. No scanner is ever asked while a
//! review waits.

mod controller;
mod currency;
mod index;
mod object;
mod requests;
mod source;

pub use controller::{Controller, Parts, SourceObserver};
pub use index::VerdictIndex;
pub use object::{OBJECT_BYTES, Scanned, Unbound, from_json, from_value, object_name, to_object};
