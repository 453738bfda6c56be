//! What a real API server makes of us.

mod controllers;
mod definitions;
mod scan_requests;
mod scan_verdicts;
mod server;
mod sources;
mod trust;
