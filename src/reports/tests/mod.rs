//! What the frame promises, on values and small documents of our own.

mod bind;
