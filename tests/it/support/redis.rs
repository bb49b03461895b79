//! A redis-server of a test's own: on a free port of the loopback, in a temporary directory, gone when dropped.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Tries to find a port: another process may take it between finding and using it.
const PORT_TRIES: u32 = 5;

/// What redis-server says when it can be used, as a Redis and as a sentinel.
const READY: [&str; 2] = ["Ready to accept connections", "Sentinel ID is"];

pub struct Redis {
    directory: TempDir,
    /// What it was made with first; a sentinel writes into it.
    file: Option<PathBuf>,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Starts one without persistence.
    pub fn start() -> Redis {
        Redis::with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts one with these options of redis-server; `{port}` in them is its port.
    pub fn with(options: &[&str]) -> Redis {
        Redis::launch(None, options)
    }

    /// Starts a sentinel with these lines of its configuration.
    pub fn sentinel(lines: &str) -> Redis {
        Redis::launch(Some(lines), &["--sentinel"])
    }

    fn launch(lines: Option<&str>, options: &[&str]) -> Redis {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let file = lines.map(|lines| {
            let path = directory.path().join("redis.conf");
            std::fs::write(&path, lines).expect("a directory of our own");
            path
        });
        let mut redis = Redis { directory, file, port: 0, options, child: None };
        for _ in 0..PORT_TRIES {
            redis.port = free_port();
            if redis.try_start() {
                return redis;
            }
        }
        panic!("redis-server does not start with {:?}: run it by hand in {:?} to see why", redis.options, redis.directory.path());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("redis-server is ours to kill");
            child.wait().expect("redis-server ends");
        }
    }

    /// Starts it again, on the same port and directory.
    pub fn start_again(&mut self) {
        self.kill();
        assert!(self.try_start(), "redis-server does not start again on port {}", self.port);
    }

    /// Runs one command on a connection of its own, for what is not the store's business.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(self.option("--requirepass"), words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same with this password, where it may be refused.
    pub fn try_command<T: redis::FromRedisValue>(&self, password: Option<&str>, words: &[&str]) -> redis::RedisResult<T> {
        let credentials = password.map(|password| format!(":{password}@")).unwrap_or_default();
        let client = redis::Client::open(self.url().replace("://", &format!("://{credentials}"))).expect("an address");
        let mut connection = client.get_connection().expect("redis-server answers");
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        command.query(&mut connection)
    }

    /// Whether the process is there.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    fn option(&self, name: &str) -> Option<&str> {
        let at = self.options.iter().position(|option| option == name)?;
        self.options.get(at + 1).map(String::as_str)
    }

    fn try_start(&mut self) -> bool {
        let mut child = Command::new("redis-server")
            .args(&self.file)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--logfile", "", "--dir"])
            .arg(self.directory.path())
            .args(self.options.iter().map(|option| option.replace("{port}", &self.port.to_string())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is needed for this test: apt-get install redis-server");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| READY.iter().any(|ready| line.contains(ready)));
        // A full pipe would stop it. The thread ends with the process.
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
        if !ready {
            self.kill();
        }
        ready
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").port()
}
