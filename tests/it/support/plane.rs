//! The API in this process, over an embedded store and log in memory: what a control plane does without a worker that turns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use campanile::adapter::clock::SystemClock;
use campanile::adapter::embedded::{Embedded, EmbeddedSettings};
use campanile::adapter::webhook::{WebhookClient, WebhookSettings};
use campanile::api::{self, Access, Api, CampaignState, Desk, Ingest, Tokens, Trial};
use campanile::simulator::worker::policy;
use campanile::telemetry::metrics::{CampaignLabel, Metrics};
use campanile::worker::definitions::Follower;
use campanile::worker::live::{Live, Tail};
use campanile::worker::ports::{Archive, Exchange, SourceError, Store};
use campanile::worker::settings::Topics;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The API on a free port.
pub struct Plane {
    address: SocketAddr,
    pub store: Arc<dyn Store>,
    client: Client,
    serving: JoinHandle<()>,
}

/// An answer, its body read as JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Plane {
    /// Without tokens: whoever is on this machine may do everything.
    pub async fn start() -> Plane {
        Plane::with(Tokens::default()).await
    }

    pub async fn with(tokens: Tokens) -> Plane {
        Plane::over(tokens, embedded().store()).await
    }

    /// With this store.
    pub async fn over(tokens: Tokens, store: Arc<dyn Store>) -> Plane {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let follower = Arc::new(Follower::new(policy()));
        let ingest = Ingest {
            append: embedded().append(),
            events_topic: "events".into(),
            campaigns: Arc::new(|_| CampaignState::Unknown),
            clock: Arc::new(SystemClock::new()),
            max_lateness: Duration::from_secs(72 * 3600),
            metrics: Metrics::new(CampaignLabel::Auto).expect("metrics").ingest.clone(),
        };
        let access = Access::new(tokens, address).expect("loopback");
        let desk = Desk::open(store.clone()).expect("a thread");
        let router = api::router(Api {
            access,
            ingest,
            desk,
            follower,
            live: unseen(),
            trial: trial(),
            archive: embedded().archive(),
            topics: Topics::new(&["events".into()], "campanile"),
        });
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().expect("a client");
        Plane { address, store, client, serving }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        answer(self.request(Method::POST, path)).await
    }

    /// Applies definitions; `query` such as `?cycle=true`.
    pub async fn apply(&self, query: &str, yaml: &str) -> Answer {
        let path = format!("/v1/definitions{query}");
        answer(self.request(Method::PUT, &path).header(CONTENT_TYPE, "application/yaml").body(yaml.to_owned())).await
    }
}

/// Sends it; an answer that is no success must be a problem.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_else(|_| panic!("JSON: {text}")) };
    if status >= 300 {
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{text}");
        assert_eq!(body["status"], status, "{text}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{text}");
    }
    Answer { status, headers, body }
}

/// Test requests that reach nobody: no port is allowed and no secret is known.
pub fn trial() -> Trial {
    let exchange = || -> Box<dyn Exchange> { Box::new(WebhookClient::new(&WebhookSettings::default()).expect("a client")) };
    Trial::new(Arc::new(exchange), Arc::new(|_| None))
}

/// A desk and a follower of a store that has nothing, and what its log keeps: nothing.
pub fn idle() -> (Desk, Arc<Follower>, Arc<dyn Archive>) {
    let embedded = embedded();
    (Desk::open(embedded.store()).expect("a thread"), Arc::new(Follower::new(policy())), embedded.archive())
}

/// Nothing is seen of a worker that does not run.
pub fn unseen() -> Arc<Live> {
    Arc::new(Live::new(Tail::new(Arc::new(|| Err(SourceError::Fatal("there is no log".into()))))))
}

fn embedded() -> Embedded {
    Embedded::open(&EmbeddedSettings::default(), Arc::new(SystemClock::new())).expect("memory")
}
