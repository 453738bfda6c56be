use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

/// The most bytes that a file may hold.
const FILE_LIMIT: u64 = 8 << 20;
/// The most documents that a file may hold.
const DOCUMENT_LIMIT: usize = 10_000;
/// The most files that a directory may hold, at any depth.
const DIRECTORY_LIMIT: usize = 10_000;
/// How deep directories are searched.
const DEPTH_LIMIT: usize = 16;

/// Where a document stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The file as the user named it; `-` for standard input.
    pub file: Arc<str>,
    /// Which document of the file, counted from 1. Empty documents do not count.
    pub document: usize,
    /// The line on which the document begins, counted from 1.
    pub line: usize,
    /// Where it stands in a `List`, counted from 0: `items[2]`. Empty for a document of its own.
    pub item: Box<str>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, document, line, item } = self;
        write!(f, "{file}: document {document} (line {line})")?;
        if item.is_empty() { Ok(()) } else { write!(f, ", {item}") }
    }
}

/// One document, read.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub value: Value,
}

/// Why a file cannot be read. "Could not be asked", in the terms of a check.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file or directory cannot be opened or read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A directory holds no YAML or JSON file.
    #[error("{}: no file that ends in .yaml, .yml or .json", .0.display())]
    NoFiles(PathBuf),
    /// A directory is deeper or larger than we look.
    #[error("{}: more than {DIRECTORY_LIMIT} files, or directories nested deeper than {DEPTH_LIMIT}", .0.display())]
    Directory(PathBuf),
    /// The file is larger than we read.
    #[error(
        "{file}: document {document} (line {line}): larger than {FILE_LIMIT} bytes from here on; split it"
    )]
    TooLarge {
        /// The file.
        file: Arc<str>,
        /// The document in which the last byte that is read stands.
        document: usize,
        /// The line on which it stands.
        line: usize,
    },
    /// The file is not text.
    #[error("{file}: document {document} (line {line}): not UTF-8 text; is this a binary file?")]
    NotText {
        /// The file.
        file: Arc<str>,
        /// The document in which the first such byte stands.
        document: usize,
        /// The line on which it stands.
        line: usize,
    },
    /// The file holds no document.
    #[error("{file}: document 1 (line 1): the file is empty; was it generated completely?")]
    Empty {
        /// The file.
        file: Arc<str>,
    },
    /// The file holds more documents than we read.
    #[error("{0}: more than {DOCUMENT_LIMIT} documents; split it")]
    TooMany(
        /// The first that is too many.
        Place,
    ),
    /// A document is not YAML (or JSON, which is YAML too), or is larger once its aliases are
    /// followed than we read.
    #[error("{file}: document {document} (line {line}): {problem}")]
    Syntax {
        /// The file.
        file: Arc<str>,
        /// Which document of the file.
        document: usize,
        /// The line of the trouble.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Reads a file, or every `.yaml`, `.yml` and `.json` file of a directory and those below it, in the
/// order of their names. `-` is standard input. Hidden files and directories are passed over.
///
/// The items of a `List`, and of lists in it, come out as documents of their own. The first document or
/// file that cannot be read is the answer: for whoever needs all or nothing.
pub fn read(path: &Path) -> Result<Vec<Document>, FileError> {
    read_each(path).into_iter().collect()
}

/// Reads what [`read`] reads, and goes on behind what cannot be read: for whoever judges each document
/// for itself. Never empty but for a file that holds nothing but comments.
pub fn read_each(path: &Path) -> Vec<Result<Document, FileError>> {
    if path == Path::new("-") {
        return parse_bounded(&"-".into(), io::stdin().lock());
    }
    match files(path) {
        Ok(files) => files.iter().flat_map(|file| read_file(file)).collect(),
        Err(error) => vec![Err(error)],
    }
}

/// The files that [`read`] reads, in that order.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |cause| FileError::Io { path: path.to_owned(), cause };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    collect(path, path, DEPTH_LIMIT, &mut files)?;
    match files.is_empty() {
        true => Err(FileError::NoFiles(path.to_owned())),
        false => Ok(files),
    }
}

fn read_file(path: &Path) -> Vec<Result<Document, FileError>> {
    match fs::File::open(path) {
        Ok(file) => parse_bounded(&path.display().to_string().into(), file),
        Err(cause) => vec![Err(FileError::Io { path: path.to_owned(), cause })],
    }
}

fn parse_bounded(file: &Arc<str>, reader: impl io::Read) -> Vec<Result<Document, FileError>> {
    let mut bytes = Vec::new();
    let read = io::Read::take(reader, FILE_LIMIT + 1);
    match io::Read::read_to_end(&mut { read }, &mut bytes) {
        Ok(_) => parse_each(file, &bytes),
        Err(cause) => vec![Err(FileError::Io { path: PathBuf::from(&**file), cause })],
    }
}

