use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    FileError, PolicyFileError,
    documents::files,
    policies::{Filed, read_policies},
};
use crate::{image::Digest, policy::PolicySet, review::ports::Policies};

/// How often the files are looked at. An edit acts within this time.
const INTERVAL: Duration = Duration::from_millis(500);

/// The policies of files and directories, read again when one of them changes.
///
/// A change that cannot be read, such as a file that is half written, leaves the policies in force
/// that were read before. It is tried again until it can be read.
pub struct PolicyDirectory {
    paths: Vec<PathBuf>,
    current: ArcSwap<PolicySet>,
    seen: Mutex<Option<Digest>>,
}

/// What became of a look at the files.
#[derive(Debug)]
pub enum Reload {
    /// Nothing has changed since the last look.
    Unchanged,
    /// This is in force from now on.
    Changed(Filed),
    /// The files have changed and cannot be read; what was in force stays in force.
    Failed(PolicyFileError),
}

impl PolicyDirectory {
    /// Reads `paths`, each a file or a directory, for the first time.
    pub fn open(paths: Vec<PathBuf>) -> Result<(Self, Filed), PolicyFileError> {
        let directory = Self { paths, current: ArcSwap::default(), seen: Mutex::default() };
        match directory.reload() {
            Reload::Changed(filed) => Ok((directory, filed)),
            Reload::Failed(error) => Err(error),
            Reload::Unchanged => Ok((directory, Filed::default())),
        }
    }

    /// Looks at the files for ever, and tells `hear` what has changed.
    pub async fn watch(self: Arc<Self>, mut hear: impl FnMut(Reload) + Send + 'static) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            let directory = self.clone();
            match tokio::task::spawn_blocking(move || directory.reload()).await {
                Ok(Reload::Unchanged) => {}
                Ok(reload) => hear(reload),
                // The runtime shuts down.
                Err(_) => return,
            }
        }
    }

    /// Reads the files again if their content has changed.
    pub fn reload(&self) -> Reload {
        // OK because nothing that holds this lock can panic
        let mut seen = self.seen.lock().unwrap();
        let fingerprint = match self.fingerprint() {
            Ok(fingerprint) if seen.as_ref() == Some(&fingerprint) => return Reload::Unchanged,
            Ok(fingerprint) => fingerprint,
            Err(error) => {
                // A lasting error is told once.
                let told = Digest::sha256(error.to_string().as_bytes());
                return match seen.replace(told.clone()) == Some(told) {
                    true => Reload::Unchanged,
                    false => Reload::Failed(error.into()),
                };
            }
        };
        *seen = Some(fingerprint);
        match read_policies(&self.paths) {
            Ok(filed) => {
                let set = PolicySet::new(filed.policies.iter().map(|filed| filed.policy.clone()));
                self.current.store(Arc::new(set));
                Reload::Changed(filed)
            }
            Err(error) => Reload::Failed(error),
        }
    }

    fn fingerprint(&self) -> Result<Digest, FileError> {
        let mut all = Vec::new();
        for path in &self.paths {
            for file in files(path)? {
                let content =
                    std::fs::read(&file).map_err(|cause| FileError::Io { path: file.clone(), cause })?;
                all.extend_from_slice(file.as_os_str().as_encoded_bytes());
                all.push(0);
                all.extend_from_slice(Digest::sha256(&content).as_str().as_bytes());
                all.push(0);
            }
        }
        Ok(Digest::sha256(&all))
    }
}

impl Policies for PolicyDirectory {
    fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }
}
