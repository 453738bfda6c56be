//! The `tidewaiter` program: see `tidewaiter --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidewaiter::cli::main()
}
