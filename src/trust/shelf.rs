//! What a TUF repository has shown so far.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigstore_tuf::{Error, MetadataStore};

use crate::{image::Digest, policy::TufRepository};

/// The most that one repository's files may take up, in bytes.
const SHELF_LIMIT: usize = 16 << 20;
/// The longest file of the cache directory that is read, in bytes.
const CACHE_LIMIT: u64 = 24 << 20;

/// The files of one repository, all of them verified together by one look at it. The next look begins with
/// them, so that no file is believed that is older than these.
#[derive(Clone, Default)]
pub(super) struct Shelf(BTreeMap<String, Vec<u8>>);

impl Shelf {
    pub(super) fn get(&self, name: &str) -> Option<&Vec<u8>> {
        self.0.get(name)
    }
}

/// A copy of a shelf that one look at the repository writes to. It becomes a shelf if all went well, and is
/// thrown away otherwise: half of a repository's files would say less about how old the others may be.
#[derive(Clone)]
pub(super) struct Draft(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Draft {
    /// Delegated metadata is left out: it is fetched anew each time, and the names change.
    pub(super) fn of(shelf: &Shelf) -> Self {
        let kept = shelf.0.iter().filter(|(name, _)| {
            let fixed = ["root.json", "timestamp.json", "snapshot.json", "targets.json"];
            fixed.contains(&name.as_str())
                || name.starts_with("root_history/")
                || name.starts_with("targets/")
        });
        Self(Arc::new(Mutex::new(kept.map(|(name, file)| (name.clone(), file.clone())).collect())))
    }

    pub(super) fn finish(self) -> Shelf {
        Shelf(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl MetadataStore for Draft {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        // It stands there without its version too, and this one would stay for ever.
        if name.ends_with(".snapshot.json") {
            return Ok(());
        }
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: usize = files.iter().filter(|(kept, _)| *kept != name).map(|(_, file)| file.len()).sum();
        if taken + bytes.len() > SHELF_LIMIT {
            return Err(Error::Malformed(format!("the repository is larger than {SHELF_LIMIT} bytes")));
        }
        files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}

/// A shelf on disk. What is read from there is verified again before it counts.
#[derive(Deserialize, Serialize)]
struct Written {
    refreshed: Timestamp,
    files: BTreeMap<String, String>,
}

/// Where the shelf of a repository is kept. Another mirror or another `root.json` is another file.
pub(super) fn place(directory: &Path, root: &str, repository: &TufRepository) -> PathBuf {
    let all = format!("{root}\0{}\0{}", repository.mirror, repository.root);
    directory.join(format!("tuf-{}.json", Digest::sha256(all.as_bytes()).hex()))
}

/// The shelf at `path` and when it was last vouched for; none if there is none that can be read.
pub(super) fn read(path: &Path) -> io::Result<Option<(Shelf, Timestamp)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut json = Vec::new();
    file.take(CACHE_LIMIT).read_to_end(&mut json)?;
    let Written { refreshed, files } = serde_json::from_slice(&json)?;
    let files = files
        .into_iter()
        .map(|(name, file)| Ok((name, BASE64_STANDARD.decode(file).map_err(io::Error::other)?)))
        .collect::<io::Result<_>>()?;
    Ok(Some((Shelf(files), refreshed)))
}

/// Puts a shelf at `path`, whole or not at all.
pub(super) fn write(path: &Path, shelf: &Shelf, refreshed: Timestamp) -> io::Result<()> {
    let files = shelf.0.iter().map(|(name, file)| (name.clone(), BASE64_STANDARD.encode(file))).collect();
    let json = serde_json::to_vec(&Written { refreshed, files })?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&json)?;
    file.persist(path)?;
    Ok(())
}
