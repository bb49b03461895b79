//! What must not be called is not called, however it is written and whatever a name server says: nothing here may reach the canary,
//! which listens on every address of this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use campanile::adapter::webhook::{WebhookClient, WebhookSettings};
use campanile::engine::definition::Method;
use campanile::engine::delivery::{Answer, Failure};
use campanile::worker::ports::{EXCERPT_BYTES, Exchange, HttpRequest};
use tokio::net::{TcpListener, TcpStream};

use crate::support::endpoint::Endpoint;
use crate::support::names::Names;

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(500);
/// The fewest spellings that have to be tried.
const SPELLINGS: usize = 120;

/// Listens on all addresses of both families.
struct Canary {
    listener: TcpListener,
    port: u16,
}

impl Canary {
    async fn start() -> Canary {
        let listener = TcpListener::bind("[::]:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        Canary { listener, port }
    }

    /// The first connection that it ever got is the one that is made here.
    async fn was_never_reached(self) {
        for address in ["127.0.0.1", "::1"] {
            let own = TcpStream::connect((address, self.port)).await.expect("it listens there");
            let (_, first) = self.listener.accept().await.expect("a connection");
            let first = SocketAddr::new(first.ip().to_canonical(), first.port());
            assert_eq!(first, own.local_addr().expect("an address"), "somebody was here before");
        }
    }
}

/// Nothing is exempt but plain text.
fn strict() -> WebhookSettings {
    WebhookSettings { allow_http: true, ..WebhookSettings::default() }
}

fn exempt(networks: &[&str]) -> WebhookSettings {
    WebhookSettings { allow_networks: networks.iter().map(|network| network.parse().expect("a network")).collect(), ..strict() }
}

fn client(settings: &WebhookSettings, names: &Names) -> WebhookClient {
    WebhookClient::with_name_servers(settings, &[names.address()]).expect("a client")
}

async fn get(client: &WebhookClient, url: &str) -> Answer {
    get_within(client, url, PATIENCE).await
}

async fn get_within(client: &WebhookClient, url: &str, timeout: Duration) -> Answer {
    let request = HttpRequest {
        method: Method::Get,
        url: url.to_owned(),
        headers: Vec::new(),
        body: None,
        ca: None,
        timeout,
        keep_bytes: EXCERPT_BYTES,
    };
    client.exchange(request).await
}

/// An IPv4 address in the notations that some parser or other takes for it.
fn spellings(address: &str) -> Vec<String> {
    let v4: Ipv4Addr = address.parse().expect("an address");
    let ([a, b, c, d], bits) = (v4.octets(), v4.to_bits());
    let (high, low) = (bits >> 16, bits & 0xffff);
    let replaced = |digits: [char; 10], dot: &str| -> String {
        address.chars().map(|c| c.to_digit(10).map_or_else(|| dot.to_owned(), |digit| digits[digit as usize].to_string())).collect()
    };
    let from = |first: char| std::array::from_fn(|digit| char::from_u32(first as u32 + digit as u32).expect("a digit"));
    let circled = ['⓪', '①', '②', '③', '④', '⑤', '⑥', '⑦', '⑧', '⑨'];
    let percent: String = address.bytes().map(|byte| format!("%{byte:02x}")).collect();
    vec![
        address.to_owned(),
        format!("{address}."),
        bits.to_string(),
        format!("{bits}."),
        format!("0{bits:o}"),
        format!("000000{bits:o}"),
        format!("0x{bits:x}"),
        format!("0X{bits:X}"),
        format!("0x00000000{bits:x}"),
        format!("{a}.{}", bits & 0xff_ffff),
        format!("{a}.{b}.{low}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0{a:o}.0x{b:x}.{low}"),
        format!("0x{a:x}.{b}.0{c:o}.{d}"),
        format!("00{a:o}.000{b:o}.{c}.{d}."),
        percent,
        address.replace('.', "%2e"),
        address.replace('.', "%E3%80%82"),
        replaced(from('0'), "。"),
        replaced(from('０'), "．"),
        replaced(from('𝟎'), "｡"),
        replaced(from('𝟶'), "."),
        replaced(circled, "."),
        format!("{a}\t.{b}.{c}\n.{d}"),
        format!("{a}.{b}.\u{ad}{c}.{d}"),
        format!("[::ffff:{address}]"),
        format!("[::ffff:{high:x}:{low:x}]"),
        format!("[0:0:0:0:0:FFFF:{high:04X}:{low:04X}]"),
        format!("[::{address}]"),
        format!("[::{high:x}:{low:x}]"),
        format!("[::ffff:0:{address}]"),
        format!("[64:ff9b::{address}]"),
        format!("[64:ff9b::{high:x}:{low:x}]"),
        format!("[64:ff9b:1::{address}]"),
        format!("[2002:{high:x}:{low:x}::1]"),
        format!("[2001::{:x}:{:x}]", high ^ 0xffff, low ^ 0xffff),
        format!("[2001:0:{high:x}:{low:x}::]"),
    ]
}

#[tokio::test]
async fn no_spelling_of_an_address_gets_through() {
    let (names, canary) = (Names::start().await, Canary::start().await);
    let client = client(&strict(), &names);
    let mut hosts: Vec<String> =
        ["127.0.0.1", "0.0.0.0", "127.255.255.254", "10.0.0.1", "169.254.169.254", "192.168.1.1"].into_iter().flat_map(spellings).collect();
    hosts.extend(
        [
            "127.1",
            "0",
            "0x0",
            "00",
            "0.",
            "0x7f.1",
            "0177.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "ｌｏｃａｌｈｏｓｔ",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[0000:0000:0000:0000:0000:0000:0000:0001]",
            "[::0001]",
            "[::1%25lo]",
            "[::1%lo]",
            "[fe80::1%25eth0]",
            "[%3a%3a1]",
            "%5b::1%5d",
            "::1",
            "[::1",
            "[[::1]]",
            "[::1].",
            "[fd00:ec2::254]",
            "[fe80::a9fe:a9fe]",
            "[fc00::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[100::1]",
            "[5f00::1]",
            "[3fff::1]",
            "[2001:db8::1]",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "172.16.0.1",
            "2886729729",
            "0xa9fea9fe",
            "127.0.0.1%00.example.com",
            "127.0.0.1 .example.com",
            "256.256.256.256",
            "0x100000000",
            "1.2.3.4.5",
            "127.0.0.0x",
            "user@127.0.0.1",
            "user:password@api.example",
            "api.example@127.0.0.1",
        ]
        .map(str::to_owned),
    );
    assert!(hosts.len() >= SPELLINGS, "{}", hosts.len());
    for host in hosts {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{}/latest/meta-data/", canary.port);
            assert_eq!(get(&client, &url).await.status, Err(Failure::AddressRefused), "{url:?}");
        }
    }
    assert_eq!(names.questions(), 0, "an address is nothing to ask a name server for");
    canary.was_never_reached().await;
}

