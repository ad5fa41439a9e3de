use std::time::{Duration, Instant};

use pop_dag::{Block, Buf, Codec, Scope, Walk};
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::transfer::{Down, Refusal, Up};
use pop_wire::{BlockHeader, DealId, Reason, limit};

use super::client::{Step, Terms};
use super::provider::{Closing, Next};
use super::simulation::node;
use super::{Client, Debts, Fault, Indebted, Provider, RECEIPT, SILENCE, Schedule};

const MIB: u64 = 1 << 20;

fn price() -> PricePerByte {
    PricePerByte::per_gib(AttoFil::new(1 << 40))
}

fn schedule() -> Schedule {
    Schedule::new(price(), limit::INTERVAL_MIN, limit::INTERVAL_MAX)
}

fn leaf() -> Block {
    Block::of(Codec::Raw, Buf::from_static(b"a leaf of the tree"))
}

fn terms(price: PricePerByte) -> Terms {
    Terms {
        deal: DealId::new([1; 16]),
        root: *leaf().cid(),
        scope: Scope::all(),
        size: Bytes::MIB,
        price,
        interval: limit::INTERVAL_MIN,
        interval_max: limit::INTERVAL_MAX,
        budget: AttoFil::from_fil(1),
    }
}

fn client(price: PricePerByte, now: Instant) -> Client {
    Client::new(terms(price), Walk::new(*leaf().cid(), &Scope::all()).unwrap(), 0, now)
}

/// A client that was accepted.
fn flowing(price: PricePerByte, now: Instant) -> Client {
    let mut client = client(price, now);
    client.on_frame(Down::Accept { deal: DealId::new([1; 16]) }, now).unwrap();
    client
}

fn header(block: &Block, seq: u64) -> BlockHeader {
    BlockHeader::of(block.cid(), u32::try_from(block.size().get()).unwrap(), seq)
}

#[test]
fn a_small_paid_deal_pays_once_and_exactly() {
    let now = Instant::now();
    let mut client = flowing(price(), now);
    let size = leaf().size();
    let cost = price().cost_of(size).unwrap();
    assert_eq!(client.on_block(&header(&leaf(), 0), leaf().data(), now), Ok(*leaf().cid()));
    assert_eq!(client.on_frame(Down::End { blocks: 1, sent: size }, now), Ok(vec![]));
    assert_eq!(client.paid(), AttoFil::ZERO, "nothing is paid before it is staged");
    assert_eq!(client.on_staged(1, size, now), Ok(vec![Step::Pay(cost)]));
    assert_eq!(client.on_paid(now), Ok(vec![]));
    assert!(!client.is_done());
    assert_eq!(client.on_frame(Down::Receipt { paid: cost }, now), Ok(vec![Step::Done]));
    assert!(client.is_done());
}

#[test]
fn a_free_deal_ends_without_a_payment() {
    let now = Instant::now();
    let mut client = flowing(PricePerByte::FREE, now);
    client.on_block(&header(&leaf(), 0), leaf().data(), now).unwrap();
    assert_eq!(client.on_staged(1, leaf().size(), now), Ok(vec![]));
    assert_eq!(client.on_frame(Down::End { blocks: 1, sent: leaf().size() }, now), Ok(vec![Step::Done]));
}

#[test]
fn a_block_that_is_not_due_ends_the_deal() {
    let now = Instant::now();
    let want = *leaf().cid();
    let other = Block::of(Codec::Raw, Buf::from_static(b"something else"));
    let mut wrong_place = header(&leaf(), 0);
    wrong_place.seq = 3;
    for (name, header, data) in [
        ("another block", header(&other, 0), other.data().clone()),
        ("another place", wrong_place, leaf().data().clone()),
        ("another length", header(&leaf(), 0), Buf::from_static(b"short")),
    ] {
        let got = flowing(PricePerByte::FREE, now).on_block(&header, &data, now);
        assert_eq!(got, Err(Fault::WrongBlock { seq: header.seq, want }), "{name}");
    }
    let mut client = flowing(PricePerByte::FREE, now);
    client.on_block(&header(&leaf(), 0), leaf().data(), now).unwrap();
    let extra = client.on_block(&header(&leaf(), 1), leaf().data(), now);
    assert_eq!(extra, Err(Fault::Unwanted { seq: 1 }));
}

