//! What a commit and a load cost in Redis, and what a client waits for them, in batches as lanes make them.
//!
//!     scripts/redis.sh /tmp/bench-redis 6390
//!     cargo bench --bench redis -- redis://127.0.0.1:6390
//!
//! Writes under the prefix `bench` and leaves its users there. Redis CPU is that of the whole server process, from `INFO`: with
//! nobody else on it, that is user and system time of the commands, the network and the append-only file.

use std::process::ExitCode;
use std::time::Duration;

use campanile::adapter::redis::{RedisSettings, open};
use campanile::engine::id::UserId;
use campanile::engine::time::Timestamp;
use campanile::worker::ports::{Change, ProfileChange, State, StateError, Token};

const BATCH: usize = 50;
const BATCHES: usize = 1_000;
const RECORD_BYTES: usize = 400;
const PROFILE_BYTES: usize = 200;

fn main() -> ExitCode {
    // `cargo bench` adds a flag of its own.
    let Some(url) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        println!("skipped: say which Redis, as in `cargo bench --bench redis -- redis://127.0.0.1:6390`");
        return ExitCode::SUCCESS;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(run(&url)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str) -> Result<(), StateError> {
    let store = open(RedisSettings { url: url.to_owned(), prefix: "bench".into(), groups: 1, replicas: 0 }).await?;
    let mut session = campanile::worker::ports::Store::session(&store).await?;
    let session = &mut *session;
    let users: Vec<UserId> = (0..BATCH * BATCHES).map(|number| UserId::from(format!("user-{number:08}"))).collect();
    let mut tokens: Vec<Option<Token>> = Vec::with_capacity(users.len());
    for batch in users.chunks(BATCH) {
        tokens.extend(session.load(batch).await?.users.into_iter().map(|stored| stored.map(|stored| stored.token)));
    }
    println!("{BATCHES} batches of {BATCH} users, records of {RECORD_BYTES} bytes, us per user");
    println!("{:<34} {:>10} {:>10}", "", "redis CPU", "client");
    let wake = || Some(Timestamp(1_800_000_000_000));
    let profile = || ProfileChange::Set(vec![b'p'; PROFILE_BYTES]);
    commits(url, session, "commit, with profile and wake", &users, &mut tokens, wake(), profile()).await?;
    commits(url, session, "commit, wake as stored", &users, &mut tokens, None, ProfileChange::Keep).await?;
    let later = Some(Timestamp(1_800_000_100_000));
    commits(url, session, "commit, new wake", &users, &mut tokens, later, ProfileChange::Keep).await?;

    let meter = Meter::start(url)?;
    for batch in users.chunks(BATCH) {
        session.load(batch).await?;
    }
    meter.print("load")?;
    let meter = Meter::start(url)?;
    for _ in 0..BATCHES {
        session.take_due(Timestamp(1_800_000_100_000), BATCH, Duration::from_millis(1)).await?;
    }
    meter.print("take due")
}

/// Writes all users once, batch by batch.
async fn commits(
    url: &str,
    session: &mut dyn State,
    name: &str,
    users: &[UserId],
    tokens: &mut [Option<Token>],
    wake: Option<Timestamp>,
    profile: ProfileChange,
) -> Result<(), StateError> {
    let meter = Meter::start(url)?;
    for (batch, tokens) in users.chunks(BATCH).zip(tokens.chunks_mut(BATCH)) {
        let changes: Vec<Change> = batch
            .iter()
            .zip(tokens.iter())
            .map(|(user, &expected)| Change {
                user: user.clone(),
                expected,
                record: Some(vec![b'r'; RECORD_BYTES]),
                profile: profile.clone(),
                wake,
            })
            .collect();
        let done = session.commit(&changes).await?;
        assert_eq!(done.conflicts, [], "somebody else writes to this store");
        tokens.fill(Some(done.token));
    }
    meter.print(name)
}

struct Meter {
    client: redis::Client,
    start: tokio::time::Instant,
    cpu_s: f64,
}

impl Meter {
    fn start(url: &str) -> Result<Meter, StateError> {
        let client = redis::Client::open(url).map_err(failed)?;
        let cpu_s = cpu_s(&client)?;
        Ok(Meter { client, start: tokio::time::Instant::now(), cpu_s })
    }

    fn print(self, name: &str) -> Result<(), StateError> {
        let waited_s = self.start.elapsed().as_secs_f64();
        let cpu_s = cpu_s(&self.client)? - self.cpu_s;
        let per_user = 1e6 / (BATCH * BATCHES) as f64;
        println!("{name:<34} {:>10.2} {:>10.2}", cpu_s * per_user, waited_s * per_user);
        Ok(())
    }
}

/// CPU seconds that the server has used.
fn cpu_s(client: &redis::Client) -> Result<f64, StateError> {
    let mut connection = client.get_connection().map_err(failed)?;
    let info: String = redis::cmd("INFO").arg("cpu").query(&mut connection).map_err(failed)?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or(f64::NAN);
    Ok(field("used_cpu_sys:") + field("used_cpu_user:"))
}

fn failed(error: redis::RedisError) -> StateError {
    StateError::Unavailable(error.to_string())
}
