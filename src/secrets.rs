//! Secrets by name: a file each in a directory (a mounted Kubernetes Secret), else `CAMPANILE_SECRET_<NAME>` of the
//! environment. Read when needed and again before they are a minute old, so that a rotated one is picked up without a restart. Values
//! are handed out and never printed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

/// A value older than this is read again when it is next asked for.
const REREAD_AFTER: Duration = Duration::from_secs(30);
/// No secret is larger; a larger file is something else.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
const ENVIRONMENT_PREFIX: &str = "CAMPANILE_SECRET_";

/// Where secrets come from. Shared by all threads; blocks on a small file at most.
pub struct Secrets {
    dir: Option<PathBuf>,
    environment: Environment,
    known: Mutex<HashMap<Box<str>, Known>>,
}

/// The environment, as an argument.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A value that does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

struct Known {
    read_at: Instant,
    value: Option<Secret>,
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

    /// The value of a secret; `None` when nobody has one of that name. One line break at a file's end does not count. A file that
    /// cannot be read for another reason than its absence leaves the value that was known.
    pub fn get(&self, name: &str) -> Option<Secret> {
        self.get_at(name, Instant::now())
    }

    fn get_at(&self, name: &str, now: Instant) -> Option<Secret> {
        if !is_name(name) {
            return None;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let former = match known.get(name) {
            Some(known) if now.saturating_duration_since(known.read_at) < REREAD_AFTER => return known.value.clone(),
            former => former.and_then(|known| known.value.clone()),
        };
        let value = match self.dir.as_deref().map(|dir| read_file(dir, name)) {
            Some(Ok(Some(text))) => Some(Secret(text.into())),
            Some(Err(error)) => {
                tracing::warn!(secret = name, %error, "cannot read a secret; the former value stays");
                former
            }
            Some(Ok(None)) | None => (self.environment)(&variable(name)).map(|text| Secret(text.into())),
        };
        known.insert(name.into(), Known { read_at: now, value: value.clone() });
        value
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Secret {
    pub fn new(value: impl Into<Arc<str>>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, for the wire and for comparing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key of a Kubernetes Secret: letters, digits, `-`, `_` and `.`, and nothing that leads out of the directory.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

/// `kakao-token` -> `CAMPANILE_SECRET_KAKAO_TOKEN`
fn variable(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    ENVIRONMENT_PREFIX.chars().chain(plain).collect()
}

#[expect(clippy::disallowed_methods, reason = "mounted secrets enter here")]
fn read_file(dir: &Path, name: &str) -> std::io::Result<Option<String>> {
    let path = dir.join(name);
    let read = std::fs::metadata(&path).and_then(|metadata| {
        if metadata.len() > MAX_SECRET_BYTES {
            return Err(std::io::Error::other(format!("larger than {MAX_SECRET_BYTES} bytes")));
        }
        std::fs::read_to_string(&path)
    });
    match read {
        Ok(text) => Ok(Some(text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text).to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
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
        assert_eq!((at(1), at(31)), (None, Some("one".into())));
        std::fs::write(&path, "two").unwrap();
        assert_eq!((at(32), at(91)), (Some("one".into()), Some("two".into())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(at(151), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_leaves_what_was_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let secrets = secrets(dir.path());
        let begun = Instant::now();
        std::fs::write(&path, "one").unwrap();
        assert!(secrets.get_at("token", begun).is_some());
        std::fs::write(&path, b"\xff").unwrap();
        let later = secrets.get_at("token", begun + Duration::from_secs(60));
        assert_eq!(later.as_ref().map(Secret::expose), Some("one"));
    }

    #[test]
    fn values_do_not_print() {
        let printed = format!("{:?} {:?}", Secret::new("hunter2"), secrets(Path::new("/nowhere")));
        assert!(!printed.contains("hunter2") && printed.contains("***"), "{printed}");
    }
}
