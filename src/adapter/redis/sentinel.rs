//! A Redis whose primary is whoever the sentinels say. They are asked again whenever it is lost or turns out to be a replica.

use redis::{ConnectionInfo, Pipeline, Value};

use super::address::Node;
use super::link::{Fault, Link, Rest, ask_once};
use super::nodes;
use super::reply;

/// The connection to the primary of one name.
pub struct Sentinel {
    /// Whoever answered last comes first.
    sentinels: Vec<ConnectionInfo>,
    name: String,
    /// Credentials and encryption of the primary; where it is, the sentinels say.
    primary: ConnectionInfo,
    link: Option<Link>,
    rest: Rest,
}

impl Sentinel {
    pub fn new(sentinels: Vec<ConnectionInfo>, name: String, primary: ConnectionInfo) -> Sentinel {
        Sentinel { sentinels, name, primary, link: None, rest: Rest::default() }
    }

    /// As [`Link::run`], on the primary.
    pub async fn run(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        let outcome = match self.link().await {
            Ok(link) => link.run(commands).await,
            Err(fault) => Err(fault),
        };
        self.note(outcome)
    }

    pub async fn replicated(&mut self, wanted: u16) -> Result<(), Fault> {
        let Some(link) = &mut self.link else {
            return Err(Fault::Lost("the connection to the primary broke before its replicas had acknowledged".into()));
        };
        let outcome = nodes::replicated(link, wanted).await;
        self.note(outcome)
    }

    /// Whoever is lost is not asked again before the sentinels have said that it is still the primary.
    fn note<T>(&mut self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        match &outcome {
            Ok(_) => self.rest.succeeded(),
            Err(Fault::Passing(_)) => {}
            Err(_) => {
                self.link = None;
                self.rest.failed();
            }
        }
        outcome
    }

    async fn link(&mut self) -> Result<&mut Link, Fault> {
        if self.link.is_none() {
            self.rest.over().await;
            let primary = self.find().await?.as_of(&self.primary);
            let link = Link::new(primary, false).map_err(|error| Fault::Refused(error.to_string()))?;
            self.link = Some(link);
        }
        self.link.as_mut().ok_or_else(|| Fault::Lost("the connection is gone".into()))
    }

    /// Asks one sentinel after the other where the primary is.
    async fn find(&mut self) -> Result<Node, Fault> {
        let (mut refusal, mut silent) = (None, None);
        for at in 0..self.sentinels.len() {
            let mut command = redis::cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
            match ask_once(&self.sentinels[at], command).await.map(node) {
                Ok(Some(node)) => {
                    self.sentinels.swap(0, at);
                    return Ok(node);
                }
                Ok(None) => {
                    let (address, name) = (self.sentinels[at].addr(), &self.name);
                    refusal = Some(format!(
                        "the sentinel at {address} knows no primary of the name `{name}`: end `state.url` with the name that stands in \
                         `sentinel monitor`"
                    ));
                }
                Err(Fault::Refused(why)) => {
                    refusal = Some(format!("{why} (a sentinel's own password is given as `?sentinel_password=` in `state.url`)"));
                }
                Err(fault) => silent = Some(fault),
            }
        }
        // Whoever is silent may know better.
        match (silent, refusal) {
            (Some(fault), _) => Err(fault),
            (None, refusal) => Err(Fault::Refused(refusal.unwrap_or_else(|| "`state.url` names no sentinel".into()))),
        }
    }
}

/// Host and port, or `None` where the sentinel knows no such primary.
fn node(answer: Value) -> Option<Node> {
    let [host, port] = reply::array(answer).ok()?;
    Some(Node { host: reply::text(host).ok()?, port: reply::number(port).ok()? })
}
