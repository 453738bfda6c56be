//! Child processes that never outlive the tests, however the tests end.
//!
//! A destructor is not enough: a test runner that is killed runs none, and what a `static` holds is never
//! dropped. So every child gets a supervisor, a shell that holds the read end of a pipe whose write end
//! only the test process has. When that end closes, because somebody dropped it or because the process
//! is gone, the supervisor stops the child by its process id and removes its directory.

use std::{
    env, fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

/// `$1` is the child's directory, the rest its command; stdin is the pipe. Stopping is TERM, and KILL five
/// seconds later. The status is the child's own, or 128 and the number of the signal that ended it.
const SUPERVISOR: &str = r#"
directory=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
echo "$child" >"$directory/pid.new" && mv "$directory/pid.new" "$directory/pid"
(
    while read -r _ <&3; do :; done
    : >"$directory/stop"
    kill -TERM "$child"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
        sleep 0.2
        kill -0 "$child" || exit 0
    done
    kill -KILL "$child"
) >/dev/null 2>&1 &
watch=$!
wait "$child"
status=$?
if [ -e "$directory/stop" ]; then
    [ -n "${TIDEWAITER_KEEP_TEMP-}" ] || rm -rf "$directory"
else
    kill "$watch"
fi
exit "$status"
"#;

/// How long a child may live: longer than any test run, and an end all the same.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long the supervisor has to start the child.
const START: Duration = Duration::from_secs(10);
/// How long a server has to listen. A machine that is busy compiling takes its time.
const LISTEN: Duration = Duration::from_secs(60);
/// How long stopping may take: a little more than the supervisor's patience.
const STOP: Duration = Duration::from_secs(10);
/// The end of a log that is worth printing, in bytes.
const TAIL: u64 = 8 * 1024;

/// A child process with a directory of its own. Dropping it stops the child and removes the directory,
/// unless `TIDEWAITER_KEEP_TEMP` is set.
pub struct Guarded {
    supervisor: Child,
    pipe: Arc<Mutex<Option<ChildStdin>>>,
    directory: PathBuf,
    pid: u32,
    /// Wakes the thread that ends the child's lifetime.
    _alive: mpsc::Sender<()>,
}

/// What a program said that ran to its end.
#[derive(Debug)]
pub struct Said {
    /// Whether it exited with 0.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error: refusals and warnings.
    pub stderr: String,
}

/// A new directory for a child, which may be filled before the child starts.
pub fn directory(name: &str) -> io::Result<PathBuf> {
    Ok(tempfile::Builder::new().prefix(&format!("tidewaiter-{name}-")).tempdir()?.keep())
}

/// Our own program, as a command that may be given to [`Guarded::start`].
pub fn tidewaiter() -> Command {
    // Cargo tells tests where it is. An example finds it beside its own directory.
    match option_env!("CARGO_BIN_EXE_tidewaiter") {
        Some(path) => Command::new(path),
        None => {
            let example = std::env::current_exe().unwrap();
            Command::new(example.ancestors().nth(2).unwrap().join("tidewaiter"))
        }
    }
}

impl Guarded {
    /// Starts `command` with an empty stdin, and with stdout and stderr going to a log in `directory`,
    /// which belongs to the child from now on.
    pub fn start(command: &Command, directory: PathBuf) -> io::Result<Self> {
        let log = fs::File::create(directory.join("log"))?;
        let mut supervisor = Command::new("/bin/sh");
        supervisor
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&directory)
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us: we close the pipe by going away.
            .process_group(0);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => supervisor.env(name, value),
                None => supervisor.env_remove(name),
            };
        }
        if let Some(place) = command.get_current_dir() {
            supervisor.current_dir(place);
        }
        let mut supervisor = supervisor.spawn()?;
        let pipe = Arc::new(Mutex::new(supervisor.stdin.take()));
        let (alive, lifetime) = mpsc::channel::<()>();
        thread::spawn({
            let pipe = Arc::clone(&pipe);
            move || {
                let _ = lifetime.recv_timeout(LIFETIME);
                pipe.lock().unwrap().take();
            }
        });
        let pid = wait_for(START, || fs::read_to_string(directory.join("pid")).ok()?.trim().parse().ok())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::TimedOut, "the supervisor did not start the child")
            })?;
        Ok(Self { supervisor, pipe, directory, pid, _alive: alive })
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The child's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sends the child a signal, by name: `TERM`.
    pub fn signal(&self, signal: &str) {
        kill(signal, self.pid);
    }

    /// The child's status, if it has ended: its exit code, or 128 and the number of the signal.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.supervisor.try_wait().unwrap()
    }

    /// Waits until the child has ended, but no longer than `bound`.
    pub fn wait(&mut self, bound: Duration) -> Option<ExitStatus> {
        wait_for(bound, || self.ended())
    }

    /// Waits until the child has said `listening on HOST:PORT`, and answers with that.
    pub async fn listening(self) -> io::Result<(Self, String)> {
        tokio::task::spawn_blocking(move || self.until_listening()).await?
    }

    fn until_listening(mut self) -> io::Result<(Self, String)> {
        let said = wait_for(LISTEN, || {
            let log = self.log();
            let address = log.split_once("listening on ").and_then(|(_, behind)| {
                let host: String =
                    behind.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
                // The rest of the line tells that the port is whole.
                (behind.len() > host.len()).then_some(host)
            });
            address.map(Ok).or_else(|| self.ended().map(Err))
        });
        let trouble = match said {
            Some(Ok(host)) => return Ok((self, host)),
            Some(Err(status)) => format!("it ended with {status}"),
            None => "it does not listen".to_owned(),
        };
        Err(io::Error::other(format!("{trouble}: {}", self.log())))
    }

    /// The end of what the child wrote to stdout and stderr.
    pub fn log(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = fs::File::open(self.directory.join("log"))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.pipe.lock().unwrap().take();
        if self.wait(STOP).is_none() {
            // The shell itself hangs. Its watcher is a process of its own and kills the child.
            let _ = self.supervisor.kill();
            let _ = self.supervisor.wait();
        }
        if env::var_os("TIDEWAITER_KEEP_TEMP").is_none() {
            // Gone already, unless the child had ended by itself.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Runs `command` to its end, with `input` on its standard input, but no longer than `bound`.
///
/// The caller's own runtime goes on meanwhile, so that a server in it can answer the program.
pub async fn run(command: Command, input: &str, bound: Duration) -> io::Result<Said> {
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || run_here(command, &input, bound)).await?
}

/// With files in place of pipes: nobody has to empty them meanwhile.
fn run_here(mut command: Command, input: &str, bound: Duration) -> io::Result<Said> {
    let mut stdin = tempfile::tempfile()?;
    stdin.write_all(input.as_bytes())?;
    stdin.rewind()?;
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::from(stdout.try_clone()?))
        .stderr(Stdio::from(stderr.try_clone()?))
        .spawn()?;
    let status = wait_for(bound, || child.try_wait().unwrap());
    let text = |mut file: fs::File| -> io::Result<String> {
        file.rewind()?;
        io::read_to_string(file)
    };
    let (stdout, stderr) = (text(stdout)?, text(stderr)?);
    let Some(status) = status else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::other(format!("{command:?} took over {bound:?}: {stdout}{stderr}")));
    };
    Ok(Said { success: status.success(), stdout, stderr })
}

