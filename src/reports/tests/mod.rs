//! What the frame promises, on values of our own. Reports of each format are read in `tests/it/reports`.

mod bind;
mod settle;
mod texts;
