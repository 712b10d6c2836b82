//! Reads whole files, up to a size limit and within a bounded time.
//!
//! A pipe is a file too: a shell's `<(..)`, or the answer of a password manager. To open it like a regular file would
//! block until there is a writer, possibly for ever. It is opened in non-blocking mode instead, on a thread of its own.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

#[cfg(unix)]
use crate::time::NetworkClock;
use secrecy::zeroize::Zeroizing;

/// The size limit of a `.env` file, and of a file with a token, an id, a JWT, a password or a key.
pub(crate) const MOST_OF_TEXT: u64 = 1024 * 1024;
/// The size limit of a PEM file, which may hold all authorities of a company.
pub(crate) const MOST_OF_PEM: u64 = 16 * 1024 * 1024;

/// How long a pipe may take until it is written to its end.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where the calling thread is blocked: it may be a thread of a runtime.
const PATIENCE_OF_A_THREAD: Duration = Duration::from_secs(1);

/// Why a file is not read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Io(io::Error),
    /// It is of this kind, which cannot be read as a file.
    NoFile(&'static str),
    TooLarge(u64),
    /// A pipe that was not written to its end within this time.
    Silent(Duration),
}

impl Unreadable {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NoFile(kind) => write!(f, "it is {kind}: only regular files and pipes are read"),
            Self::TooLarge(most) => {
                write!(f, "it is larger than {} MiB, the most that is read", most / 1024 / 1024)
            }
            Self::Silent(patience) => {
                write!(f, "it is a pipe, and its writer did not finish within {patience:?}")
            }
        }
    }
}

pub(crate) type Bytes = Zeroizing<Vec<u8>>;

/// Reads a file of at most `most` bytes.
pub(crate) async fn read(path: &Path, most: u64) -> Result<Bytes, Unreadable> {
    match kind_of(path)? {
        Kind::Regular(metadata) => read_regular(path, &metadata, most),
        Kind::Pipe => {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            read_pipe(path, most, PATIENCE, move |read| drop(sender.send(read)))?;
            receiver.await.unwrap_or_else(|_| Err(ended()))
        }
    }
}

/// The same for callers that cannot await. A pipe blocks the thread, but not for long.
pub(crate) fn read_now(path: &Path, most: u64) -> Result<Bytes, Unreadable> {
    match kind_of(path)? {
        Kind::Regular(metadata) => read_regular(path, &metadata, most),
        Kind::Pipe => {
            let (sender, receiver) = std::sync::mpsc::channel();
            read_pipe(path, most, PATIENCE_OF_A_THREAD, move |read| drop(sender.send(read)))?;
            receiver.recv().unwrap_or_else(|_| Err(ended()))
        }
    }
}

/// Whether it is a pipe, which can be read only once.
pub(crate) fn is_pipe(path: &Path) -> bool {
    matches!(kind_of(path), Ok(Kind::Pipe))
}

fn ended() -> Unreadable {
    Unreadable::Io(io::Error::other("the thread that reads it ended"))
}

enum Kind {
    Regular(Metadata),
    Pipe,
}

fn kind_of(path: &Path) -> Result<Kind, Unreadable> {
    let metadata = fs::metadata(path)?;
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(Kind::Regular(metadata));
    }
    if kind.is_dir() {
        return Err(Unreadable::NoFile("a directory"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;

        if kind.is_fifo() {
            return Ok(Kind::Pipe);
        }
        if kind.is_socket() {
            return Err(Unreadable::NoFile("a socket"));
        }
    }
    Err(Unreadable::NoFile("a device"))
}

fn read_regular(path: &Path, metadata: &Metadata, most: u64) -> Result<Bytes, Unreadable> {
    if metadata.len() > most {
        return Err(Unreadable::TooLarge(most));
    }
    // Files in /proc have the size 0, and other files may grow meanwhile.
    let mut bytes = room(if metadata.len() == 0 { most } else { metadata.len() });
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    checked(bytes, most)
}

/// A buffer of the full size: a buffer that grows leaves copies behind that are not wiped.
fn room(bytes: u64) -> Bytes {
    Zeroizing::new(Vec::with_capacity(usize::try_from(bytes + 1).unwrap_or_default()))
}

fn checked(bytes: Bytes, most: u64) -> Result<Bytes, Unreadable> {
    match u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        true => Ok(bytes),
        false => Err(Unreadable::TooLarge(most)),
    }
}

/// Reads on a thread with its own runtime: the caller may have none, or one without I/O. The thread ends within
/// `patience`.
#[cfg(unix)]
fn read_pipe(
    path: &Path,
    most: u64,
    patience: Duration,
    done: impl FnOnce(Result<Bytes, Unreadable>) + Send + 'static,
) -> io::Result<()> {
    let path = path.to_owned();
    let run = move || -> Result<Bytes, Unreadable> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let read = NetworkClock::default().within(patience, drain(&path, most)).await;
            read.unwrap_or(Err(Unreadable::Silent(patience)))
        })
    };
    std::thread::Builder::new().name("vault-config-pipe".to_owned()).spawn(move || done(run()))?;
    Ok(())
}

#[cfg(unix)]
async fn drain(path: &Path, most: u64) -> Result<Bytes, Unreadable> {
    let pipe = tokio::net::unix::pipe::OpenOptions::new().open_receiver(path)?;
    const CHUNK: usize = 4096;
    let mut bytes = room(most + CHUNK as u64);
    let mut chunk = Zeroizing::new([0; CHUNK]);
    loop {
        pipe.readable().await?;
        let count = match pipe.try_read(&mut *chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
        bytes = checked(bytes, most)?;
    }
}

#[cfg(not(unix))]
fn read_pipe(
    _: &Path,
    _: u64,
    _: Duration,
    _: impl FnOnce(Result<Bytes, Unreadable>) + Send + 'static,
) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
