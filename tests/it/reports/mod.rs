//! Reports of vulnerability scanners: real ones, which are not part of the project, and damaged ones of our own.

mod damaged;
mod real;
mod samples;
