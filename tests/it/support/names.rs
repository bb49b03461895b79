//! A name server in this process: answers what it is told, over UDP, and counts the questions.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const HEADER_BYTES: usize = 12;
/// A response, recursion available.
const FLAGS: u16 = 0x8180;
const NO_SUCH_NAME: u16 = 3;
const MAX_QUESTION_BYTES: usize = 512;

/// Answers until it is dropped.
pub struct Names {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    answering: JoinHandle<()>,
}

#[derive(Default)]
struct Zone {
    /// By name in lower case, without the last dot; no addresses: no answer at all.
    names: HashMap<String, (u32, Vec<IpAddr>)>,
    questions: usize,
}

impl Names {
    pub async fn start() -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound address");
        let zone = Arc::new(Mutex::new(Zone::default()));
        let answering = tokio::spawn(answer(socket, zone.clone()));
        Names { address, zone, answering }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this name has these addresses, for so many seconds.
    pub fn set(&self, name: &str, ttl_s: u32, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.zone.lock().expect("no panic while held").names.insert(name.to_owned(), (ttl_s, addresses));
    }

    /// How often it was asked, for whatever.
    pub fn questions(&self) -> usize {
        self.zone.lock().expect("no panic while held").questions
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

async fn answer(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut question = [0; MAX_QUESTION_BYTES];
    while let Ok((bytes, asker)) = socket.recv_from(&mut question).await {
        let response = respond(&question[..bytes], &zone);
        if let Some(response) = response {
            // An asker that went away needs none.
            let _ = socket.send_to(&response, asker).await;
        }
    }
}

/// The response to a question of one name (RFC 1035, section 4.1); `None` where it is to be ignored.
fn respond(question: &[u8], zone: &Mutex<Zone>) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (HEADER_BYTES, Vec::new());
    while *question.get(at)? != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8_lossy(question.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes(question.get(at + 1..at + 3)?.try_into().ok()?);
    let mut zone = zone.lock().expect("no panic while held");
    zone.questions += 1;
    let found = zone.names.get(&labels.join("."));
    let (ttl_s, addresses) = found.cloned().unwrap_or((0, Vec::new()));
    if found.is_some() && addresses.is_empty() {
        return None;
    }
    let answers: Vec<Vec<u8>> = addresses.iter().filter_map(|address| data(*address, kind)).collect();
    let flags = FLAGS | if found.is_none() { NO_SUCH_NAME } else { 0 };
    let mut response = question[..2].to_vec();
    for field in [flags, 1, answers.len() as u16, 0, 0] {
        response.extend(field.to_be_bytes());
    }
    response.extend(&question[HEADER_BYTES..at + 5]);
    for data in answers {
        // The name, by reference to the question; type, class, life.
        response.extend([0xc0, HEADER_BYTES as u8]);
        response.extend(kind.to_be_bytes());
        response.extend(1u16.to_be_bytes());
        response.extend(ttl_s.to_be_bytes());
        response.extend((data.len() as u16).to_be_bytes());
        response.extend(data);
    }
    Some(response)
}

/// An address as the data of a record of this type.
fn data(address: IpAddr, kind: u16) -> Option<Vec<u8>> {
    match (address, kind) {
        (IpAddr::V4(address), TYPE_A) => Some(address.octets().into()),
        (IpAddr::V6(address), TYPE_AAAA) => Some(address.octets().into()),
        _ => None,
    }
}
