//! `campanile run`: the worker, with its API and its probes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::apply::apply_directory;
use super::assemble::{self, Parts, state_failure};
use super::init::retries_are_kept;
use super::serve::{self, serve};
use super::settings::{Loaded, init_log, load};
use super::{ConfigArgs, Failure, runtime};
use crate::adapter::webhook::{WebhookClient, WebhookSettings};
use crate::api::{self, Access, Api, CampaignState, Desk, Ingest, Trial};
use crate::engine::catalog::What;
use crate::engine::definition::Trigger;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::probes::{self, Health};
use crate::worker::definitions::Follower;
use crate::worker::ports::{Exchange, StateError};
use crate::worker::run::{Ended, Ports, Stop, run as run_worker};
use crate::worker::tail::Tail;

/// The worker: reads events, decides, sends. SIGTERM: stops reading, finishes what is started, commits, leaves
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example: one process without servers, its state in ./campanile.redb

  campanile run --apply config/campaigns

With Kafka and Redis, the topics made before by `campanile init`:

  campanile run --config /etc/campanile/campanile.yaml --apply /etc/campanile/definitions")]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Apply the definitions in this directory first, all or none; an invalid one stops the start
    #[arg(long, value_name = "DIR")]
    apply: Option<PathBuf>,
    /// Go on with a state store that was restored or emptied: what it does not remember may be sent again
    #[arg(long)]
    accept_state: bool,
}

pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let loaded = load(&args.config)?;
    init_log(&loaded.config)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), settings = %loaded.from, "campanile starts");
    let runtime = runtime();
    // First, so that one who stops it at once does not end it in the middle of something.
    let stop = Stop::default();
    let health = Health::new();
    stop_on_signals(&runtime, &stop, &health)?;
    let http = Http::bind(&runtime, &loaded)?;
    let parts = runtime.block_on(assemble::open(&loaded))?;
    runtime.block_on(retries_are_kept(&loaded))?;
    if let Some(path) = &args.apply {
        let changes = runtime.block_on(apply_directory(&*parts.store, path, loaded.config.delivery.allow_http, &loaded.named_secrets()))?;
        for change in changes {
            match change.what {
                What::Unchanged => tracing::info!("{change}"),
                _ => api::audit("run --apply", &change.to_string(), None),
            }
        }
    }
    let worker = Assembled::new(&runtime, &loaded, parts, health)?;
    http.serve(&runtime, &loaded, &worker)?;
    worker.run_until(&loaded, args.accept_state, &stop)
}

/// A worker that can be run, and run again.
pub struct Assembled {
    parts: Parts,
    pub follower: Arc<Follower>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub tail: Arc<Tail>,
    webhook: WebhookSettings,
}

