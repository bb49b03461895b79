//! Dead letters as people look at them: filters, and pages with the newest first. Changes nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::engine::id::UserId;
use crate::engine::record::{Dead, codec};
use crate::engine::time::Timestamp;

use super::ports::{Message, SourceError, Span, Topic};

/// Offsets of one partition that are looked at at once.
const CHUNK: i64 = 256;

/// A page ends early when its letters are larger than this: one may hold an event of a MiB.
const PAGE_BYTES: usize = 4 << 20;

/// And when so many records were looked at for it.
const PAGE_RECORDS: u64 = 50_000;

/// Which letters are meant; what is absent, all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `event` or `delivery`.
    pub kind: Option<Box<str>>,
    pub campaign: Option<Box<str>>,
    /// As the request names it: the key, else `host[:port]`.
    pub destination: Option<Box<str>>,
    /// Written at or after.
    pub since: Option<Timestamp>,
    /// As it stands in the letter: `http 503`, `expired`, `not_json`.
    pub reason: Option<Box<str>>,
}

/// As words: `campaign a, reason http 503`; `all`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [("kind", &self.kind), ("campaign", &self.campaign), ("destination", &self.destination), ("reason", &self.reason)];
        let mut words: Vec<String> = texts.iter().filter_map(|(name, text)| text.as_ref().map(|text| format!("{name} {text}"))).collect();
        words.extend(self.since.map(|since| format!("since {since}")));
        f.write_str(&if words.is_empty() { "all".to_owned() } else { words.join(", ") })
    }
}

/// One letter (contract, section 6), as far as it is asked about.
#[derive(Deserialize)]
pub struct Letter<'a> {
    kind: &'a str,
    at: Timestamp,
    #[serde(borrow)]
    reason: std::borrow::Cow<'a, str>,
    campaign: Option<Box<str>>,
    user_id: Option<UserId>,
    #[serde(borrow)]
    value: Option<&'a str>,
}

/// Of an event, nothing to send again is kept; of a delivery its user and what is.
pub enum Content {
    Event,
    Delivery(Option<(UserId, Box<Dead>)>),
}

/// Some letters, the newest first, and where the older ones are.
#[derive(Debug)]
pub struct Page {
    pub records: Vec<Map<String, Value>>,
    /// To be handed back as it is. `None`: there are no older ones.
    pub next: Option<String>,
}

impl<'a> Letter<'a> {
    /// `None`: not written by a worker, or by one of another age.
    pub fn read(value: &'a [u8]) -> Option<Letter<'a>> {
        serde_json::from_slice(value).ok()
    }

    pub fn content(&self) -> Content {
        if self.kind != "delivery" {
            return Content::Event;
        }
        let dead = self.value.and_then(|text| STANDARD.decode(text).ok()).and_then(|bytes| codec::decode_dead(&bytes).ok());
        Content::Delivery(self.user_id.clone().zip(dead.map(Box::new)))
    }
}

impl Filter {
    pub fn fits(&self, letter: &Letter<'_>, content: &Content) -> bool {
        let is = |wanted: &Option<Box<str>>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        is(&self.kind, Some(letter.kind))
            && is(&self.campaign, letter.campaign.as_deref())
            && is(&self.reason, Some(&letter.reason))
            && is(&self.destination, destination(content))
            && self.since.is_none_or(|since| letter.at >= since)
    }
}

fn destination(content: &Content) -> Option<&str> {
    let Content::Delivery(Some((_, dead))) = content else { return None };
    dead.entry.request.as_ref().map(|request| &*request.destination)
}

/// A letter that fits: the greater, the newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// When it was written, or a later one of its partition, if that says so.
    at: Timestamp,
    partition: i32,
    offset: i64,
    bytes: usize,
}

/// The cursor is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct BadCursor;

/// A page of up to `limit` letters, those before `cursor`, or the newest. The partitions are looked at side by side: a page is in
/// order, but where one of them is much quieter than the others its letters may come a page early.
pub fn page(topic: &mut dyn Topic, filter: &Filter, cursor: Option<&str>, limit: usize) -> Result<Result<Page, BadCursor>, SourceError> {
    let Ok(ends) = cursor.map(read_cursor).transpose() else { return Ok(Err(BadCursor)) };
    let mut left = topic.spans(filter.since)?;
    for span in &mut left {
        let end = ends.as_ref().map_or(span.end, |ends| ends.get(&span.partition).copied().unwrap_or(span.begin));
        span.end = end.clamp(span.begin, span.end.max(span.begin));
    }
    let mut places = look(topic, filter, &mut left, limit)?;
    let older = places.split_off(fitting(&places).min(limit).min(places.len()));
    for span in &mut left {
        let rest = older.iter().filter(|place| place.partition == span.partition);
        span.end = rest.map(|place| place.offset + 1).max().unwrap_or(span.end);
    }
    let records = read(topic, &places)?;
    let more = left.iter().any(|span| span.begin < span.end);
    Ok(Ok(Page { records, next: more.then(|| write_cursor(left.iter().map(|span| (span.partition, span.end)))) }))
}

