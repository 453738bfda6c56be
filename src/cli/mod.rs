//! The commands. The only room that names concrete adapters.
//!
//! In come arguments, files and the environment; out go exit codes: 0 for yes, 1 for no, 2 for "could
//! not be asked".

mod check;
mod completions;
mod controller;
mod crds;
mod demo;
mod inspect;
mod ports;
mod report;
mod scans;
mod serve;
mod settings;
mod verdict;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// The webhook resolves every container image to its digest, judges it by policies, pins the digest
/// into the Pod and admits or refuses it.
#[derive(Debug, Parser)]
#[command(name = "tidewaiter", version, about = "A Kubernetes admission webhook that resolves, judges and pins every container image", long_about = None, after_help = START)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const START: &str = "\
Start here:
  tidewaiter demo                                       see it at work: no cluster, no network
  tidewaiter check --policies policies/ -f manifests/   judge manifests before they bite
  tidewaiter inspect IMAGE                              see who signed an image, and what a policy could demand
  tidewaiter verdict import --help                      hand over what your scanner has found
  tidewaiter crds | kubectl apply -f -                  teach a cluster the resources
  tidewaiter serve --help                               run the webhook
  tidewaiter controller --help                          keep scan verdicts coming";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Controller(controller::Args),
    Check(check::Args),
    Crds(crds::Args),
    Demo(demo::Args),
    Inspect(Box<inspect::Args>),
    Verdict(verdict::Args),
    Completions(completions::Args),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let ended = match command {
        Command::Serve(args) => serve::run(args),
        Command::Controller(args) => controller::run(args),
        Command::Check(args) => check::run(args),
        Command::Crds(args) => crds::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verdict(args) => verdict::run(args),
        Command::Completions(args) => completions::run(&args),
    };
    ended.unwrap_or_else(|error| {
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "error: {error:#}");
        ExitCode::from(2)
    })
}

/// Writes to standard output. A reader that has had enough, as `head` has, is no trouble.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => Ok(ended?),
    }
}
