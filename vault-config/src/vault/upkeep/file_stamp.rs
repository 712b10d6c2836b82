use std::fs;
use std::time::SystemTime;

use crate::auth::AuthMethod;

/// Identifies the content of the file that the login reads, without reading it. The inode distinguishes two
/// files of the same size and time, as when a symbolic link is changed to another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStamp {
    modified: SystemTime,
    inode: u64,
    len: u64,
}

impl FileStamp {
    /// `None` if the login reads no file, or the file is not there.
    pub(super) fn of_login(auth: &dyn AuthMethod) -> Option<Self> {
        let metadata = fs::metadata(auth.watched_file()?).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Self { modified: metadata.modified().ok()?, inode, len: metadata.len() })
    }
}