/// Looks from the ends back for letters that fit, the newest first. What is left to be looked at ends where it has stopped.
fn look(topic: &mut dyn Topic, filter: &Filter, left: &mut [Span], limit: usize) -> Result<Vec<Place>, SourceError> {
    let mut places: Vec<Place> = Vec::new();
    let mut looked = 0;
    while places.len() < limit && looked < PAGE_RECORDS && left.iter().any(|span| span.begin < span.end) {
        let chunks: Vec<Span> = left.iter().map(|span| Span { begin: span.begin.max(span.end - CHUNK), ..*span }).collect();
        topic.read(&chunks, &mut |message| {
            looked += 1;
            let Some(letter) = message.value.and_then(Letter::read) else { return };
            if filter.fits(&letter, &letter.content()) {
                let bytes = message.value.map_or(0, <[u8]>::len);
                places.push(Place { at: letter.at, partition: message.partition, offset: message.offset, bytes });
            }
        })?;
        for (span, chunk) in left.iter_mut().zip(&chunks) {
            span.end = chunk.begin;
        }
    }
    // Within a partition the log's order holds, whatever the clocks of their writers said: a cursor is one offset for each.
    places.sort_unstable_by_key(|place| Reverse((place.partition, place.offset)));
    let mut before: Option<Place> = None;
    for place in &mut places {
        let newer = before.filter(|newer| newer.partition == place.partition);
        place.at = newer.map_or(place.at, |newer| newer.at.min(place.at));
        before = Some(*place);
    }
    places.sort_unstable_by_key(|place| Reverse(*place));
    Ok(places)
}

/// How many of them a page may hold.
fn fitting(places: &[Place]) -> usize {
    let sums = places.iter().scan(0, |sum, place| {
        *sum += place.bytes;
        Some(*sum - place.bytes)
    });
    sums.take_while(|before| *before < PAGE_BYTES).count()
}

/// The letters themselves, in this order.
fn read(topic: &mut dyn Topic, places: &[Place]) -> Result<Vec<Map<String, Value>>, SourceError> {
    let mut spans: BTreeMap<i32, Span> = BTreeMap::new();
    for Place { partition, offset, .. } in places.iter().copied() {
        let span = spans.entry(partition).or_insert(Span { partition, begin: offset, end: offset + 1 });
        (span.begin, span.end) = (span.begin.min(offset), span.end.max(offset + 1));
    }
    let order: BTreeMap<(i32, i64), usize> = places.iter().zip(0..).map(|(place, at)| ((place.partition, place.offset), at)).collect();
    let mut found: BTreeMap<usize, Map<String, Value>> = BTreeMap::new();
    topic.read(&spans.into_values().collect::<Vec<_>>(), &mut |message| {
        let at = order.get(&(message.partition, message.offset));
        found.extend(at.and_then(|at| Some((*at, shown(&message)?))));
    })?;
    Ok(found.into_values().collect())
}

/// The letter as it was written, with where it stands and where it was to go.
fn shown(message: &Message<'_>) -> Option<Map<String, Value>> {
    let value = message.value?;
    let mut record: Map<String, Value> = serde_json::from_slice(value).ok()?;
    let content = Letter::read(value)?.content();
    record.insert("destination".into(), destination(&content).into());
    record.insert("position".into(), format!("{}/{}", message.partition, message.offset).into());
    Some(record)
}

/// One offset for each partition, as text.
pub(super) fn write_cursor(offsets: impl Iterator<Item = (i32, i64)>) -> String {
    offsets.map(|(partition, offset)| format!("{partition}/{offset}")).collect::<Vec<_>>().join(",")
}

pub(super) fn read_cursor(text: &str) -> Result<BTreeMap<i32, i64>, BadCursor> {
    let one = |pair: &str| {
        let (partition, end) = pair.split_once('/')?;
        Some((partition.parse().ok()?, end.parse().ok()?))
    };
    text.split(',').map(|pair| one(pair).ok_or(BadCursor)).collect()
}