impl Assembled {
    pub fn new(runtime: &Runtime, loaded: &Loaded, parts: Parts, health: Arc<Health>) -> Result<Assembled, Failure> {
        let identity = runtime.block_on(async { parts.store.session().await?.identity().await }).map_err(state_failure)?;
        let metrics = Metrics::new(loaded.campaign_label()).map_err(|error| Failure::Refused(error.to_string()))?;
        let webhook = loaded.webhook()?;
        // Made once here for its errors: a lane could only stop.
        let _context = runtime.enter();
        WebhookClient::new(&webhook).map_err(|error| Failure::Refused(error.to_string()))?;
        health.not_ready("worker", "it has not read the definitions yet");
        let tail = Arc::new(Tail::new(parts.tail(&loaded.worker(false).topics)));
        let follower = Arc::new(Follower::new(loaded.policy(&identity.id)));
        Ok(Assembled { follower, metrics: Arc::new(metrics), health, tail, webhook, parts })
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Runs the worker until it is told to stop; begins again when the store lost writes.
    pub fn run_until(&self, loaded: &Loaded, accept_state: bool, stop: &Stop) -> Result<(), Failure> {
        let settings = loaded.worker(accept_state);
        loop {
            let sources = self.parts.sources(&settings.topics)?;
            let ports = Ports {
                store: self.parts.store.clone(),
                append: self.parts.append.clone(),
                clock: self.parts.clock.clone(),
                exchange: self.make_exchange(),
                events: sources.events,
                retries: sources.retries,
                runs: sources.runs,
                outcomes: sources.outcomes,
                secrets: loaded.named_secrets(),
            };
            let ended = run_worker(ports, settings.clone(), self.follower.clone(), self.metrics.clone(), self.health.clone(), stop.clone());
            match ended {
                Ended::Drained => return Ok(()),
                Ended::BeginAgain(why) => {
                    tracing::warn!(%why, "the worker begins again from the committed offsets");
                    if stop.asked_from_outside() {
                        return Ok(());
                    }
                    self.same_store()?;
                    stop.reset();
                }
                Ended::Failed(why) => return Err(Failure::Refused(why)),
            }
        }
    }

    /// A store that lost some writes can be gone on with from the committed offsets; one that was emptied or replaced cannot, and would
    /// only be asked in vain again and again.
    fn same_store(&self) -> Result<(), Failure> {
        match runtime().block_on(async { self.parts.store.session().await.map(drop) }) {
            Err(StateError::RolledBack(why)) => Err(Failure::Refused(format!(
                "{why}: going on could send again what was sent; restore it, or go on with it as it is by `campanile run --accept-state`"
            ))),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn make_exchange(&self) -> Arc<dyn Fn() -> Box<dyn Exchange> + Send + Sync> {
        let settings = self.webhook.clone();
        Arc::new(move || {
            #[expect(clippy::expect_used, reason = "the same settings made a client before")]
            Box::new(WebhookClient::new(&settings).expect("a webhook client"))
        })
    }
}

/// The listeners of a worker: bound before anything else, so that a port in use is told at once.
pub(super) struct Http {
    api: TcpListener,
    probes: TcpListener,
}

impl Http {
    pub(super) fn bind(runtime: &Runtime, loaded: &Loaded) -> Result<Http, Failure> {
        let http = &loaded.config.http;
        let bind = |address: SocketAddr, setting: &str| {
            runtime.block_on(TcpListener::bind(address)).map_err(|error| {
                Failure::Refused(format!(
                    "cannot listen on {address}: {error}; is another worker running? `{setting}` sets another address"
                ))
            })
        };
        Ok(Http { api: bind(http.listen, "http.listen")?, probes: bind(http.probes, "http.probes")? })
    }

    /// Where the API listens: the port that was given for 0.
    pub(super) fn address(&self) -> Result<SocketAddr, Failure> {
        self.api.local_addr().map_err(|error| Failure::Refused(format!("the listener has no address: {error}")))
    }

    pub(super) fn serve(self, runtime: &Runtime, loaded: &Loaded, worker: &Assembled) -> Result<(), Failure> {
        let api = api::router(api_parts(loaded, worker)?);
        let probes = probes::router(worker.health.clone(), worker.metrics.registry.clone());
        tracing::info!(api = %loaded.config.http.listen, probes = %loaded.config.http.probes, "listening");
        runtime.spawn(serve(self.api, api, serve::OF_API));
        runtime.spawn(serve(self.probes, probes, serve::OF_PROBES));
        Ok(())
    }
}

fn api_parts(loaded: &Loaded, worker: &Assembled) -> Result<Api, Failure> {
    let access = Access::new(loaded.tokens(), loaded.config.http.listen).map_err(|error| Failure::Refused(error.to_string()))?;
    let desk = Desk::open(worker.parts.store.clone()).map_err(|error| Failure::Refused(format!("the system gives no thread: {error}")))?;
    let trial = Trial::new(worker.make_exchange(), loaded.named_secrets());
    let (archive, topics) = (worker.parts.archive(), loaded.worker(false).topics);
    let (ingest, follower, tail) = (ingest(loaded, worker), worker.follower.clone(), worker.tail.clone());
    Ok(Api { access, ingest, desk, follower, tail, trial, archive, topics })
}

fn ingest(loaded: &Loaded, worker: &Assembled) -> Ingest {
    let config = &loaded.config;
    let follower = worker.follower.clone();
    Ingest {
        append: worker.parts.append.clone(),
        events_topic: config.kafka.events[0].as_str().into(),
        campaigns: Arc::new(move |key| match follower.in_force().by_key(key).map(|campaign| &campaign.definition) {
            None => CampaignState::Unknown,
            Some(campaign) if campaign.trigger != Trigger::Api => CampaignState::NotApi,
            Some(campaign) => campaign.status.map_or(CampaignState::Unknown, CampaignState::Api),
        }),
        clock: worker.parts.clock.clone(),
        max_lateness: config.triggers.max_lateness,
        metrics: worker.metrics.ingest.clone(),
    }
}

pub(super) fn stop_on_signals(runtime: &Runtime, stop: &Stop, health: &Arc<Health>) -> Result<(), Failure> {
    let _context = runtime.enter();
    let listen = |kind: SignalKind| signal(kind).map_err(|error| Failure::Refused(format!("signals cannot be heard: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let (stop, health) = (stop.clone(), health.clone());
    runtime.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is started is finished first");
        health.not_ready("worker", "it is draining");
        stop.ask_from_outside();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Asked twice: whatever is unfinished is taken over by others, or by the next start.
        std::process::exit(1);
    });
    Ok(())
}
