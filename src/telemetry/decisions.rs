use std::{
    io::{self, Write},
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread,
};

use serde::Serialize;

use super::LogFormat;

/// How many decisions may wait to be written. Beyond that they are dropped and counted: a full disk
/// or a stuck pipe must not hold up admission.
const QUEUE: usize = 8192;
/// The most bytes of one line; of a longer one the images are left out and their number is said.
const LINE_LIMIT: usize = 64 << 10;

/// One decision, as auditors read it. Field names are stable.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionRecord<'a> {
    /// When, RFC 3339, UTC.
    pub time: String,
    /// Also in the denial and in the API server's audit log.
    pub decision_id: &'a str,
    /// The AdmissionReview's uid.
    pub uid: &'a str,
    /// `mutate` or `validate`.
    pub stage: &'static str,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'static str,
    /// The object's kind.
    pub kind: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name, or its `generateName` with a star behind.
    pub name: &'a str,
    /// Who asked.
    pub user: &'a str,
    /// Whether nothing was to be stored.
    pub dry_run: bool,
    /// Whether the request was admitted.
    pub allowed: bool,
    /// How many warnings were sent.
    pub warnings: usize,
    /// From the request's last byte to the answer, in milliseconds.
    pub duration_ms: f64,
    /// Why the request was refused before its images were judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unjudged: Option<&'a str>,
    /// How many images are not in this line, as it would be too long with them; all of them or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_left_out: Option<usize>,
    /// The images that were judged; none where nothing had to be.
    pub images: Vec<ImageRecord<'a>>,
}

/// One image of a [`DecisionRecord`].
#[derive(Clone, Debug, Serialize)]
pub struct ImageRecord<'a> {
    /// Where it stands, as a JSON pointer.
    pub pointer: &'a str,
    /// The reference as written.
    pub image: &'a str,
    /// The canonical reference; none where it cannot be read.
    pub reference: Option<String>,
    /// The digest that was judged; none where it is not known.
    pub digest: Option<&'a str>,
    /// What kept the digest from being known. For operators: the requester does not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// One per policy and check.
    pub results: Vec<ResultRecord<'a>>,
}

/// One check's result in an [`ImageRecord`].
#[derive(Clone, Debug, Serialize)]
pub struct ResultRecord<'a> {
    /// The policy; none where the result is about there being none.
    pub policy: Option<String>,
    /// The check.
    pub check: &'static str,
    /// `Satisfied`, `Absent`, `Violated` or `Indeterminate`.
    pub verdict: &'static str,
    /// What a failure leads to.
    pub action: &'static str,
    /// The stable name of the trouble; none where there is none.
    pub reason: Option<&'static str>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<&'a str>,
}

/// Writes decisions, one per line, from a thread of its own.
pub struct DecisionLog {
    lines: SyncSender<Vec<u8>>,
    format: LogFormat,
}

impl DecisionLog {
    /// Writes to `sink`, which may block. The thread ends when the log is dropped.
    pub fn start(format: LogFormat, mut sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel::<Vec<u8>>(QUEUE);
        thread::Builder::new().name("decision-log".to_owned()).spawn(move || {
            for line in queue {
                // A sink that is gone is nothing that this program could tell anybody of.
                let _ = sink.write_all(&line).and_then(|()| sink.flush());
            }
        })?;
        Ok(Self { lines, format })
    }

    /// Takes a decision without waiting. `false` if the queue is full and the line is lost.
    pub fn write(&self, record: &DecisionRecord<'_>) -> bool {
        let line = match self.format {
            LogFormat::Json => json(record),
            LogFormat::Text => text(record),
        };
        !matches!(self.lines.try_send(line), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
    }
}

fn json(record: &DecisionRecord<'_>) -> Vec<u8> {
    // OK because strings and numbers serialise, and writing to memory does not fail
    let mut line = serde_json::to_vec(record).unwrap();
    if line.len() > LINE_LIMIT {
        let short = DecisionRecord {
            images_left_out: Some(record.images.len()),
            images: Vec::new(),
            ..record.clone()
        };
        // OK for the same reason
        line = serde_json::to_vec(&short).unwrap();
    }
    line.push(b'\n');
    line
}

/// One line for people. Everything that a stranger wrote is quoted, so that none can begin another.
fn text(record: &DecisionRecord<'_>) -> Vec<u8> {
    let verdict = if record.allowed { "allowed" } else { "denied" };
    let mut line = format!(
        "{} {verdict} {} {} {:?} namespace={:?} name={:?} user={:?} dry_run={} id={} ms={:.3}",
        record.time,
        record.stage,
        record.operation,
        record.kind,
        record.namespace,
        record.name,
        record.user,
        record.dry_run,
        record.decision_id,
        record.duration_ms
    );
    if let Some(unjudged) = record.unjudged {
        line.push_str(&format!(" unjudged={unjudged:?}"));
    }
    for image in &record.images {
        line.push_str(&format!(" image={:?} digest={}", image.image, image.digest.unwrap_or("unknown")));
        if let Some(detail) = image.detail {
            line.push_str(&format!(" detail={detail:?}"));
        }
        for result in &image.results {
            if let Some(reason) = result.reason {
                let policy = result.policy.as_deref().unwrap_or("none");
                let (check, action) = (result.check, result.action);
                line.push_str(&format!(" failed={:?}", format!("{policy}:{check}:{reason}:{action}")));
            }
        }
        if line.len() > LINE_LIMIT {
            break;
        }
    }
    if line.len() > LINE_LIMIT {
        // OK because a text begins with a boundary
        let end = (0..=LINE_LIMIT).rev().find(|at| line.is_char_boundary(*at)).unwrap();
        line.truncate(end);
        line.push_str(" …");
    }
    line.push('\n');
    line.into_bytes()
}
