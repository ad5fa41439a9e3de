//! Client and provider coupled through queues: any order of deliveries, any place of the break.

use std::collections::VecDeque;
use std::time::Instant;

use pop_dag::{Block, Buf, Cid, Codec, Scope, Walk};
use pop_units::{AttoFil, Bytes, PricePerByte};
use pop_wire::transfer::{Down, Up};
use pop_wire::{BlockHeader, DealId, limit};
use proptest::prelude::*;

use super::client::{Step, Terms};
use super::provider::{Closing, Next};
use super::{Client, Provider, Schedule};

/// A tree of one dag-pb node over raw leaves.
struct Tree {
    root: Cid,
    order: Vec<Block>,
    size: Bytes,
}

fn varint(mut n: usize, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
        n >>= 7;
    }
    out.push(u8::try_from(n).unwrap());
}

fn field(tag: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    varint(body.len(), out);
    out.extend(body);
}

/// A UnixFS directory without names.
pub(super) fn node(children: &[Block]) -> Block {
    let mut node = Vec::new();
    for child in children {
        let mut link = Vec::new();
        field(0x0a, &child.cid().to_bytes(), &mut link);
        field(0x12, b"", &mut link);
        field(0x12, &link, &mut node);
    }
    field(0x0a, &[0x08, 0x01], &mut node);
    Block::of(Codec::DagPb, Buf::from(node))
}

fn tree(sizes: &[usize]) -> Tree {
    let leaf = |(at, len): (usize, &usize)| {
        let mut data = vec![0; *len];
        let tag = at.to_le_bytes();
        let count = data.len().min(tag.len());
        data[..count].copy_from_slice(&tag[..count]);
        Block::of(Codec::Raw, Buf::from(data))
    };
    let leaves: Vec<Block> = sizes.iter().enumerate().map(leaf).collect();
    let root = node(&leaves);
    let mut order = vec![root];
    for leaf in leaves {
        if !order.contains(&leaf) {
            order.push(leaf);
        }
    }
    let size = order.iter().fold(Bytes::ZERO, |sum, block| sum.saturating_add(block.size()));
    Tree { root: *order[0].cid(), order, size }
}

enum Packet {
    Frame(Down),
    Block(BlockHeader, Buf),
}

/// One deal over links that keep order and nothing else.
struct Deal<'a> {
    tree: &'a Tree,
    now: Instant,
    client: Client,
    provider: Provider,
    /// The provider's place in the order.
    at: usize,
    down: VecDeque<Packet>,
    up: VecDeque<Up>,
    /// What each voucher under way adds.
    vouchers: VecDeque<AttoFil>,
    /// Came, waits for the disk.
    unstaged: VecDeque<Bytes>,
    paying: Option<AttoFil>,
    is_ending: bool,
    /// The provider has hung up.
    is_finished: bool,
    is_done: bool,
    vouchers_paid: u32,
    /// What earlier deals promised and never sent.
    lost: AttoFil,
}

impl<'a> Deal<'a> {
    fn new(tree: &'a Tree, price: PricePerByte, skip: usize) -> Self {
        let now = Instant::now();
        let mut walk = Walk::new(tree.root, &Scope::all()).unwrap();
        for block in &tree.order[..skip] {
            assert_eq!(walk.want(), Some(block.cid()));
            walk.on_block(block.data()).unwrap();
        }
        let terms = Terms {
            deal: DealId::new([0; 16]),
            root: tree.root,
            scope: Scope::all(),
            size: tree.size,
            price,
            interval: limit::INTERVAL_MIN,
            interval_max: limit::INTERVAL_MAX,
            budget: AttoFil::from_fil(1000),
        };
        let schedule = Schedule::new(price, limit::INTERVAL_MIN, limit::INTERVAL_MAX);
        Self {
            tree,
            now,
            client: Client::new(terms, walk, u64::try_from(skip).unwrap(), now),
            provider: Provider::new(schedule, limit::CREDIT_WINDOW, now),
            at: skip,
            down: VecDeque::from([Packet::Frame(Down::Accept { deal: DealId::new([0; 16]) })]),
            up: VecDeque::new(),
            vouchers: VecDeque::new(),
            unstaged: VecDeque::new(),
            paying: None,
            is_ending: false,
            is_finished: false,
            is_done: false,
            vouchers_paid: 0,
            lost: AttoFil::ZERO,
        }
    }

