//! Several users in one request, as arithmetic on requests: what of a `profiles` request its users can share, under which name it is
//! collected, how one is made of many. Nothing is decided here.
//!
//! **Who shares a request.** Deliveries of one version of one campaign whose rendered requests are equal but for the entry of `profiles`:
//! destination, method, URL with its query, headers, and the rest of the body. A URL or `key_values` with something of the user's
//! own leaves each user alone in a request.

use super::delivery_id;
use crate::engine::id::{CampaignId, DeliveryId, UserId, stable_hash};
use crate::engine::record::{Claim, Frozen, Member, Pending, Phase, Piece, Record, Request};

/// Largest request of a batch, all of it together with the ids of its users, in bytes: half of what a record may hold.
pub const MAX_BATCH_BYTES: usize = 128 << 10;

/// What the ids of batches begin with; ids from outside never begin with U+0001.
const ID_PREFIX: &str = "\u{1}batch/";

/// What follows the profiles of a body.
const AFTER: &str = "]}";

/// What a member takes in a batch beside its id and its profile, about.
const MEMBER_BYTES: usize = 48;

/// Whether this id is a batch's.
pub fn is_id(id: &str) -> bool {
    id.starts_with(ID_PREFIX)
}

/// A kind of request that can be shared, and the entry of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The request without any profile: its body ends where the first begins.
    pub shared: Request,
    pub profile: Box<str>,
}

/// Takes a request apart whose profile begins at this byte of the last piece of its body; `None` for one that has none there.
fn split(request: &Request, profile_at: u32) -> Option<Split> {
    let (last, before) = request.body.as_ref()?.0.split_last()?;
    let Piece::Text(text) = last else { return None };
    let (start, rest) = text.split_at_checked(usize::try_from(profile_at).ok()?)?;
    let profile = rest.strip_suffix(AFTER)?.into();
    let mut pieces = before.to_vec();
    pieces.push(Piece::Text(start.into()));
    Some(Split { shared: Request { body: Some(Frozen(pieces)), ..request.clone() }, profile })
}

/// A hash of what is shared: the same for all deliveries that may share a request.
fn key(campaign: CampaignId, claim: &Claim, shared: &Request) -> u64 {
    // These types have only text and numbers, which JSON can always hold.
    let shared = serde_json::to_vec(shared).unwrap_or_default();
    stable_hash(&[b"batch", &campaign.0.to_le_bytes(), &claim.version.to_le_bytes(), &shared])
}

/// Under which id the batch of this key and place is kept.
fn id_of(campaign: &str, key: u64, place: u32) -> UserId {
    format!("{ID_PREFIX}{campaign}/{key:016x}/{place}").into()
}

/// The place that such an id names.
pub fn place_of(id: &str) -> u32 {
    id.rsplit('/').next().and_then(|place| place.parse().ok()).unwrap_or(0)
}

/// About how many bytes a batch has with these members.
pub fn weight(shared: &Request, members: &[Member]) -> usize {
    shared.weight() + members.iter().map(member_weight).sum::<usize>()
}

pub fn member_weight(member: &Member) -> usize {
    member.profile.len() + member.user.len() + MEMBER_BYTES
}

/// The request of all members. Their entries move into it.
pub fn join(shared: &Request, members: &mut [Member]) -> Request {
    let mut pieces = shared.body.as_ref().map_or_else(Vec::new, |body| body.0.clone());
    let mut text = match pieces.pop() {
        Some(Piece::Text(text)) => String::from(text),
        other => {
            pieces.extend(other);
            String::new()
        }
    };
    let profiles: Vec<Box<str>> = members.iter_mut().map(|member| std::mem::take(&mut member.profile)).collect();
    text.push_str(&profiles.join(","));
    text.push_str(AFTER);
    pieces.push(Piece::Text(text.into()));
    Request { body: Some(Frozen(pieces)), ..shared.clone() }
}

