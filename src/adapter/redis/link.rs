//! One connection to one Redis, made again when it broke, and the scripts on it. Every new connection first learns whether this
//! Redis can be trusted with the state. It judges errors (was it done, may it be asked again?) but never repeats anything that
//! may have been done: that is its caller's decision.

use std::error::Error;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion, RedisError, ServerErrorKind, Value};
use tokio::time::Instant;

use crate::worker::ports::StateError;

use super::check::{self, Unfit};
use super::reply;

/// For name resolution, TCP, TLS and the hello together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a reply may take. Long on purpose: running out of it does not undo the command, so an impatient client turns a
/// slow Redis (a fork, a slow disk under AOF) into repeated work. The client library's default of 500 ms does.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that vanished without a word is noticed by keepalive probes while idle, by unacknowledged bytes while busy.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

/// The pause before the next try after a failure doubles from the first to the second.
const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Scripts live in Redis under their digest, until it restarts or is told to forget them.
pub struct Script {
    code: &'static str,
    script: LazyLock<redis::Script>,
}

impl Script {
    /// A call of it: the keys that it touches, then `EVALSHA`'s other arguments are for the caller to add.
    pub fn call<K: AsRef<[u8]>>(&self, keys: &[K]) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(keys.len());
        for key in keys {
            call.arg(key.as_ref());
        }
        call
    }
}

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub static $name: Script = Script { code: include_str!($file), script: LazyLock::new(|| redis::Script::new(include_str!($file))) };
    };
}
script!(OPEN, "open.lua");
script!(JOIN, "join.lua");
script!(COMMIT, "commit.lua");
script!(TAKE_DUE, "take_due.lua");
script!(PUT_DOCUMENTS, "put_documents.lua");
script!(ADMIT, "admit.lua");
script!(SPEND, "spend.lua");

static SCRIPTS: [&Script; 7] = [&OPEN, &JOIN, &COMMIT, &TAKE_DUE, &PUT_DOCUMENTS, &ADMIT, &SPEND];

/// Why a command has no answer.
#[derive(Debug)]
pub enum Fault {
    /// The connection broke or the reply took too long: it may have been done, may yet be, or never.
    Lost(String),
    /// Redis says no for now: nothing was done.
    Passing(String),
    /// It is no primary any more, or not yet: nothing was done, and another is to be looked for.
    Demoted(String),
    /// Asking again would not help.
    Refused(String),
}

impl Fault {
    pub fn at(self, address: &str) -> Fault {
        let (make, why): (fn(String) -> Fault, String) = match self {
            Fault::Lost(why) => (Fault::Lost, why),
            Fault::Passing(why) => (Fault::Passing, why),
            Fault::Demoted(why) => (Fault::Demoted, why),
            Fault::Refused(why) => (Fault::Refused, why),
        };
        make(format!("{address}: {why}"))
    }
}

impl From<Fault> for StateError {
    fn from(fault: Fault) -> StateError {
        match fault {
            Fault::Lost(why) | Fault::Passing(why) | Fault::Demoted(why) => StateError::Unavailable(why),
            Fault::Refused(why) => StateError::Refused(why),
        }
    }
}

/// The pauses between one failure and the next try.
#[derive(Default)]
pub struct Rest {
    pub failures: u32,
    /// Not before this is the next try made.
    until: Option<Instant>,
}

impl Rest {
    pub async fn over(&self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
        }
    }

    pub fn succeeded(&mut self) {
        *self = Rest::default();
    }

    pub fn failed(&mut self) {
        let pause = BACKOFF_BASE.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(Instant::now() + pause);
    }
}

pub struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    of_cluster: bool,
    connection: Option<MultiplexedConnection>,
    pub rest: Rest,
}

impl Link {
    /// Connects on first use, to a node of a Cluster or to a Redis alone. Errors: the address makes no sense to the client library.
    pub fn new(info: ConnectionInfo, of_cluster: bool) -> Result<Link, StateError> {
        let (client, config) = dial(info).map_err(|error| StateError::Refused(format!("`state.url` cannot be used: {error}")))?;
        Ok(Link { client, config, of_cluster, connection: None, rest: Rest::default() })
    }

    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Sends the commands in one go and gives their replies in order; an error of any is the error of all, whatever became of
    /// the others. A script that Redis has forgotten is given to it again.
    pub async fn run(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        let replies = self.replies(commands).await?;
        let done = replies.into_iter().map(|reply| self.done(reply)).collect::<Result<_, _>>()?;
        self.rest.succeeded();
        Ok(done)
    }

