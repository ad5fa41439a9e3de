use std::time::{Duration, Instant};

use libp2p_identity::{Keypair, PeerId};
use pop_dag::{Block, Buf, Cid, Codec};
use pop_units::{Bytes, ReplicationFactor};
use pop_wire::Token;

use super::{Authorisations, Bound, Outcome, Plan, Quota, QuotaRefusal, Rounds, Step, TokenRefusal};

const MINUTE: Duration = Duration::from_secs(60);

fn peer(n: u8) -> PeerId {
    Keypair::ed25519_from_bytes([n; 32]).unwrap().public().to_peer_id()
}

fn root(text: &'static [u8]) -> Cid {
    *Block::of(Codec::Raw, Buf::from_static(text)).cid()
}

fn plan(rf: u8, attempts: u32) -> Plan {
    Plan { rf: ReplicationFactor::new(rf), attempts, backoff: MINUTE, named_only: false }
}

fn bound(now: Instant) -> Bound {
    Bound { root: root(b"a"), peer: peer(1), expiry: now + MINUTE }
}

#[test]
fn a_token_is_good_once_for_its_peer_and_root() {
    let now = Instant::now();
    let token = Token::new([7; 32]);
    let mut open = Authorisations::default();
    assert!(open.grant(token, bound(now), now));
    let table = [
        ("unknown", Token::new([8; 32]), root(b"a"), peer(1), Err(TokenRefusal::Unknown)),
        ("wrong peer", token, root(b"a"), peer(2), Err(TokenRefusal::WrongPeer)),
        ("wrong root", token, root(b"b"), peer(1), Err(TokenRefusal::WrongRoot)),
        ("right", token, root(b"a"), peer(1), Ok(())),
        ("second use", token, root(b"a"), peer(1), Err(TokenRefusal::Unknown)),
    ];
    for (name, token, root, peer, expected) in table {
        assert_eq!(open.redeem(&token, &root, &peer, now), expected, "{name}");
    }
}

#[test]
fn a_token_expires_and_can_be_taken_back() {
    let now = Instant::now();
    let mut open = Authorisations::default();
    open.grant(Token::new([1; 32]), bound(now), now);
    open.grant(Token::new([2; 32]), bound(now), now);
    open.revoke(&Token::new([2; 32]));
    let late = now + MINUTE;
    assert_eq!(open.redeem(&Token::new([1; 32]), &root(b"a"), &peer(1), late), Err(TokenRefusal::Expired));
    assert_eq!(open.redeem(&Token::new([2; 32]), &root(b"a"), &peer(1), now), Err(TokenRefusal::Unknown));
}

#[test]
fn a_quota_counts_what_came_and_not_what_was_claimed() {
    let now = Instant::now();
    let room = Bytes::GIB;
    let mut quota = Quota::new(Bytes::new(100), 2);
    assert_eq!(quota.reserve(peer(1), Bytes::new(60), room, now), Ok(Bytes::new(60)));
    let used = QuotaRefusal::Used { left: Bytes::new(40) };
    assert_eq!(quota.reserve(peer(1), Bytes::new(60), room, now), Err(used));
    assert!(quota.reserve(peer(2), Bytes::new(60), room, now).is_ok(), "each peer has its own");
    quota.settle(&peer(1), Bytes::new(60), Bytes::new(10));
    assert_eq!(quota.reserve(peer(1), Bytes::new(60), room, now), Ok(Bytes::new(60)));
    assert_eq!(quota.reserve(peer(1), Bytes::new(1), room, now), Ok(Bytes::new(1)));
    assert_eq!(quota.reserve(peer(1), Bytes::new(1), room, now), Err(QuotaRefusal::Busy));
    let no_room = QuotaRefusal::NoRoom { size: Bytes::new(9), room: Bytes::new(8) };
    assert_eq!(quota.reserve(peer(3), Bytes::new(9), Bytes::new(8), now), Err(no_room));
}

#[test]
fn a_quota_starts_anew_the_next_day() {
    let now = Instant::now();
    let mut quota = Quota::new(Bytes::new(100), 2);
    quota.reserve(peer(1), Bytes::new(100), Bytes::GIB, now).unwrap();
    quota.settle(&peer(1), Bytes::new(100), Bytes::new(100));
    assert!(quota.reserve(peer(1), Bytes::new(1), Bytes::GIB, now).is_err());
    assert!(quota.reserve(peer(1), Bytes::new(1), Bytes::GIB, now + 24 * 60 * MINUTE).is_ok());
}

#[test]
fn named_peers_are_asked_first_and_others_step_in() {
    let now = Instant::now();
    let mut rounds = Rounds::new(plan(2, 0), vec![peer(9)]);
    let known = [peer(1), peer(2), peer(3)];
    assert_eq!(rounds.next(&known, now), Step::Ask(vec![peer(9), peer(1)]));
    assert_eq!(rounds.next(&known, now), Step::Await);
    rounds.on_outcome(&peer(9), Outcome::Confirmed);
    rounds.on_outcome(&peer(1), Outcome::Refused);
    assert_eq!(rounds.next(&known, now), Step::Ask(vec![peer(2)]));
    rounds.on_outcome(&peer(2), Outcome::Confirmed);
    assert_eq!(rounds.next(&known, now), Step::Done);
    assert_eq!(rounds.confirmed(), 2);
}

#[test]
fn only_failures_are_asked_again_after_a_growing_wait() {
    let now = Instant::now();
    let mut rounds = Rounds::new(plan(2, 2), vec![]);
    let known = [peer(1), peer(2)];
    assert_eq!(rounds.next(&known, now), Step::Ask(vec![peer(1), peer(2)]));
    rounds.on_outcome(&peer(1), Outcome::Failed);
    rounds.on_outcome(&peer(2), Outcome::Refused);
    assert_eq!(rounds.next(&known, now), Step::Wait(now + MINUTE));
    assert_eq!(rounds.next(&known, now), Step::Wait(now + MINUTE), "asking early changes nothing");
    let second = now + MINUTE;
    assert_eq!(rounds.next(&known, second), Step::Ask(vec![peer(1)]));
    rounds.on_outcome(&peer(1), Outcome::Failed);
    assert_eq!(rounds.next(&known, second), Step::Wait(second + 2 * MINUTE));
    let third = second + 2 * MINUTE;
    assert_eq!(rounds.next(&[peer(1), peer(5)], third), Step::Ask(vec![peer(1), peer(5)]), "a newcomer");
    rounds.on_outcome(&peer(1), Outcome::Failed);
    rounds.on_outcome(&peer(5), Outcome::Confirmed);
    assert_eq!(rounds.next(&known, third), Step::Done);
    assert_eq!(rounds.confirmed(), 1);
}

#[test]
fn nobody_to_ask_ends_cleanly() {
    let now = Instant::now();
    assert_eq!(Rounds::new(plan(0, 5), vec![]).next(&[peer(1)], now), Step::Done);
    assert_eq!(Rounds::new(plan(3, 0), vec![]).next(&[], now), Step::Done);
    let named = Plan { named_only: true, ..plan(1, 0) };
    assert_eq!(Rounds::new(named, vec![]).next(&[peer(1)], now), Step::Done);
}

#[test]
fn an_outcome_nobody_asked_for_counts_nothing() {
    let mut rounds = Rounds::new(plan(1, 0), vec![]);
    rounds.on_outcome(&peer(1), Outcome::Confirmed);
    assert_eq!(rounds.confirmed(), 0);
}