#[test]
fn more_than_was_offered_ends_the_deal() {
    let now = Instant::now();
    let small = Terms { size: Bytes::new(3), ..terms(PricePerByte::FREE) };
    let mut client = Client::new(small, Walk::new(*leaf().cid(), &Scope::all()).unwrap(), 0, now);
    client.on_frame(Down::Accept { deal: DealId::new([1; 16]) }, now).unwrap();
    let got = client.on_block(&header(&leaf(), 0), leaf().data(), now);
    assert_eq!(got, Err(Fault::Oversize { offered: Bytes::new(3) }));
}

#[test]
fn frames_out_of_turn_end_the_deal() {
    let now = Instant::now();
    let accept = || Down::Accept { deal: DealId::new([1; 16]) };
    let end = || Down::End { blocks: 0, sent: Bytes::ZERO };
    let bill = || Down::PaymentDue { sent: Bytes::MIB, owed: AttoFil::new(1) };
    let receipt = || Down::Receipt { paid: AttoFil::ZERO };
    for frame in [end(), bill(), receipt(), Down::Accept { deal: DealId::new([9; 16]) }] {
        assert!(client(price(), now).on_frame(frame.clone(), now).is_err(), "{frame:?}");
    }
    for frame in [accept(), end(), bill(), receipt()] {
        assert!(flowing(price(), now).on_frame(frame.clone(), now).is_err(), "{frame:?}");
    }
    assert!(client(price(), now).on_block(&header(&leaf(), 0), leaf().data(), now).is_err());
    let refused = Down::Refused { code: Refusal::Busy, why: Reason::new("later") };
    let fault = Fault::Refused { code: Refusal::Busy, why: Reason::new("later") };
    assert_eq!(flowing(price(), now).on_frame(refused, now), Err(fault));
    assert_eq!(flowing(price(), now).on_closed(), Err(Fault::Closed));
}

#[test]
fn a_payment_above_the_budget_is_not_made() {
    let now = Instant::now();
    let tight = Terms { budget: AttoFil::new(1), ..terms(price()) };
    let mut client = Client::new(tight, Walk::new(*leaf().cid(), &Scope::all()).unwrap(), 0, now);
    client.on_frame(Down::Accept { deal: DealId::new([1; 16]) }, now).unwrap();
    client.on_block(&header(&leaf(), 0), leaf().data(), now).unwrap();
    client.on_frame(Down::End { blocks: 1, sent: leaf().size() }, now).unwrap();
    assert_eq!(client.on_staged(1, leaf().size(), now), Err(Fault::Budget { budget: AttoFil::new(1) }));
}

#[test]
fn silence_ends_the_deal_but_a_missing_receipt_does_not() {
    let now = Instant::now();
    let mut silent = flowing(price(), now);
    assert_eq!(silent.on_tick(now + SILENCE / 2), Ok(vec![]));
    assert_eq!(silent.on_tick(now + SILENCE), Err(Fault::Silence { seconds: SILENCE.as_secs() }));

    let mut paid = flowing(price(), now);
    paid.on_block(&header(&leaf(), 0), leaf().data(), now).unwrap();
    assert_eq!(paid.on_tick(now + SILENCE), Ok(vec![]), "our own disk is slow");
    paid.on_staged(1, leaf().size(), now).unwrap();
    paid.on_frame(Down::End { blocks: 1, sent: leaf().size() }, now).unwrap();
    paid.on_paid(now).unwrap();
    assert_eq!(paid.on_tick(now + RECEIPT), Ok(vec![Step::Done]));
}