fn collect(root: &Path, directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), FileError> {
    let failed = |cause| FileError::Io { path: directory.to_owned(), cause };
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(failed)?;
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(|cause| FileError::Io { path: path.clone(), cause })?;
        if metadata.is_dir() {
            if depth == 0 {
                return Err(FileError::Directory(root.to_owned()));
            }
            collect(root, &path, depth - 1, files)?;
        } else if path.extension().is_some_and(|kind| ["yaml", "yml", "json"].iter().any(|k| kind == *k)) {
            if files.len() == DIRECTORY_LIMIT {
                return Err(FileError::Directory(root.to_owned()));
            }
            files.push(path);
        }
    }
    Ok(())
}

/// Reads the documents of one file's content, all or nothing. `file` is its name in messages.
pub fn parse(file: &str, content: &[u8]) -> Result<Vec<Document>, FileError> {
    parse_each(&file.into(), content).into_iter().collect()
}

fn parse_each(file: &Arc<str>, content: &[u8]) -> Vec<Result<Document, FileError>> {
    let file = file.clone();
    if let Some(most) = usize::try_from(FILE_LIMIT).ok().filter(|most| content.len() > *most) {
        let (document, line) = last(&String::from_utf8_lossy(&content[..most]));
        return vec![Err(FileError::TooLarge { file, document, line })];
    }
    let text = match std::str::from_utf8(content) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let (document, line) = last(&String::from_utf8_lossy(&content[..error.valid_up_to()]));
            return vec![Err(FileError::NotText { file, document, line })];
        }
    };
    if text.trim().is_empty() {
        return vec![Err(FileError::Empty { file })];
    }
    let mut documents = Vec::new();
    for ((document, line), part) in split(text) {
        let place = Place { file: file.clone(), document, line, item: Box::default() };
        if document > DOCUMENT_LIMIT {
            documents.push(Err(FileError::TooMany(place)));
            break;
        }
        match yaml(&place, part) {
            Ok(value) => unfold(place, value, &mut |document| documents.push(Ok(document))),
            Err(error) => documents.push(Err(error)),
        }
    }
    documents
}

/// The number of the document in which `text` ends, and that of the line.
fn last(text: &str) -> (usize, usize) {
    (split(text).len().max(1), text.matches('\n').count() + 1)
}

/// Cuts a stream at its `---` lines (YAML 1.2.2 §9.1.4) and leaves out the parts that hold nothing but
/// white space and comments. Each part comes with its number and the line on which it begins.
fn split(text: &str) -> Vec<((usize, usize), &str)> {
    let mut parts: Vec<((usize, usize), &str)> = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    let mut push = |from: usize, to: usize, line: usize| {
        let part = &text[from..to];
        let blank = |line: &str| matches!(line.trim_start().chars().next(), None | Some('#' | '%'));
        let marker = |line: &str| line.trim_end() == "---" || line.trim_end() == "...";
        if !part.lines().all(|line| blank(line) || marker(line)) {
            let number = parts.len() + 1;
            parts.push(((number, line), part));
        }
    };
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker {
            push(start, offset, start_line);
            (start, start_line) = (offset, at + 1);
        }
        offset += line.len();
    }
    push(start, text.len(), start_line);
    parts
}

fn yaml(place: &Place, text: &str) -> Result<Value, FileError> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| FileError::Syntax {
        file: place.file.clone(),
        document: place.document,
        line: error.location().map_or(place.line, |location| {
            place.line + usize::try_from(location.line()).unwrap_or(1).max(1) - 1
        }),
        problem: problem(error.without_snippet()),
    })
}

/// What is wrong, in one line and without the place: it counts from the start of the document and not of
/// the file.
fn problem(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::AliasError { error, .. } => problem(error),
        Error::Budget { .. } => {
            "larger than is read once its aliases are followed; write out what they stand for, or split it"
                .to_owned()
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key {key} stands here twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key stands here twice".to_owned(),
        other => {
            let text = other.to_string().replace('\n', " ");
            let place = other.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
            place.and_then(|place| text.strip_suffix(&place)).unwrap_or(&text).to_owned()
        }
    }
}

/// Takes a `List` apart, as `kubectl get -o yaml` writes it, and the lists in it, as `kubectl apply` does.
fn unfold(place: Place, value: Value, found: &mut impl FnMut(Document)) {
    let list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match value {
        Value::Null => {}
        Value::Object(mut object) if list && object.get("items").is_some_and(Value::is_array) => {
            let Some(Value::Array(items)) = object.remove("items") else { return };
            for (at, value) in items.into_iter().enumerate() {
                let dot = if place.item.is_empty() { "" } else { "." };
                let item = format!("{}{dot}items[{at}]", place.item);
                unfold(Place { item: item.into(), ..place.clone() }, value, found);
            }
        }
        value => found(Document { place, value }),
    }
}
