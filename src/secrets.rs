//! Secrets by name: a file each in a directory (a mounted Kubernetes Secret), else `CAMPANILE_SECRET_<NAME>` of the environment.
//!
//! All that are in use are read together and again before they are a minute old, so that a rotation is picked up without a restart,
//! and what was rotated together is seen together. A file that was removed is gone with the next reading (the environment is asked, then
//! whoever needs it waits); one that cannot be read, with the directory or by itself, leaves the value that was known. Values are
//! handed out and never printed.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

pub use crate::engine::delivery::Secret;
use crate::engine::delivery::credentials::variable;

/// Values older than this are read again when one is next asked for.
const REREAD_AFTER: Duration = Duration::from_secs(30);
/// One that is missing is looked for again after this: somebody may just be mounting it.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// No secret is larger; a larger file is something else.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Kubernetes swaps all files of a mounted Secret at once, by pointing this link elsewhere.
const SWAPPED_LINK: &str = "..data";
/// How often a reading begins again because the files were swapped meanwhile.
const READINGS: usize = 3;

/// Where secrets come from. Shared by all threads; blocks on small files at most.
pub struct Secrets {
    dir: Option<PathBuf>,
    environment: Environment,
    known: Mutex<Known>,
}

/// The environment, as an argument.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

#[derive(Default)]
struct Known {
    read_at: Option<Instant>,
    /// When what nobody asked for was last forgotten.
    forgot_at: Option<Instant>,
    values: HashMap<Box<str>, Value>,
}

struct Value {
    secret: Option<Secret>,
    /// Since things were last forgotten.
    asked: bool,
}

impl Secrets {
    /// Reads from `dir`, where one is given, and from this process's environment.
    #[expect(clippy::disallowed_methods, reason = "the environment enters here")]
    pub fn new(dir: Option<PathBuf>) -> Secrets {
        Secrets::with_environment(dir, Box::new(|name| std::env::var(name).ok()))
    }

    fn with_environment(dir: Option<PathBuf>, environment: Environment) -> Secrets {
        Secrets { dir, environment, known: Mutex::default() }
    }

    /// The value of a secret; `None` when nobody has one of that name. One line break at its end does not count.
    pub fn get(&self, name: &str) -> Option<Secret> {
        self.get_at(name, Instant::now())
    }

    fn get_at(&self, name: &str, now: Instant) -> Option<Secret> {
        if !is_name(name) {
            return None;
        }
        let mut known = self.lock();
        let age = known.read_at.map_or(Duration::MAX, |read_at| now.saturating_duration_since(read_at));
        if let Some(value) = known.values.get_mut(name) {
            value.asked = true;
            if age < if value.secret.is_some() { REREAD_AFTER } else { LOOK_AGAIN_AFTER } {
                return value.secret.clone();
            }
        } else {
            known.values.insert(name.into(), Value { secret: None, asked: true });
        }
        known.forget(now);
        self.read(&mut known);
        known.read_at = Some(now);
        known.values.get(name)?.secret.clone()
    }

    /// Reads all that is in use: all of one swap.
    fn read(&self, known: &mut Known) {
        for _ in 0..READINGS {
            let swap = self.swap();
            let names: Vec<Box<str>> = known.values.keys().cloned().collect();
            for name in names {
                let former = known.values.get_mut(&name);
                if let Some(value) = former {
                    let secret = self.read_one(&name, value.secret.as_ref());
                    // An unchanged secret stays the same text in memory: a client knows its authorities by it.
                    if secret != value.secret {
                        value.secret = secret;
                    }
                }
            }
            if self.swap() == swap {
                return;
            }
        }
    }

    fn read_one(&self, name: &str, former: Option<&Secret>) -> Option<Secret> {
        let from_environment = || (self.environment)(&variable(name)).map(|text| Secret::new(without_line_break(&text)));
        match self.dir.as_deref().map(|dir| read_file(dir, name)) {
            Some(Ok(Some(secret))) => Some(secret),
            Some(Err(error)) => {
                tracing::warn!(secret = name, %error, "cannot read a secret; the former value stays, if there is one");
                former.cloned().or_else(from_environment)
            }
            Some(Ok(None)) | None => from_environment(),
        }
    }

