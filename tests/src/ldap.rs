//! A private directory server: OpenLDAP's slapd.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::debian::Root;
use crate::process::{Process, Program, Signal, temporary_directory};
use crate::provision::blocking;
use crate::{Administrator, port};

const READY_BOUND: Duration = Duration::from_secs(30);
const SUFFIX: &str = "dc=example,dc=org";
const ADMINISTRATOR_PASSWORD: &str = "adminpw";

/// A running directory with some users. Dropping it stops the server and deletes its data.
#[derive(Debug)]
pub struct Ldap {
    // Declared before the directory that it uses, so that it is dropped first.
    _process: Process,
    port: u16,
    _directory: TempDir,
}

impl Ldap {
    /// Starts a directory with these users (name and password).
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start(users: &[(&str, &str)]) -> Self {
        let seed = seed(users);
        port::on_free_port("slapd", async |port| {
            let directory = temporary_directory("ldap-");
            let (path, seed) = (directory.path().to_owned(), seed.clone());
            let program = blocking(move || prepare(&path, &seed, port)).await;
            let mut process = Process::start(&program);
            listening(&mut process, port).await?;
            Ok(Self { _process: process, port, _directory: directory })
        })
        .await
    }

    /// Enables the method at its usual path, with this directory.
    pub async fn connect(&self, bao: &Administrator) {
        bao.enable_auth("ldap").await;
        bao.write("auth/ldap/config", self.config()).await;
    }

    /// The settings with which a server finds this directory and its users.
    fn config(&self) -> Value {
        json!({
            "url": format!("ldap://127.0.0.1:{}", self.port),
            "binddn": format!("cn=admin,{SUFFIX}"),
            "bindpass": ADMINISTRATOR_PASSWORD,
            "userdn": format!("ou=people,{SUFFIX}"),
            "userattr": "uid",
        })
    }

    /// Mounts the secrets engine at `ldap/` for this directory: with the dynamic role `app` with these lifetimes, and
    /// with a static role for each of these users, with the same name and this rotation period.
    pub async fn connect_secrets(
        &self,
        bao: &Administrator,
        (ttl, max_ttl): (&str, &str),
        (users, rotation_period): (&[&str], &str),
    ) {
        bao.mount("ldap", "ldap", json!({})).await;
        let mut config = self.config();
        config["schema"] = "openldap".into();
        bao.write("ldap/config", config).await;
        let person = format!("dn: uid={{{{.Username}}}},ou=people,{SUFFIX}\n");
        let role = json!({
            "creation_ldif": format!(
                "{person}objectClass: inetOrgPerson\nuid: {{{{.Username}}}}\ncn: app\nsn: app\n\
                 userPassword: {{{{.Password}}}}\n"
            ),
            "deletion_ldif": format!("{person}changetype: delete\n"),
            "default_ttl": ttl,
            "max_ttl": max_ttl,
        });
        bao.write("ldap/role/app", role).await;
        for user in users {
            let role = json!({
                "username": user,
                "dn": format!("uid={user},ou=people,{SUFFIX}"),
                "rotation_period": rotation_period,
            });
            bao.write(&format!("ldap/static-role/{user}"), role).await;
        }
    }

    /// Whether the directory accepts this password of the user.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn accepts(&self, user: &str, password: &str) -> bool {
        let name = format!("uid={user},ou=people,{SUFFIX}");
        let version = element(0x02, &[3]);
        let name = element(0x04, name.as_bytes());
        let password = element(0x80, password.as_bytes());
        let bind = element(0x60, &[version, name, password].concat());
        let message = element(0x30, &[element(0x02, &[1]), bind].concat());
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await;
        let mut stream = stream.expect("the directory takes connections");
        stream.write_all(&message).await.expect("the directory reads");
        // The answer to message 1 begins with the result code: zero is success.
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).await.expect("the directory answers");
        assert_eq!((answer[5], &answer[7..9]), (0x61, &[0x0a, 1][..]), "{answer:?}");
        answer[9] == 0
    }
}

/// An element in the basic encoding rules (BER) of ASN.1.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("names and passwords are short");
    let [high, low] = length.to_be_bytes();
    [&[tag, 0x82, high, low], content].concat()
}

fn seed(users: &[(&str, &str)]) -> String {
    let mut seed = format!(
        "dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
         dn: ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: people\n"
    );
    for (name, password) in users {
        seed += &format!(
            "\ndn: uid={name},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {name}\n\
             cn: {name}\nsn: {name}\nuserPassword: {password}\n"
        );
    }
    seed
}

/// Writes the configuration and the users, and returns the program to start.
fn prepare(directory: &std::path::Path, seed: &str, port: u16) -> Program {
    let root = Root::of("slapd", "usr/sbin/slapd", "SLAPD_ROOT");
    let schema = |name: &str| root.join(&format!("etc/ldap/schema/{name}.schema"));
    let (modules, data) = (root.join("usr/lib/ldap"), directory.join("data"));
    let config = format!(
        "include {}\ninclude {}\ninclude {}\nmodulepath {}\nmoduleload back_mdb\npidfile {}\n\
         database mdb\nsuffix \"{SUFFIX}\"\nrootdn \"cn=admin,{SUFFIX}\"\nrootpw {ADMINISTRATOR_PASSWORD}\n\
         directory {}\nmaxsize 10485760\n",
        schema("core").display(),
        schema("cosine").display(),
        schema("inetorgperson").display(),
        modules.display(),
        directory.join("pid").display(),
        data.display(),
    );
    fs::create_dir(&data).expect("the server's directory is ours");
    let [config_file, seed_file] = ["slapd.conf", "seed.ldif"].map(|name| directory.join(name));
    fs::write(&config_file, config).expect("the server's directory is ours");
    fs::write(&seed_file, seed).expect("the server's directory is ours");
    let config_file = config_file.display().to_string();
    let added = Command::new(root.join("usr/sbin/slapadd"))
        .args(["-f", &config_file, "-l"])
        .arg(&seed_file)
        .envs(root.environment())
        .output();
    let added = added.unwrap_or_else(|error| panic!("cannot run slapadd: {error}"));
    assert!(added.status.success(), "slapadd: {}", String::from_utf8_lossy(&added.stderr));
    let address = format!("ldap://127.0.0.1:{port}");
    Program {
        path: root.join("usr/sbin/slapd"),
        arguments: ["-f", &config_file, "-h", &address, "-d", "0"].map(str::to_owned).to_vec(),
        environment: root.environment(),
        directory: directory.to_owned(),
        user: None,
        last: Signal::Kill,
    }
}

/// Waits until the server listens: it prints no line when it is ready.
async fn listening(process: &mut Process, port: u16) -> Result<(), String> {
    let end = Instant::now() + READY_BOUND;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if !process.is_running() || Instant::now() > end {
            return Err(process.log_tail());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
