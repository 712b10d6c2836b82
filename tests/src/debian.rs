//! Servers from Debian packages: installed ones, or packages that are downloaded and unpacked without an installation,
//! which needs no root.

use std::collections::{HashSet, VecDeque};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::provision;

/// Where a package's files are: `/`, or a directory with the same layout.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
    /// Folders with libraries that the machine does not have.
    libraries: Vec<PathBuf>,
}

impl Root {
    /// The package's root: the directory in the variable `override_by`; `/` if the package is installed; or else a new
    /// directory with the package and the missing libraries.
    ///
    /// # Panics
    ///
    /// If the package can be neither found nor downloaded.
    #[must_use]
    pub fn of(package: &str, program: &str, override_by: &str) -> Self {
        Self::with_parts(package, &[], program, override_by)
    }

    /// As [`of`](Self::of), for a server in several packages: a dependency whose name begins with one of `parts` is
    /// downloaded too, even if it is installed.
    ///
    /// # Panics
    ///
    /// If the package can be neither found nor downloaded.
    #[must_use]
    pub fn with_parts(package: &str, parts: &[&str], program: &str, override_by: &str) -> Self {
        if let Some(named) = env::var_os(override_by).map(PathBuf::from) {
            assert!(
                named.join(program).is_file(),
                "{override_by}={named:?} has no {program}: correct or unset it"
            );
            return Self::at(&named);
        }
        if Path::new("/").join(program).is_file() {
            return Self { path: "/".into(), libraries: Vec::new() };
        }
        let installed = provision::directory().join(format!("debian-{package}"));
        let own = [parts, &[package]].concat();
        provision::install(&installed, |staging| fetch(package, &own, override_by, staging));
        Self::at(&installed)
    }

    /// A file of the package, such as `usr/sbin/slapd`.
    #[must_use]
    pub fn join(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// The environment with which its programs find their libraries.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let libraries = env::join_paths(&self.libraries).expect("no library is below a colon");
        vec![("LD_LIBRARY_PATH".to_owned(), libraries.to_string_lossy().into_owned())]
    }

    /// Copies the libraries that the machine does not have into a new directory.
    pub(crate) fn copy_libraries(&self, to: &Path) {
        fs::create_dir(to).unwrap_or_else(|error| panic!("cannot make {to:?}: {error}"));
        let entries = self.libraries.iter().filter_map(|directory| fs::read_dir(directory).ok());
        for file in
            entries.flatten().flatten().map(|entry| entry.path()).filter(|path| is_library(path))
        {
            let name = file.file_name().expect("a library has a name");
            fs::copy(&file, to.join(name)).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        }
    }

    fn at(path: &Path) -> Self {
        let mut libraries = Vec::new();
        find_libraries(path, &mut libraries);
        Self { path: path.to_owned(), libraries }
    }
}

/// Downloads the package and its missing dependencies, and unpacks all of them into one directory.
fn fetch(package: &str, own: &[&str], override_by: &str, staging: &Path) -> PathBuf {
    let root = staging.join("root");
    let mut queue = VecDeque::from([package.to_owned()]);
    let mut seen = HashSet::new();
    while let Some(name) = queue.pop_front() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let download = staging.join(&name);
        fs::create_dir(&download).expect("target is writable");
        let here = Some(download.as_path());
        run("apt-get", &["-q", "-o", "APT::Sandbox::User=root", "download", &name], here)
            .unwrap_or_else(|why| {
                panic!(
                    "cannot download Debian's {name}: install {package}, or name a directory that it is \
                     unpacked in with {override_by}; on Debian try `apt-get update`. It said:\n{why}"
                )
            });
        let mut files = fs::read_dir(&download).expect("the download is there").flatten();
        let file = files.next().expect("apt-get downloads a file").path().display().to_string();
        let unpack = ["-x", &file, &root.display().to_string()];
        run("dpkg-deb", &unpack, None).unwrap_or_else(|why| panic!("cannot unpack {file}: {why}"));
        let depends = run("dpkg-deb", &["-f", &file, "Depends"], None).unwrap_or_default();
        queue.extend(missing(&depends, own));
    }
    root
}

/// The dependencies to download: parts of the package itself, and libraries that are not installed.
fn missing(depends: &str, own: &[&str]) -> Vec<String> {
    let names = depends.split(',').filter_map(|one| one.split_whitespace().next());
    let names = names.map(|name| name.split(':').next().unwrap_or(name));
    let wanted = names.filter(|name| {
        let is_own = own.iter().any(|part| name.starts_with(part));
        is_own || name.starts_with("lib") && !is_installed(name)
    });
    wanted.map(str::to_owned).collect()
}

fn is_installed(package: &str) -> bool {
    let status = run("dpkg-query", &["-W", "-f", "${Status}", package], None);
    status.is_ok_and(|status| status.contains("install ok installed"))
}

fn is_library(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so"))
}

fn find_libraries(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries: Vec<_> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    if entries.iter().any(|path| is_library(path)) {
        found.push(directory.to_owned());
    }
    for path in entries.iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        find_libraries(path, found);
    }
}

fn run(program: &str, arguments: &[&str], directory: Option<&Path>) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory.unwrap_or(Path::new("/")));
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