#[test]
fn a_provider_that_leaves_after_the_end_is_not_waited_for() {
    let now = Instant::now();
    let mut client = flowing(price(), now);
    client.on_block(&header(&leaf(), 0), leaf().data(), now).unwrap();
    client.on_frame(Down::End { blocks: 1, sent: leaf().size() }, now).unwrap();
    assert_eq!(client.on_closed(), Ok(vec![]), "the block is not staged yet");
    assert_eq!(client.on_staged(1, leaf().size(), now), Ok(vec![Step::Done]), "nobody is there to be paid");
}

#[test]
fn an_empty_block_counts_once_it_is_staged() {
    let now = Instant::now();
    let empty = Block::of(Codec::Raw, Buf::new());
    for is_closed in [false, true] {
        let walk = Walk::new(*empty.cid(), &Scope::all()).unwrap();
        let mut client = Client::new(terms(price()), walk, 0, now);
        client.on_frame(Down::Accept { deal: DealId::new([1; 16]) }, now).unwrap();
        client.on_block(&header(&empty, 0), empty.data(), now).unwrap();
        assert_eq!(client.on_frame(Down::End { blocks: 1, sent: Bytes::ZERO }, now), Ok(vec![]));
        if is_closed {
            assert_eq!(client.on_closed(), Ok(vec![]));
        }
        assert_eq!(client.on_tick(now + SILENCE), Ok(vec![]), "our own disk is slow");
        assert_eq!((client.is_done(), client.whole()), (false, None));
        assert_eq!(client.on_staged(1, Bytes::ZERO, now), Ok(vec![Step::Done]));
        assert_eq!(client.whole(), Some(empty.cid()));
    }
}

#[test]
fn blocks_finer_than_any_honest_tree_end_the_deal() {
    let now = Instant::now();
    // Leaves of three bytes: the links are most of it.
    let leaf = |n: u32| Block::of(Codec::Raw, Buf::copy_from_slice(&n.to_le_bytes()[..3]));
    let leaves: Vec<Block> = (0..120_000).map(leaf).collect();
    let nodes: Vec<Block> = leaves.chunks(2000).map(node).collect();
    let root = node(&nodes);
    let below =
        nodes.iter().zip(leaves.chunks(2000)).flat_map(|(node, leaves)| [node].into_iter().chain(leaves));
    let terms = Terms { size: Bytes::GIB, ..terms(PricePerByte::FREE) };
    let mut client = Client::new(terms, Walk::new(*root.cid(), &Scope::all()).unwrap(), 0, now);
    client.on_frame(Down::Accept { deal: DealId::new([1; 16]) }, now).unwrap();
    let take = |(block, seq): (&Block, u64)| client.on_block(&header(block, seq), block.data(), now).err();
    let fault = [&root].into_iter().chain(below).zip(0..).find_map(take);
    let Some(Fault::TooManyBlocks { blocks, bytes }) = fault else { panic!("{fault:?}") };
    assert_eq!(blocks, limit::blocks_for(bytes) + 1);
    assert!(blocks > 1 << 16, "some ten thousand tiny files are no attack");
}

#[test]
fn the_provider_stops_at_two_unpaid_intervals() {
    let now = Instant::now();
    let mut provider = Provider::new(schedule(), limit::CREDIT_WINDOW, now);
    for _ in 0..2 {
        assert_eq!(provider.next(Bytes::MIB, now), Ok(Next::Send));
        provider.on_sent(Bytes::MIB, now);
    }
    let owed = price().cost_of(Bytes::new(2 * MIB)).unwrap();
    let bill = Down::PaymentDue { sent: Bytes::new(2 * MIB), owed };
    assert_eq!(provider.next(Bytes::new(1), now), Ok(Next::AwaitPayment(Some(bill))));
    assert_eq!(provider.next(Bytes::new(1), now), Ok(Next::AwaitPayment(None)), "a bill is sent once");
    provider.on_payment(owed, now).unwrap();
    assert_eq!(provider.unpaid(), Bytes::ZERO);
    assert_eq!(provider.next(Bytes::MIB, now), Ok(Next::Send));
}

