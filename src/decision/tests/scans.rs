//! What becomes of an image by what scanners have said of it.
