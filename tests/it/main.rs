//! The whole program in one process, on loopback only.

mod definitions_on_disk;