#[tokio::test]
async fn no_spelling_of_a_url_gets_through() {
    let (names, canary) = (Names::start().await, Canary::start().await);
    let client = client(&strict(), &names);
    let port = canary.port;
    for url in [
        format!("http:127.0.0.1:{port}/"),
        format!("http:/127.0.0.1:{port}/"),
        format!("http:///127.0.0.1:{port}/"),
        format!("http:\\\\127.0.0.1:{port}/"),
        format!("http:/\\127.0.0.1:{port}\\"),
        format!("\u{1} http://127.0.0.1:{port}/ "),
        format!("ht\ntp://127.0.0.1:{port}/"),
        format!("HTTP://127.0.0.1:{port}#@api.example/"),
        format!("http://127.0.0.1:{port}?@api.example/"),
        format!("http://@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:0{port}/"),
        format!("//127.0.0.1:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        format!("ws://127.0.0.1:{port}/"),
        format!("file://127.0.0.1:{port}/"),
        format!("gopher://127.0.0.1:{port}/"),
        "file:///etc/passwd".to_owned(),
        "data:text/plain,x".to_owned(),
        "http://".to_owned(),
        "http://:80/".to_owned(),
        "http://api.example:99999/".to_owned(),
        String::new(),
    ] {
        assert_eq!(get(&client, &url).await.status, Err(Failure::AddressRefused), "{url:?}");
    }
    // Whoever reads it the other way sees a user name before the address.
    assert_eq!(get(&client, &format!("http://api.example\\@127.0.0.1:{port}/")).await.status, Err(Failure::Dns));
    canary.was_never_reached().await;
}

#[tokio::test]
async fn one_bad_address_refuses_the_whole_answer() {
    let (names, canary) = (Names::start().await, Canary::start().await);
    let client = client(&strict(), &names);
    for addresses in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["0.0.0.0"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["127.0.0.1", "8.8.8.8"],
        &["8.8.8.8", "127.0.0.1"],
        &["8.8.8.8", "::1"],
        &["2606:4700::1111", "10.0.0.1"],
    ] {
        let name = format!("{}.example", addresses.join("-").replace([':', '.'], "x"));
        names.set(&name, 60, addresses);
        for host in [name.clone(), format!("{name}."), name.to_ascii_uppercase()] {
            let answer = get(&client, &format!("http://{host}:{}/", canary.port)).await;
            assert_eq!(answer.status, Err(Failure::AddressRefused), "{host} is {addresses:?}");
        }
    }
    canary.was_never_reached().await;
}

#[tokio::test]
async fn a_name_that_changes_leads_to_nothing_that_was_not_judged() {
    let (names, endpoint) = (Names::start().await, Endpoint::plain().await);
    let canary = TcpListener::bind("127.0.0.2:0").await.expect("the rest of the loopback network");
    let client = client(&exempt(&["127.0.0.1"]), &names);
    let url = |path: &str| format!("http://moves.example:{}{path}", endpoint.address().port());
    names.set("moves.example", 0, &["127.0.0.1"]);
    assert_eq!(get(&client, &url("/")).await.status, Ok(200));
    // What is open was judged when it was opened, and stays what it is.
    names.set("moves.example", 0, &["127.0.0.2"]);
    assert_eq!(get(&client, &url("/status/201")).await.status, Ok(201));
    assert_eq!(endpoint.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 0]);
    // A new connection asks again.
    assert_eq!(get(&client, &url("/huge")).await.status, Ok(200));
    let canary_url = format!("http://moves.example:{}/", canary.local_addr().expect("an address").port());
    for url in [url("/"), canary_url] {
        assert_eq!(get(&client, &url).await.status, Err(Failure::AddressRefused), "{url}");
    }
    assert_eq!(endpoint.count(), 3);
    let own = TcpStream::connect(canary.local_addr().expect("an address")).await.expect("it listens");
    assert_eq!(canary.accept().await.expect("a connection").1, own.local_addr().expect("an address"));
}

