//! What a real API server makes of us.

mod controllers;
mod definitions;
mod server;
mod sources;
mod trust;
