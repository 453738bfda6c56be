//! Images with files in them: made here, since scanners and clusters want more than the few bytes that other
//! tests push.
//!
//! Source: OCI image-spec 1.1; the layer is a tar archive in the ustar format (POSIX.1-1988).

use serde_json::{Value, json};
use tidewaiter::image::Digest;

use super::client::{CONFIG, INDEX, LAYER, MANIFEST, RegistryClient};

/// An image of one layer.
#[derive(Clone, Default)]
pub struct Image {
    files: Vec<File>,
    entrypoint: Vec<String>,
    /// Whether everybody may write in it.
    open: bool,
}

#[derive(Clone)]
struct File {
    path: String,
    mode: u32,
    content: Vec<u8>,
}

impl Image {
    /// Adds a file that everybody may read. The path has no slash in front, and at most 100 bytes.
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.with(path, 0o644, content.into())
    }

    /// Adds a program, and lets containers start it.
    pub fn program(mut self, path: &str, content: Vec<u8>) -> Self {
        self.entrypoint = vec![format!("/{path}")];
        self.with(path, 0o755, content)
    }

    /// Lets everybody write in it, whoever a container runs as.
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    fn with(mut self, path: &str, mode: u32, content: Vec<u8>) -> Self {
        assert!(path.len() <= 100 && !path.starts_with('/'), "{path}");
        self.files.push(File { path: path.to_owned(), mode, content });
        self
    }

    /// Pushes it for `linux/ARCHITECTURE` under its digest, and answers with a descriptor that names the platform.
    pub async fn push(&self, client: &RegistryClient, repository: &str, architecture: &str) -> Value {
        let layer = client.put_blob(repository, LAYER, self.layer()).await.unwrap();
        let config = json!({
            "os": "linux", "architecture": architecture, "created": "2026-01-01T00:00:00Z",
            "config": {"Entrypoint": self.entrypoint},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = client.put_blob(repository, CONFIG, config.to_string().into_bytes()).await.unwrap();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
        })
        .to_string();
        let (digest, size) = (Digest::sha256(manifest.as_bytes()), manifest.len());
        client.put_manifest(repository, digest.as_str(), MANIFEST, manifest).await.unwrap();
        json!({
            "mediaType": MANIFEST, "digest": digest.as_str(), "size": size,
            "platform": {"os": "linux", "architecture": architecture},
        })
    }

    /// Its files, and a folder before each.
    fn layer(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        let mut folders = Vec::new();
        let open = if self.open { 0o222 } else { 0 };
        for File { path, mode, content } in &self.files {
            for (at, _) in path.match_indices('/') {
                let folder = &path[..=at];
                if !folders.contains(&folder) {
                    folders.push(folder);
                    archive.extend(header(folder, 0o755 | open, 0, b'5'));
                }
            }
            archive.extend(header(path, *mode | open, content.len(), b'0'));
            archive.extend(content);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
        archive.extend([0; 2 * BLOCK]);
        archive
    }
}

/// Pushes an index of what `descriptors` name, and answers with its digest.
pub async fn push_index(client: &RegistryClient, repository: &str, descriptors: &[Value]) -> Digest {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}).to_string();
    let digest = Digest::sha256(index.as_bytes());
    client.put_manifest(repository, digest.as_str(), INDEX, index).await.unwrap()
}

const BLOCK: usize = 512;

/// What stands before a file of `size` bytes, or before a folder.
fn header(path: &str, mode: u32, size: usize, kind: u8) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000"); // owner
    put(116, "0000000"); // group
    put(124, &format!("{size:011o}"));
    put(136, "00000000000"); // changed
    put(148, "        "); // the sum is taken as if it were blanks
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}