#[test]
fn a_block_larger_than_the_exposure_still_goes_out_when_nothing_is_unpaid() {
    let now = Instant::now();
    let mut provider = Provider::new(schedule(), limit::CREDIT_WINDOW, now);
    assert_eq!(provider.next(Bytes::new(2 * MIB), now), Ok(Next::Send));
    provider.on_sent(Bytes::new(100), now);
    assert!(matches!(provider.next(Bytes::new(2 * MIB), now), Ok(Next::AwaitPayment(Some(_)))));
}

#[test]
fn the_provider_never_sends_beyond_the_credit() {
    let now = Instant::now();
    let mut provider = Provider::free(Bytes::MIB, now);
    provider.on_sent(Bytes::MIB, now);
    assert_eq!(provider.next(Bytes::new(1), now), Ok(Next::AwaitCredit));
    provider.on_credit(Bytes::KIB, now).unwrap();
    assert_eq!(provider.next(Bytes::new(1), now), Ok(Next::Send));
    assert!(provider.on_credit(limit::CREDIT_MAX, now).is_err());
    let silence = Err(Fault::Silence { seconds: SILENCE.as_secs() });
    assert_eq!(provider.on_tick(provider.deadline()), silence);
}

#[test]
fn where_money_is_due_only_money_gains_time() {
    let now = Instant::now();
    let mut provider = Provider::new(schedule(), limit::CREDIT_WINDOW, now);
    provider.on_sent(Bytes::new(2 * MIB), now);
    let later = now + SILENCE;
    assert!(matches!(provider.next(Bytes::MIB, later), Ok(Next::AwaitPayment(Some(_)))));
    assert_eq!(provider.deadline(), later + SILENCE, "the disk was slow, not the client");
    let soon = later + SILENCE / 2;
    provider.on_credit(Bytes::new(1), soon).unwrap();
    assert_eq!(provider.next(Bytes::MIB, soon), Ok(Next::AwaitPayment(None)));
    assert_eq!(provider.deadline(), later + SILENCE);
    provider.on_payment(AttoFil::new(1), soon).unwrap();
    assert_eq!(provider.deadline(), soon + SILENCE);
    let nothing = provider.on_credit(Bytes::ZERO, soon);
    assert!(matches!(nothing, Err(Fault::Wire(_))), "{nothing:?}");
}

