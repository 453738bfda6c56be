//! VulnerabilitySources on a real API server, and the controller that makes verdicts of them.

mod clair;
mod definitions;
mod harbor;
mod jobs;
mod operator;
mod quay;
mod scene;
mod writer;
