//! `campanile init`: makes the topics with the right settings and checks Kafka and Redis. `run` creates nothing.

use std::time::Duration;

use super::assemble::{admin_failure, kafka, open_redis};
use super::settings::{Loaded, load};
use super::{ConfigArgs, Failure, runtime};
use crate::adapter::kafka::{Admin, AdminError, Finding, State, retry_topics, topics};

/// Creates the topics with the right settings, checks Kafka and Redis, and says what is wrong
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: look without changing anything (exit code 1 when something is missing or wrong)

  campanile init --check --config campanile.yaml")]
pub struct InitArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only look: create nothing
    #[arg(long)]
    check: bool,
}

/// How long each question to a broker may take.
const WAIT: Duration = Duration::from_secs(10);

pub fn run(args: &InitArgs) -> Result<(), Failure> {
    let loaded = load(&args.config)?;
    let runtime = runtime();
    let kafka = runtime.block_on(kafka_topics(&loaded, args.check));
    // Both are looked at, whatever becomes of the first.
    let redis = runtime.block_on(state_store(&loaded));
    match (kafka, redis) {
        (Ok(()), redis) => redis,
        (Err(kafka), Ok(())) => Err(kafka),
        (Err(kafka), Err(redis)) => {
            eprintln!("campanile: {redis}");
            Err(kafka)
        }
    }
}

async fn kafka_topics(loaded: &Loaded, check_only: bool) -> Result<(), Failure> {
    let config = &loaded.config;
    let Some(settings) = kafka(config)? else {
        println!("kafka: embedded, nothing to do");
        return Ok(());
    };
    let needed = topics(&config.kafka.events, &config.kafka.prefix, config.delivery.expires);
    let admin = Admin::open(&settings, WAIT).map_err(admin_failure)?;
    let findings = if check_only { admin.check(&needed).await } else { admin.create(&needed).await };
    let findings = findings.map_err(admin_failure)?;
    findings.iter().for_each(|finding| println!("{}", show(finding)));
    let works = |finding: &Finding| matches!(finding.state, State::Fits | State::Created | State::Advice { .. });
    if findings.iter().all(works) { Ok(()) } else { Err(Failure::Told) }
}

fn show(finding: &Finding) -> String {
    let topic = &finding.topic;
    match &finding.state {
        State::Fits => format!("topic {topic}: fits"),
        State::Created => format!("topic {topic}: created"),
        State::Missing => format!("topic {topic}: missing; `campanile init` without --check creates it"),
        State::Setting { name, is, needed, why } => format!("topic {topic}: {name} is {is}, needed is {needed}: {why}"),
        State::Advice { name, is, better, why } => format!("topic {topic}: fits; {name} is {is}, {better} would be better: {why}"),
        State::Failed(why) => format!("topic {topic}: {why}"),
    }
}

/// Whether the retry topics keep what waits in them until it expires: else a worker would lose it in silence. A worker waits for a Kafka that
/// is away; then this is looked at with its next start.
pub async fn retries_are_kept(loaded: &Loaded) -> Result<(), Failure> {
    let config = &loaded.config;
    let Some(settings) = kafka(config)? else { return Ok(()) };
    let needed = retry_topics(&config.kafka.prefix, config.delivery.expires);
    let findings = match Admin::open(&settings, WAIT).map_err(admin_failure)?.check(&needed).await {
        Ok(findings) => findings,
        Err(error @ AdminError::Unreachable { .. }) => {
            tracing::warn!(%error, "how long the retry topics keep what waits in them is not checked");
            return Ok(());
        }
        Err(error) => return Err(admin_failure(error)),
    };
    for Finding { topic, state } in findings {
        match state {
            State::Setting { name: name @ "retention.ms", is, needed, .. } => {
                return Err(Failure::Refused(format!(
                    "topic {topic}: {name} is {is}, needed is {needed}: deliveries wait in it until `delivery.expires`; raise the one or lower the other"
                )));
            }
            State::Failed(why) => tracing::warn!(topic, why, "nobody says how long this topic keeps what waits in it"),
            State::Fits | State::Created | State::Missing | State::Setting { .. } | State::Advice { .. } => {}
        }
    }
    Ok(())
}

async fn state_store(loaded: &Loaded) -> Result<(), Failure> {
    if loaded.config.state.url.is_none() {
        println!("state: embedded, nothing to do");
        return Ok(());
    }
    open_redis(&loaded.config).await?;
    println!("state: redis answers and fits");
    Ok(())
}
