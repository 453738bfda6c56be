use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use crate::api::v1alpha1::{Definition, definitions};

/// Print the custom resource definitions that the API server needs.
///
/// tidewaiter crds | kubectl apply -f -
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one file per definition into this directory instead of printing them.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.dir {
        None => {
            for Definition { yaml, .. } in definitions() {
                super::print(format!("---\n{yaml}").as_bytes())?;
            }
        }
        Some(directory) => {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
            for Definition { file_name, yaml } in definitions() {
                let path = directory.join(file_name);
                fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