#[tokio::test]
async fn a_name_that_moves_is_followed_by_new_connections() {
    let names = Names::start().await;
    let old = TcpListener::bind("127.0.0.2:0").await.expect("the rest of the loopback network");
    let port = old.local_addr().expect("an address").port();
    drop(old);
    let client = client(&exempt(&["127.0.0.0/8"]), &names);
    names.set("moves.example", 0, &["127.0.0.2"]);
    assert_eq!(get(&client, &format!("http://moves.example:{port}/")).await.status, Err(Failure::Connect));
    let endpoint = Endpoint::plain().await;
    names.set("moves.example", 0, &["127.0.0.1"]);
    assert_eq!(get(&client, &format!("http://moves.example:{}/", endpoint.address().port())).await.status, Ok(200));
}

#[tokio::test]
async fn an_answer_is_kept_for_as_long_as_it_lives() {
    let (names, endpoint) = (Names::start().await, Endpoint::plain().await);
    let client = client(&exempt(&["127.0.0.1", "::1"]), &names);
    // `/huge` costs the connection, so that each exchange resolves.
    for (name, ttl_s, asks_again) in [("stays.example", 300, false), ("changes.example", 0, true)] {
        names.set(name, ttl_s, &["127.0.0.1", "::1"]);
        let url = format!("http://{name}:{}/huge", endpoint.address().port());
        assert_eq!(get(&client, &url).await.status, Ok(200));
        let before = names.questions();
        assert_eq!(get(&client, &url).await.status, Ok(200));
        assert_eq!(names.questions() > before, asks_again, "{name}");
    }
}

#[tokio::test]
async fn a_look_up_ends_with_its_exchange() {
    let names = Names::start().await;
    names.set("silent.example", 60, &[]);
    let client = client(&strict(), &names);
    let answer = get_within(&client, "http://silent.example/", SHORT).await;
    assert_eq!(answer.status, Err(Failure::Timeout));
    assert!(answer.latency < PATIENCE, "{:?}", answer.latency);
    assert_eq!(get(&client, "http://unknown.example/").await.status, Err(Failure::Dns));
}

#[tokio::test]
async fn a_dead_address_does_not_hide_a_living_one() {
    let (names, endpoint) = (Names::start().await, Endpoint::plain().await);
    let client = client(&exempt(&["127.0.0.0/8", "::1"]), &names);
    names.set("several.example", 60, &["127.0.0.3", "::1", "127.0.0.2", "127.0.0.1"]);
    let url = format!("http://several.example:{}/status/201", endpoint.address().port());
    assert_eq!(get(&client, &url).await.status, Ok(201));
}

#[tokio::test]
async fn a_redirect_to_an_internal_address_is_an_answer() {
    let (names, endpoint, canary) = (Names::start().await, Endpoint::plain().await, Canary::start().await);
    let client = client(&exempt(&["127.0.0.1"]), &names);
    for status in [301, 302, 303, 307, 308] {
        let to = format!("127.0.0.1:{}", canary.port);
        let url = endpoint.url(&format!("/redirect-to/{status}/{to}"));
        assert_eq!(get(&client, &url).await.status, Ok(status));
    }
    assert_eq!(endpoint.count(), 5);
    canary.was_never_reached().await;
}
