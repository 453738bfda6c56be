//! VulnerabilitySources on a real API server, and the controller that makes verdicts of them.

mod clair;
mod definitions;
mod jobs;
mod operator;
mod scene;
mod writer;
