//! The whole program, and the real parts that it lives with.

mod references;
mod references_and_patterns;
mod support;
