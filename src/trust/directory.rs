//! Files of the operator's directory.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// The longest file that is read, in bytes: that of a trust root.
pub(super) const FILE_LIMIT: u64 = 1 << 20;

/// What stands at a name of the directory.
#[derive(Clone, Eq, PartialEq)]
pub(super) enum FileContent {
    /// Nothing.
    Absent,
    /// This.
    Content(Box<[u8]>),
    /// Something that cannot be read, and why.
    Unreadable(String),
}

/// Reads a file. `name` is one without a path, as a policy's must be.
///
/// Links are followed: the kubelet's volumes are made of them, and whoever may write the directory may
/// choose the keys anyway. What is no file, such as a pipe that nobody writes to, is not opened.
pub(super) fn read(directory: &Path, name: &str) -> FileContent {
    let path = directory.join(name);
    let read = || -> io::Result<Vec<u8>> {
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut content = Vec::new();
        File::open(&path)?.take(FILE_LIMIT + 1).read_to_end(&mut content)?;
        Ok(content)
    };
    match read() {
        Ok(content) if content.len() as u64 > FILE_LIMIT => {
            FileContent::Unreadable(format!("it is larger than {FILE_LIMIT} bytes"))
        }
        Ok(content) => FileContent::Content(content.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileContent::Absent,
        Err(error) => FileContent::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_read_and_what_is_none_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name: &str| read(directory.path(), name);
        fs::write(directory.path().join("a.pub"), "key").unwrap();
        fs::create_dir(directory.path().join("b.pub")).unwrap();
        fs::write(directory.path().join("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(matches!(read("a.pub"), FileContent::Content(content) if &*content == b"key"));
        assert!(matches!(read("absent"), FileContent::Absent));
        assert!(matches!(read("b.pub"), FileContent::Unreadable(why) if why == "it is no file"));
        assert!(matches!(read("large"), FileContent::Unreadable(why) if why.contains("1048576")));
    }

    #[test]
    fn a_directory_that_is_swapped_shows_the_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (version, key) in [("v1", "old"), ("v2", "new")] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("a.pub"), key).unwrap();
        }
        symlink("v1", path("..data")).unwrap();
        symlink("..data/a.pub", path("a.pub")).unwrap();
        assert!(matches!(read(directory.path(), "a.pub"), FileContent::Content(key) if &*key == b"old"));
        symlink("v2", path("..new")).unwrap();
        fs::rename(path("..new"), path("..data")).unwrap();
        assert!(matches!(read(directory.path(), "a.pub"), FileContent::Content(key) if &*key == b"new"));
    }
}