#[test]
fn a_client_that_takes_a_byte_now_and_then_loses_its_place() {
    let begun = Instant::now();
    let mut provider = Provider::free(Bytes::new(1), begun);
    let (mut now, mut sent) = (begun, 0);
    let fault = loop {
        match provider.next(Bytes::new(1), now) {
            Ok(Next::Send) => provider.on_sent(Bytes::new(1), now),
            Ok(Next::AwaitCredit) => {
                sent += 1;
                now += SILENCE / 2;
                provider.on_credit(Bytes::new(1), now).unwrap();
            }
            Ok(other) => panic!("{other:?}"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault, Fault::TooSlow { sent: Bytes::new(sent), seconds: 60 });
    let mut quick = Provider::free(limit::CREDIT_WINDOW, begun);
    quick.on_sent(Bytes::MIB, begun);
    assert_eq!(quick.next(Bytes::MIB, begun + Duration::from_secs(120)), Ok(Next::Send));
}

#[test]
fn a_deal_closes_when_the_last_atto_is_paid() {
    let now = Instant::now();
    let mut provider = Provider::new(schedule(), limit::CREDIT_WINDOW, now);
    provider.on_sent(Bytes::new(1000), now);
    let end = Down::End { blocks: 1, sent: Bytes::new(1000) };
    assert_eq!(provider.closing(now), Ok(Closing::AwaitPayment(vec![end])));
    let owed = provider.owed().unwrap();
    provider.on_payment(owed.saturating_sub(AttoFil::new(1)), now).unwrap();
    assert_eq!(provider.closing(now), Ok(Closing::AwaitPayment(vec![])));
    provider.on_payment(AttoFil::new(1), now).unwrap();
    assert_eq!(provider.closing(now), Ok(Closing::Finish(vec![Down::Receipt { paid: owed }])));
}

#[test]
fn a_client_cannot_keep_the_disk_busy_with_vouchers() {
    let now = Instant::now();
    let mut provider = Provider::new(schedule(), limit::CREDIT_WINDOW, now);
    for _ in 0..8 {
        provider.on_voucher().unwrap();
        provider.on_payment(AttoFil::new(1), now).unwrap();
    }
    assert_eq!(provider.on_voucher(), Err(Fault::TooManyVouchers { vouchers: 8, sent: Bytes::ZERO }));
    provider.on_sent(Bytes::MIB, now);
    assert_eq!(provider.on_voucher(), Ok(()));
    assert_eq!(provider.on_voucher(), Ok(()));
    assert!(provider.on_voucher().is_err());
}

#[test]
fn small_vouchers_buy_no_trust() {
    let now = Instant::now();
    let mut provider = Provider::new(schedule(), limit::CREDIT_WINDOW, now);
    provider.on_sent(Bytes::new(2 * MIB), now);
    provider.on_payment(AttoFil::new(1), now).unwrap();
    assert!(matches!(provider.next(Bytes::MIB, now), Ok(Next::AwaitPayment(Some(_)))));
    provider.on_payment(AttoFil::new(1), now).unwrap();
    assert_eq!(provider.next(Bytes::MIB, now), Ok(Next::AwaitPayment(None)));
}

#[test]
fn the_interval_doubles_with_full_payments_up_to_its_limit() {
    let mut schedule = schedule();
    schedule.on_payment(AttoFil::new(1)).unwrap();
    assert_eq!(schedule.interval(), Bytes::MIB, "a part payment earns no trust");
    for expected in [2, 4, 8, 16, 16] {
        let cost = schedule.price().cost_of(schedule.interval()).unwrap();
        schedule.on_payment(cost).unwrap();
        assert_eq!(schedule.interval(), Bytes::new(expected * MIB));
    }
}

#[test]
fn the_first_interval_is_not_free_again_and_again() {
    let now = Instant::now();
    let mut debts = Debts::default();
    let mut served = 0;
    while debts.open(&"channel", now).is_ok() {
        debts.close(&"channel", Bytes::new(2 * MIB), Bytes::ZERO, now);
        served += 1;
    }
    assert_eq!(served, 33, "64 MiB in pieces of two, and one to pass the limit");
    assert_eq!(debts.total(), Bytes::new(66 * MIB));
    assert!(debts.open(&"another", now).is_ok());
    assert!(debts.open(&"channel", now + Duration::from_secs(3600)).is_ok());
}

#[test]
fn one_debtor_has_few_deals_at_once() {
    let now = Instant::now();
    let mut debts = Debts::default();
    for _ in 0..4 {
        debts.open(&1, now).unwrap();
    }
    assert_eq!(debts.open(&1, now), Err(Indebted::TooManyDeals { live: 4 }));
    debts.close(&1, Bytes::ZERO, Bytes::MIB, now);
    assert_eq!(debts.open(&1, now), Ok(()));
}

#[test]
fn the_first_frame_says_what_is_held_already() {
    let now = Instant::now();
    let client = Client::new(terms(price()), Walk::new(*leaf().cid(), &Scope::all()).unwrap(), 7, now);
    let token = pop_wire::transfer::Grant::Token(pop_wire::Token::new([0; 32]));
    let Up::Open(open) = client.open(token, None) else { panic!("no Open") };
    assert_eq!((open.skip, open.credit), (7, limit::CREDIT_WINDOW));
}