/// The id of the request of these members: other members, another id.
pub fn request_id(id_key: &[u8], campaign: CampaignId, batch: &str, members: &[Member]) -> DeliveryId {
    let ids: String = members.iter().map(|member| member.id.to_string()).collect();
    delivery_id(id_key, campaign, batch, &ids)
}

/// The batch that a delivery is handed to, with what it brings along; `None` for one that has its request for itself.
pub fn of_entry(entry: &Pending) -> Option<(UserId, u64, Split)> {
    let Phase::Batched { place, profile_at, .. } = entry.phase else { return None };
    let split = split(entry.request.as_ref()?, profile_at)?;
    let key = key(entry.campaign, &entry.claim, &split.shared);
    Some((id_of(&entry.claim.campaign, key, place), key, split))
}

/// Whether this delivery is still that batch's to make.
pub fn stands(record: &Record, delivery: DeliveryId, batch: &str) -> bool {
    let entry = record.pending.iter().find(|entry| entry.id == delivery);
    entry.and_then(of_entry).is_some_and(|(id, ..)| *id == *batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::definition::{ContentType, Method};
    use crate::engine::record::Quoting;
    use crate::engine::time::Timestamp;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn request(body: Vec<Piece>) -> Request {
        Request {
            destination: "d".into(),
            method: Method::Post,
            url: Frozen(vec![text("https://a.example/")]),
            headers: Vec::new(),
            content_type: ContentType::Json,
            body: Some(Frozen(body)),
        }
    }

    fn member(user: &str, profile: &str) -> Member {
        let (id, asked) = (DeliveryId([1; 16]), Timestamp(0));
        Member { user: user.into(), id, asked, claimed: asked, expires: asked, profile: profile.into() }
    }

    /// Requests of one user each become one.
    fn check(before: &[Piece], start: &str, profiles: &[&str]) {
        let alone = |profile: &str| request([before, &[text(&format!("{start}{profile}]}}"))]].concat());
        let at = u32::try_from(start.len()).unwrap();
        let splits: Vec<Split> = profiles.iter().map(|one| split(&alone(one), at).expect("a profile")).collect();
        assert!(splits.iter().all(|split| split.shared == splits[0].shared));
        let mut members: Vec<Member> = splits.iter().map(|split| member("u", &split.profile)).collect();
        let joined = join(&splits[0].shared, &mut members);
        assert_eq!(joined, alone(&profiles.join(",")));
    }

    #[test]
    fn many_become_one() {
        let start = "{\"targetId\":\"k\",\"profiles\":[";
        check(&[], start, &["{}"]);
        check(&[], start, &["{\"Identity\":\"u1\"}", "{}", "{\"a\":\"]}\",\"profiles\":[{}]}", "{\"name\":\"\u{1f514}\"}"]);
        let secret = Piece::Secret("token".into(), Quoting::Json);
        check(&[text("{\"key_values\":{\"k\":"), secret], "},\"profiles\":[", &["{\"a\":1}", "{\"a\":2}"]);
    }

    #[test]
    fn what_has_no_profile_there_is_not_taken_apart() {
        let body = |pieces: &[Piece]| request(pieces.to_vec());
        let check = |request: &Request, at: u32| assert_eq!(split(request, at), None, "{request:?} {at}");
        check(&Request { body: None, ..body(&[]) }, 0);
        check(&body(&[]), 0);
        check(&body(&[text("{}")]), 0);
        check(&body(&[text("[\u{1f514}]}")]), 2);
        check(&body(&[text("]}")]), 99);
        check(&body(&[text("]}"), Piece::Secret("s".into(), Quoting::Plain)]), 0);
    }

    #[test]
    fn an_id_names_its_place_and_no_user() {
        let id = |place| id_of("cart", 7, place);
        for place in [0, 1, u32::MAX] {
            assert_eq!(place_of(&id(place)), place);
            assert!(is_id(&id(place)));
        }
        assert!(!is_id("batch/cart") && !is_id("\u{1}run/cart"));
    }
}