/// Sends `signal` to the process `pid`; answers whether there was one. Signal `0` only asks.
pub fn kill(signal: &str, pid: u32) -> bool {
    Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" \"$2\" 2>/dev/null", "kill", signal, &pid.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}

/// Asks `question` again and again until it has an answer, but no longer than `bound`.
pub fn wait_for<T>(bound: Duration, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + bound;
    loop {
        let answer = question();
        if answer.is_some() || Instant::now() >= end {
            return answer;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port of 127.0.0.1 that was free a moment ago. Somebody else may be faster: whoever starts a server
/// on it tries again with another.
pub fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    fn sleep() -> Command {
        let mut command = Command::new("sleep");
        command.arg("300");
        command
    }

    fn gone(pid: u32) -> bool {
        wait_for(STOP, || (!kill("0", pid)).then_some(())).is_some()
    }

    #[test]
    fn a_dropped_child_is_stopped_and_its_directory_removed() {
        let child = Guarded::start(&sleep(), directory("sleep").unwrap()).unwrap();
        let (pid, place) = (child.pid(), child.directory().to_owned());
        assert!(kill("0", pid));
        drop(child);
        assert!(gone(pid));
        assert!(!place.exists());
    }

    #[test]
    fn a_child_that_does_not_hear_term_is_killed() {
        let mut deaf = Command::new("/bin/sh");
        deaf.args(["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]);
        let child = Guarded::start(&deaf, directory("deaf").unwrap()).unwrap();
        wait_for(START, || child.log().contains("ready").then_some(())).unwrap();
        let pid = child.pid();
        drop(child);
        assert!(gone(pid));
    }

    #[test]
    fn a_child_that_ends_by_itself_leaves_its_status_and_its_log() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo out; echo err >&2; exit 7"]);
        let mut child = Guarded::start(&command, directory("exit").unwrap()).unwrap();
        assert_eq!(child.wait(START).unwrap().code(), Some(7));
        assert_eq!(child.log(), "out\nerr\n");
    }

    #[test]
    fn our_own_program_runs_like_any_other() {
        let mut command = tidewaiter();
        command.arg("--version");
        let mut child = Guarded::start(&command, directory("version").unwrap()).unwrap();
        assert_eq!(child.wait(START).unwrap().code(), Some(0));
        assert!(child.log().starts_with("tidewaiter "), "{}", child.log());
    }

    #[test]
    fn a_signal_reaches_the_child_itself() {
        let mut child = Guarded::start(&sleep(), directory("signal").unwrap()).unwrap();
        child.signal("TERM");
        assert_eq!(child.wait(STOP).unwrap().code(), Some(128 + 15));
    }

    /// Starts this very program again, lets it hold a child, and kills it outright.
    #[test]
    fn a_child_dies_with_a_test_process_that_is_killed() {
        let mut holder = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "support::process::tests::holds_a_child"])
            .env("TIDEWAITER_HOLD_A_CHILD", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = io::BufReader::new(holder.stdout.take().unwrap()).lines();
        let held = lines.map_while(Result::ok).find_map(|line| {
            let (pid, place) = line.strip_prefix("holding ")?.split_once(' ')?;
            Some((pid.parse::<u32>().unwrap(), PathBuf::from(place)))
        });
        let Some((pid, place)) = held else { panic!("the other process held nothing") };
        assert!(kill("0", pid));

        holder.kill().unwrap();
        holder.wait().unwrap();

        assert!(gone(pid));
        assert!(wait_for(STOP, || (!place.exists()).then_some(())).is_some());
    }

    /// The other half of the test above; does nothing where that one has not asked.
    #[test]
    fn holds_a_child() {
        if env::var_os("TIDEWAITER_HOLD_A_CHILD").is_some() {
            let child = Guarded::start(&sleep(), directory("held").unwrap()).unwrap();
            println!("\nholding {} {}", child.pid(), child.directory().display());
            thread::sleep(Duration::from_secs(60));
        }
    }
}
