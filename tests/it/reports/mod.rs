//! Reports of vulnerability scanners: real ones, which are not part of the project, damaged ones of our own, and what is made of them.

mod damaged;
mod meaning;
mod real;
pub mod samples;
mod traps;
mod vex;