    /// Which swap the directory shows; `None` where files are put by hand.
    fn swap(&self) -> Option<PathBuf> {
        std::fs::read_link(self.dir.as_deref()?.join(SWAPPED_LINK)).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Forgets what nobody has asked for since the last time, once for each reading of all.
    fn forget(&mut self, now: Instant) {
        if self.forgot_at.is_none_or(|forgot_at| now.saturating_duration_since(forgot_at) >= REREAD_AFTER) {
            self.forgot_at = Some(now);
            self.values.retain(|_, value| std::mem::take(&mut value.asked));
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A key of a Kubernetes Secret: letters, digits, `-`, `_` and `.`, and nothing that leads out of the directory.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

/// `None` when there is no such file in a directory that is there. Reads no more than a secret may have, however the file grows.
#[expect(clippy::disallowed_types, reason = "mounted secrets enter here")]
fn read_file(dir: &Path, name: &str) -> io::Result<Option<Secret>> {
    let file = match std::fs::File::open(dir.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_dir() => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(io::Error::other(format!("larger than {MAX_SECRET_BYTES} bytes")));
    }
    Ok(Some(Secret::new(without_line_break(&text))))
}

fn without_line_break(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(dir: &Path) -> Secrets {
        let environment = |name: &str| (name == "CAMPANILE_SECRET_SMS_TOKEN").then(|| "from the environment".to_owned());
        Secrets::with_environment(Some(dir.to_owned()), Box::new(environment))
    }

    fn check(files: &[(&str, &str)], name: &str, expect: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let found = secrets(dir.path()).get(name);
        assert_eq!(found.as_ref().map(Secret::expose), expect, "{name} in {files:?}");
    }

    #[test]
    fn files_then_the_environment() {
        check(&[("sms-token", "t")], "sms-token", Some("t"));
        check(&[("sms-token", "t\n")], "sms-token", Some("t"));
        check(&[("sms-token", "t\r\n")], "sms-token", Some("t"));
        check(&[("sms-token", " t\n\n")], "sms-token", Some(" t\n"));
        check(&[("sms-token", "")], "sms-token", Some(""));
        check(&[("other", "t")], "sms-token", Some("from the environment"));
        check(&[], "sms_token", Some("from the environment"));
        check(&[], "unknown", None);
        check(&[("a", "t")], "../a", None);
        check(&[("a", "t")], "", None);
        check(&[], ".", None);
        check(&[("large", &"x".repeat(65_537))], "large", None);
    }

    #[test]
    fn a_rotated_secret_is_read_within_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let secrets = secrets(dir.path());
        let begun = Instant::now();
        let at = |seconds| secrets.get_at("token", begun + Duration::from_secs(seconds)).map(|secret| secret.expose().to_owned());
        assert_eq!(at(0), None);
        std::fs::write(&path, "one").unwrap();
        assert_eq!((at(4), at(5)), (None, Some("one".into())));
        std::fs::write(&path, "two").unwrap();
        assert_eq!((at(34), at(35)), (Some("one".into()), Some("two".into())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(at(151), None);
    }

    #[test]
    fn what_cannot_be_read_leaves_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        let (home, away) = (dir.path().join("secrets"), dir.path().join("away"));
        std::fs::create_dir(&home).unwrap();
        let secrets = secrets(&home);
        let begun = Instant::now();
        let at = |minutes: u64| secrets.get_at("token", begun + Duration::from_secs(60 * minutes)).map(|secret| secret.expose().to_owned());
        std::fs::write(home.join("token"), "one").unwrap();
        assert_eq!(at(0).as_deref(), Some("one"));
        std::fs::write(home.join("token"), b"\xff").unwrap();
        assert_eq!(at(1).as_deref(), Some("one"));
        std::fs::write(home.join("token"), "x".repeat(65_537)).unwrap();
        assert_eq!(at(2).as_deref(), Some("one"));
        std::fs::rename(&home, &away).unwrap();
        assert_eq!(at(3).as_deref(), Some("one"));
        std::fs::rename(&away, &home).unwrap();
        std::fs::remove_file(home.join("token")).unwrap();
        assert_eq!(at(4), None);
    }

    /// As Kubernetes does it: `token -> ..data/token`, `..data -> ..1`, and the link `..data` replaced by renaming.
    #[cfg(unix)]
    #[test]
    fn a_mounted_secret_is_swapped_as_a_whole() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |version: &str| {
            std::fs::create_dir(path(version)).unwrap();
            for name in ["user", "password"] {
                std::fs::write(path(version).join(name), format!("{name} {version}\n")).unwrap();
            }
        };
        write("..1");
        symlink("..1", path("..data")).unwrap();
        for name in ["user", "password"] {
            symlink(format!("..data/{name}"), path(name)).unwrap();
        }
        let secrets = secrets(dir.path());
        let begun = Instant::now();
        let at = |seconds| ["user", "password"].map(|name| secrets.get_at(name, begun + Duration::from_secs(seconds)).unwrap());
        let first = at(0);
        assert_eq!(first.each_ref().map(Secret::expose), ["user ..1", "password ..1"]);
        write("..2");
        symlink("..2", path("..data_tmp")).unwrap();
        std::fs::rename(path("..data_tmp"), path("..data")).unwrap();
        std::fs::remove_dir_all(path("..1")).unwrap();
        assert_eq!(at(29).each_ref().map(Secret::expose), ["user ..1", "password ..1"]);
        assert_eq!(at(31).each_ref().map(Secret::expose), ["user ..2", "password ..2"]);
        let [user, _] = at(62);
        assert!(std::sync::Arc::ptr_eq(&user.share(), &at(93)[0].share()), "an unchanged secret is the same text in memory");
        // A name that comes later is read with all others, so that they are of one swap.
        write("..3");
        symlink("..3", path("..data_tmp")).unwrap();
        std::fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert!(secrets.get_at("later", begun + Duration::from_secs(94)).is_none());
        assert_eq!(at(94).each_ref().map(Secret::expose), ["user ..3", "password ..3"]);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = secrets(dir.path());
        let begun = Instant::now();
        let ask = |name: &str, seconds| drop(secrets.get_at(name, begun + Duration::from_secs(seconds)));
        (0..100).for_each(|number| ask(&format!("secret-{number}"), 0));
        for seconds in [40, 80, 120] {
            ask("token", seconds);
        }
        assert_eq!(secrets.lock().values.len(), 1);
    }

    #[test]
    fn values_do_not_print() {
        let printed = format!("{:?} {:?}", Secret::new("hunter2"), secrets(Path::new("/nowhere")));
        assert!(!printed.contains("hunter2") && printed.contains("***"), "{printed}");
    }
}
