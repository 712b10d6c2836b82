//! A server process that cannot outlive the process that started it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to stop before it is killed.
const END_BOUND: Duration = Duration::from_secs(3);

/// How long a server may take until it is ready.
const READY_BOUND: Duration = Duration::from_secs(60);

/// The name of the log file in a server's private directory.
const LOG: &str = "server.log";

/// A file whose existence shows that the owner ended without stopping its server.
const OWNER_GONE: &str = "owner-gone";

/// A script that runs the server, and passes on the signals whose names it reads from its standard input, one a line.
///
/// The end of the input means that the owner has ended, also after a SIGKILL, since the kernel closes the pipe. Then
/// the script stops the server and deletes its private directory.
const WATCHER: &str = r#"
directory=$1 log=$2 last=$3 gone=$4
shift 4
exec 3<&0 </dev/null 2>>"$log"
"$@" 3<&- >>"$log" 2>&1 &
server=$!
echo "$server"
(
    while read -r order <&3; do kill -s "$order" "$server"; done
    : >"$directory/$gone"
    kill -s "$last" "$server"
    kill -s CONT "$server"
) >/dev/null 2>&1 &
reader=$!
wait "$server"
status=$?
kill "$reader" 2>/dev/null
wait "$reader" 2>/dev/null
[ -e "$directory/$gone" ] && rm -rf -- "$directory"
exit "$status"
"#;

/// A program to run as a server.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, besides `PATH` and `HOME`. It inherits no other variable of the test.
    pub environment: Vec<(String, String)>,
    /// Its private directory: working directory, home and place of the log. It is deleted if the owner is killed.
    pub directory: PathBuf,
    /// The user to run as; `None` for the test's own.
    pub user: Option<User>,
    /// The signal that stops it at once and leaves nothing behind.
    pub last: Signal,
}

/// A signal for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Signal {
    Terminate,
    Interrupt,
    Quit,
    Kill,
    Freeze,
    Thaw,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Freeze => "STOP",
            Self::Thaw => "CONT",
        }
    }
}

/// A user by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl User {
    /// The user for a server that refuses to run as root: `None` if the tests do not run as root; otherwise
    /// `postgres`, or `nobody` if there is no such user.
    #[must_use]
    pub fn unprivileged() -> Option<Self> {
        static USER: OnceLock<Option<User>> = OnceLock::new();
        *USER.get_or_init(|| {
            if id(&["-u"]).expect("`id -u` must print whether the tests run as root") != 0 {
                return None;
            }
            let user = Self::named("postgres").or_else(|| Self::named("nobody"));
            Some(user.expect(
                "PostgreSQL does not run as root: run the tests as another user, \
                 or add a user named postgres",
            ))
        })
    }

    /// The user of this name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (uid, gid) = (id(&["-u", name])?, id(&["-g", name])?);
        Some(Self { uid, gid })
    }
}

/// A running server. It is stopped when it is dropped, and also when the test process is killed or aborts.
#[derive(Debug)]
pub struct Process {
    watcher: Child,
    orders: ChildStdin,
    id: u32,
    program: PathBuf,
    log: PathBuf,
    log_start: usize,
    last: Signal,
}

impl Process {
    /// Starts `program`. When this returns, it runs, but it may not be ready yet.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start(program: &Program) -> Self {
        let log = program.directory.join(LOG);
        let log_start = fs::metadata(&log).map_or(0, |log| log.len() as usize);
        let mut watcher = watcher(program, &log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `sh` to run {:?}: {error}", program.path));
        let orders = watcher.stdin.take().expect("the watcher's input is piped");
        let output = watcher.stdout.take().expect("the watcher's output is piped");
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        let id = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("`sh` did not start {:?}: {read:?} {line:?}", program.path));
        Self {
            watcher,
            orders,
            id,
            program: program.path.clone(),
            log,
            log_start,
            last: program.last,
        }
    }

    /// The server's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Sends a signal, unless the server has ended already.
    pub fn signal(&mut self, signal: Signal) {
        let order = format!("{}\n", signal.name());
        let _gone_already = self.orders.write_all(order.as_bytes());
    }

    /// Freezes the server, and waits until it is frozen, since a signal takes a moment to arrive.
    pub fn freeze(&mut self) {
        self.signal(Signal::Freeze);
        let end = Instant::now() + END_BOUND;
        while !self.is_frozen() && self.is_running() && Instant::now() < end {
            sleep(Duration::from_millis(2));
        }
    }

    /// Whether the server runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.watcher.try_wait(), Ok(None))
    }

    /// Sends `signal`, waits for the end, and kills a server that has not ended after three seconds.
    pub fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        self.signal(Signal::Thaw);
        if self.ends_within(END_BOUND) {
            return;
        }
        self.signal(Signal::Kill);
        self.ends_within(END_BOUND);
    }

    /// The output of this process so far, without that of an earlier process in the same log.
    #[must_use]
    pub fn output(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    /// Waits until the output contains this text. The error contains the end of the output. A request to the port
    /// would not be enough: another server may have taken the port before, and answer it.
    pub(crate) async fn says(&mut self, text: &str) -> Result<(), String> {
        let end = Instant::now() + READY_BOUND;
        while !self.output().contains(text) {
            if !self.is_running() {
                return Err(self.log_tail());
            }
            if Instant::now() > end {
                return Err(format!("not within {READY_BOUND:?}; {}", self.log_tail()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The last lines of the output, for a panic's message.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        let tail = &lines[lines.len().saturating_sub(15)..];
        let (program, log) = (self.program.display(), self.log.display());
        format!("{program} wrote to {log}, at the end:\n{}", tail.join("\n"))
    }

    /// If the system has no such file, the process counts as frozen.
    fn is_frozen(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id));
        // The state follows the program's name, which is in parentheses.
        stat.map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
    }

    fn ends_within(&mut self, bound: Duration) -> bool {
        let end = Instant::now() + bound;
        while self.is_running() {
            if Instant::now() > end {
                return false;
            }
            sleep(Duration::from_millis(2));
        }
        true
    }
}

/// A temporary directory for a server.
pub(crate) fn temporary_directory(prefix: &str) -> TempDir {
    let directory = tempfile::Builder::new().prefix(prefix).tempdir();
    directory.expect("the temporary directory is writable")
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.stop(self.last);
        }
    }
}

fn watcher(program: &Program, log: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", WATCHER, "server-watcher"])
        .args([&program.directory, log])
        .args([program.last.name(), OWNER_GONE])
        .arg(&program.path)
        .args(&program.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &program.directory)
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&program.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A Ctrl-C in the terminal must not end the watcher: it has to stop the server after the test has ended.
        .process_group(0);
    if let Some(user) = program.user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