    /// Lets one of the five actors move; false if it cannot.
    fn step(&mut self, actor: u8) -> bool {
        match actor {
            0 => self.provider_sends(),
            1 => self.client_receives(),
            2 => self.client_stages(),
            3 => self.client_pays(),
            _ => self.provider_receives(),
        }
    }

    fn provider_sends(&mut self) -> bool {
        if self.is_ending {
            return false;
        }
        let Some(block) = self.tree.order.get(self.at) else {
            self.is_ending = true;
            self.close();
            return true;
        };
        match self.provider.next(block.size(), self.now).unwrap() {
            Next::Send => {
                let seq = u64::try_from(self.at).unwrap();
                let header = BlockHeader::of(block.cid(), u32::try_from(block.size().get()).unwrap(), seq);
                self.down.push_back(Packet::Block(header, block.data().clone()));
                self.provider.on_sent(block.size(), self.now);
                self.at += 1;
                true
            }
            Next::AwaitPayment(Some(bill)) => {
                self.down.push_back(Packet::Frame(bill));
                true
            }
            Next::AwaitPayment(None) | Next::AwaitCredit => false,
        }
    }

    fn close(&mut self) {
        let (frames, is_finished) = match self.provider.closing(self.now).unwrap() {
            Closing::Finish(frames) => (frames, true),
            Closing::AwaitPayment(frames) => (frames, false),
        };
        self.is_finished = is_finished;
        self.down.extend(frames.into_iter().map(Packet::Frame));
    }

    fn client_receives(&mut self) -> bool {
        let steps = match self.down.pop_front() {
            None => return false,
            Some(Packet::Frame(frame)) => self.client.on_frame(frame, self.now).unwrap(),
            Some(Packet::Block(header, data)) => {
                self.client.on_block(&header, &data, self.now).unwrap();
                self.unstaged.push_back(Bytes::of(&data));
                Vec::new()
            }
        };
        self.carry_out(steps);
        true
    }

    fn client_stages(&mut self) -> bool {
        let Some(bytes) = self.unstaged.pop_front() else { return false };
        let steps = self.client.on_staged(1, bytes, self.now).unwrap();
        self.carry_out(steps);
        true
    }

    fn client_pays(&mut self) -> bool {
        let Some(amount) = self.paying.take() else { return false };
        self.up.push_back(Up::Voucher { voucher: Vec::new() });
        self.vouchers.push_back(amount);
        let steps = self.client.on_paid(self.now).unwrap();
        self.carry_out(steps);
        true
    }

    fn provider_receives(&mut self) -> bool {
        match self.up.pop_front() {
            None => return false,
            Some(_) if self.is_finished => return true,
            Some(Up::Credit { bytes }) => self.provider.on_credit(bytes, self.now).unwrap(),
            Some(Up::Voucher { .. }) => {
                let amount = self.vouchers.pop_front().unwrap();
                self.provider.on_voucher().unwrap();
                // A voucher that was signed in an earlier deal and lost is part of the first one here.
                let amount = amount.checked_add(std::mem::take(&mut self.lost)).unwrap();
                self.provider.on_payment(amount, self.now).unwrap();
                self.vouchers_paid += 1;
            }
            Some(other) => panic!("{other:?}"),
        }
        if self.is_ending {
            self.close();
        }
        true
    }