    /// As [`run`](Link::run), for one command.
    pub async fn run_one(&mut self, command: Cmd) -> Result<Value, Fault> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        Ok(self.run(&commands).await?.pop().unwrap_or(Value::Nil))
    }

    /// The replies as they came, errors of single commands among them, for [`done`](Link::done) to judge.
    pub async fn replies(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        self.attempt(commands).await.map_err(|fault| self.failed(fault))
    }

    /// What a reply says, or why it says nothing.
    pub fn done(&mut self, reply: Value) -> Result<Value, Fault> {
        reply.extract_error().map_err(|error| self.failed(fault(error)))
    }

    /// After a failure: a broken connection is not used again, and the next try waits a little.
    pub fn failed(&mut self, fault: Fault) -> Fault {
        if matches!(fault, Fault::Lost(_) | Fault::Demoted(_)) {
            self.connection = None;
        }
        self.rest.failed();
        fault.at(&self.address())
    }

    async fn attempt(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        let mut replies = self.send(commands).await?;
        let forgotten: Vec<usize> = (0..replies.len()).filter(|&at| is_forgotten(&replies[at])).collect();
        if !forgotten.is_empty() {
            self.send(&load_scripts()).await?;
            let mut again = Pipeline::with_capacity(forgotten.len());
            commands.cmd_iter().enumerate().filter(|(at, _)| forgotten.contains(at)).for_each(|(_, command)| {
                again.add_command(command.clone());
            });
            for (at, reply) in forgotten.into_iter().zip(self.send(&again).await?) {
                replies[at] = reply;
            }
        }
        Ok(replies)
    }

    async fn send(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        self.rest.over().await;
        let connection = self.connected().await?;
        exchange(connection, commands).await
    }

    async fn connected(&mut self) -> Result<&mut MultiplexedConnection, Fault> {
        if self.connection.is_none() {
            let mut connection = connect(&self.client, &self.config).await?;
            let mut commands = load_scripts();
            commands.cmd("INFO");
            let mut about = Value::Nil;
            for reply in exchange(&mut connection, &commands).await? {
                about = reply.extract_error().map_err(fault)?;
            }
            let about = reply::text(about).map_err(|error| Fault::Refused(error.to_string()))?;
            check::server(&about, self.of_cluster).map_err(|unfit| match unfit {
                Unfit::Replica(why) => Fault::Demoted(why),
                Unfit::Lasting(why) => Fault::Refused(why),
            })?;
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or_else(|| Fault::Lost("the connection is gone".into()))
    }
}

/// One command on a connection of its own to a server that keeps no state: a sentinel.
pub async fn ask_once(info: &ConnectionInfo, command: Cmd) -> Result<Value, Fault> {
    let ask = async {
        let (client, config) = dial(info.clone()).map_err(fault)?;
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        let reply = exchange(&mut connect(&client, &config).await?, &commands).await?.pop();
        reply.unwrap_or(Value::Nil).extract_error().map_err(fault)
    };
    ask.await.map_err(|fault| fault.at(&info.addr().to_string()))
}

fn dial(info: ConnectionInfo) -> Result<(Client, AsyncConnectionConfig), RedisError> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(UNACKNOWLEDGED);
    let hello = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_lib_name("campanile", env!("CARGO_PKG_VERSION"));
    let client = Client::open(info.set_tcp_settings(tcp).set_redis_settings(hello))?;
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(Some(RESPONSE_TIMEOUT));
    Ok((client, config))
}

async fn connect(client: &Client, config: &AsyncConnectionConfig) -> Result<MultiplexedConnection, Fault> {
    client.get_multiplexed_async_connection_with_config(config).await.map_err(|error| match untrusted(&error) {
        Some(why) => Fault::Refused(why),
        None => fault(error),
    })
}

async fn exchange(connection: &mut MultiplexedConnection, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
    let count = commands.len();
    let replies = connection.req_packed_commands(commands, 0, count).await.map_err(fault)?;
    if replies.len() != count {
        return Err(Fault::Lost(format!("{} replies to {count} commands", replies.len())));
    }
    Ok(replies)
}

fn load_scripts() -> Pipeline {
    let mut commands = Pipeline::with_capacity(SCRIPTS.len());
    for script in SCRIPTS {
        commands.cmd("SCRIPT").arg("LOAD").arg(script.code);
    }
    commands
}

fn is_forgotten(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// What an error means. No message here contains a password: the library's errors speak of the answer, never of the request.
fn fault(error: RedisError) -> Fault {
    let why = error.to_string();
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => Fault::Refused(format!(
            "redis does not allow this user what is needed: {why}; give it all keys under `state.prefix`, EVALSHA, SCRIPT and INFO"
        )),
        ErrorKind::AuthenticationFailed => {
            Fault::Refused(format!("redis does not accept the user name and password of `state.url`: {why}"))
        }
        ErrorKind::RESP3NotSupported => Fault::Refused(format!("redis is too old: {why}; use version {} or later", super::check::OLDEST)),
        ErrorKind::InvalidClientConfig => Fault::Refused(format!("`state.url` cannot be used: {why}")),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Fault::Demoted(why),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::NoScript,
        ) => Fault::Passing(why),
        ErrorKind::Io | ErrorKind::Parse => Fault::Lost(why),
        _ => match error.code() {
            Some("OOM") => Fault::Passing(format!("redis has reached its `maxmemory`: {why}; raise it")),
            Some("MISCONF" | "NOREPLICAS" | "BUSY") => Fault::Passing(why),
            // It was waited for replicas when the primary was demoted: what was written before may be lost with it.
            Some("UNBLOCKED") => Fault::Lost(why),
            Some("NOAUTH" | "WRONGPASS") => Fault::Refused(format!("redis wants a valid user name and password in `state.url`: {why}")),
            _ => Fault::Refused(format!("redis answers with an error that is not expected: {why}")),
        },
    }
}

/// Why TLS could not be agreed on, where only the operator can change that.
fn untrusted(error: &RedisError) -> Option<String> {
    // The library keeps the cause behind an `Arc`.
    let cause = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    match cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(why) => Some(format!(
            "the certificate of redis is not accepted: {why}; let it be for the host that `state.url` names, and name the file of its \
             authority in the variable SSL_CERT_FILE if that is not one of the machine's"
        )),
        rustls::Error::InvalidMessage(why) => {
            Some(format!("redis does not speak TLS here ({why:?}): write its TLS port in `state.url`, or redis instead of rediss"))
        }
        _ => None,
    }
}
