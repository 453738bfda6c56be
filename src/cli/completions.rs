use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

/// Print a script that completes this program's arguments in a shell.
///
/// bash: tidewaiter completions bash > /etc/bash_completion.d/tidewaiter
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "tidewaiter", &mut script);
    super::print(&script)?;
    Ok(ExitCode::SUCCESS)
}