    fn carry_out(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Send(up) => self.up.push_back(up),
                Step::Pay(amount) => assert_eq!(self.paying.replace(amount), None, "one payment at a time"),
                Step::Done => self.is_done = true,
            }
        }
    }

    /// What must hold at every instant.
    fn check(&self, price: PricePerByte) {
        let worth = price.cost_of(self.client.staged()).unwrap();
        assert!(self.client.paid() <= worth, "never paid before staged");
        if !price.is_free() {
            let allowed = self.provider.unpaid() <= Bytes::new(2 * self.provider_interval().get());
            assert!(allowed, "unpaid {}", self.provider.unpaid());
        }
        assert!(self.provider.sent() <= self.tree.size);
        let under_way = self.client.received().saturating_sub(self.client.staged());
        assert!(under_way <= limit::CREDIT_WINDOW);
    }

    /// The largest interval that so many vouchers can have earned.
    fn provider_interval(&self) -> Bytes {
        Bytes::new(limit::INTERVAL_MIN.get() << self.vouchers_paid.min(4))
    }

    /// Runs with the given order of actors until done or `moves` are over; after that order, in turn.
    fn run(&mut self, price: PricePerByte, actors: &[u8], moves: usize) -> bool {
        let mut order = actors.iter().copied();
        for _ in 0..moves {
            let first = order.next().unwrap_or(0) % 5;
            if !(0..5).any(|shift| self.step((first + shift) % 5)) {
                assert!(self.is_done, "nobody can move and the deal is not done");
                return true;
            }
            self.check(price);
        }
        self.is_done
    }
}

/// Blocks that are staged after a break: the prefix whose staging was reported.
fn staged_blocks(tree: &Tree, skip: usize, staged: Bytes, is_done: bool) -> usize {
    let mut left = staged;
    let mut count = skip;
    // Empty blocks cost nothing to have sent again, except at the end, where nothing is left to ask for.
    while let Some(block) = tree.order.get(count)
        && block.size() <= left
        && (!left.is_zero() || is_done)
    {
        left = left.saturating_sub(block.size());
        count += 1;
    }
    assert!(left.is_zero());
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_break_keep_the_bounds_and_pay_exactly(
        sizes in proptest::collection::vec(0usize..700_000, 1..40),
        price in prop_oneof![Just(0u128), 1u128..100, Just(1u128 << 30), (1u128 << 50)..(1u128 << 60)],
        actors in proptest::collection::vec(any::<u8>(), 0..600),
        breaks in proptest::collection::vec(1usize..120, 0..4),
        lost in prop_oneof![Just(0u64), 1u64..20_000_000],
    ) {
        let tree = tree(&sizes);
        let price = PricePerByte::per_gib(AttoFil::new(price));
        let (mut skip, mut bought, mut spent) = (0, Bytes::ZERO, AttoFil::ZERO);
        for moves in breaks.into_iter().chain([usize::MAX >> 1]) {
            let mut deal = Deal::new(&tree, price, skip);
            deal.lost = price.cost_of(Bytes::new(lost)).unwrap();
            let is_done = deal.run(price, &actors, moves);
            let staged = deal.client.staged();
            spent = spent.checked_add(deal.client.paid()).unwrap();
            prop_assert!(deal.client.paid() <= price.cost_of(staged).unwrap());
            bought = bought.saturating_add(staged);
            skip = staged_blocks(&tree, skip, staged, is_done);
            if is_done {
                if lost == 0 {
                    prop_assert_eq!(deal.client.paid(), price.cost_of(staged).unwrap());
                }
                prop_assert!(deal.provider.paid() >= price.cost_of(deal.provider.sent()).unwrap());
                break;
            }
        }
        prop_assert_eq!(skip, tree.order.len());
        prop_assert_eq!(bought, tree.size, "each byte counted once, over all deals");
        // Each deal rounds up once.
        let most = price.cost_of(tree.size).unwrap().checked_add(AttoFil::new(5)).unwrap();
        prop_assert!(spent <= most);
    }
}
