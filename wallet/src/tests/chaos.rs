//! Random days in the life of two wallets: links fail, processes die, channels settle. In the end every atto
//! that was accepted has arrived, and nothing else moved.

use super::*;
use crate::ChannelPhase;
use crate::tests::faulty::Fault;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What the payee was ever told that it owns, by its own acknowledgements.
struct Day {
    world: World,
    dice: Dice,
    holds: Vec<Lanehold>,
    last: Option<Voucher>,
    accepted: u128,
}

impl Day {
    async fn step(&mut self) {
        match self.dice.roll(12) {
            0 | 1 => self.hold().await,
            2..=5 => self.pay(true).await,
            6 => self.pay(false).await,
            7 => self.repeat(),
            8 => self.restart(),
            9 => self.flip_link(),
            10 => self.settle().await,
            _ => self.tick().await,
        }
    }

    async fn hold(&mut self) {
        let deal = [u8::try_from(self.dice.roll(5)).unwrap(); 16];
        let need = fil(u128::from(self.dice.roll(300)));
        let payee = self.world.payee.address();
        if let Ok(hold) = self.world.payer.wallet().ensure_channel(&payee, deal, need).await {
            self.holds.retain(|held| held.deal != deal);
            self.holds.push(hold);
        }
    }

    async fn pay(&mut self, arrives: bool) {
        if self.holds.is_empty() {
            return;
        }
        let which = usize::try_from(self.dice.roll(8)).unwrap() % self.holds.len();
        let hold = self.holds[which].clone();
        let add = fil(1 + u128::from(self.dice.roll(40)));
        let Ok(voucher) = self.world.payer.wallet().voucher(&hold, add, Bytes::MIB, NOON) else {
            self.holds.remove(which);
            return;
        };
        if arrives {
            let _ = self.world.payee.wallet().admit(&hold.channel, None).await;
            if let Ok(accepted) = self.world.accept(&voucher) {
                self.accepted += accepted.delta.get();
                self.last = Some(voucher);
            }
        }
    }

    /// The last accepted voucher again: never more money.
    fn repeat(&mut self) {
        if let Some(Ok(accepted)) = self.last.as_ref().map(|voucher| self.world.accept(voucher)) {
            assert_eq!(accepted.delta, AttoFil::ZERO);
        }
    }

    fn restart(&mut self) {
        match self.dice.roll(2) {
            0 => {
                self.world.payer.restart();
                self.holds.clear();
            }
            _ => self.world.payee.restart(),
        }
    }

    fn flip_link(&mut self) {
        let fault = match self.dice.roll(4) {
            0 => Fault::Lost,
            1 => Fault::AnswerLost,
            2 => Fault::Refused,
            _ => Fault::None,
        };
        self.world.payer.chain.set(fault);
        let fault = if self.dice.roll(3) == 0 { Fault::AnswerLost } else { Fault::None };
        self.world.payee.chain.set(fault);
    }

    async fn settle(&mut self) {
        if self.dice.roll(4) != 0 {
            return;
        }
        let Some(channel) = self.holds.first().map(|hold| hold.channel) else {
            return;
        };
        let side = if self.dice.roll(2) == 0 { &self.world.payer } else { &self.world.payee };
        let _ = side.wallet().settle(&channel).await;
        // The payee looks more often than settling takes.
        for _ in 0..3 {
            self.world.devnet.advance(480).unwrap();
            self.world.payee.chain.set(Fault::None);
            self.world.payee.wallet().tick().await.unwrap();
        }
        let _ = self.world.payer.wallet().tick().await;
    }

    async fn tick(&mut self) {
        let _ = self.world.payer.wallet().tick().await;
        let _ = self.world.payee.wallet().tick().await;
        let days = u32::try_from(self.dice.roll(100)).unwrap();
        self.world.devnet.advance(days).unwrap();
    }

    /// Everything is settled and paid out.
    ///
    /// Returns how much was accepted, over how many channels.
    async fn end(mut self) -> (u128, usize) {
        self.world.payer.restart();
        self.world.payee.restart();
        for side in [&self.world.payer, &self.world.payee] {
            side.chain.set(Fault::None);
            side.wallet().tick().await.unwrap();
        }
        for channel in self.world.payer.wallet().channels().unwrap() {
            if channel.state == ChannelPhase::Open {
                let _ = self.world.payee.wallet().track(&channel.channel).await;
                self.world.payer.wallet().settle(&channel.channel).await.unwrap();
            }
        }
        for _ in 0..4 {
            self.world.payee.wallet().tick().await.unwrap();
            self.world.devnet.advance(480).unwrap();
        }
        for side in [&self.world.payee, &self.world.payer, &self.world.payee] {
            let report = side.wallet().tick().await.unwrap();
            assert!(report.failed.is_empty() && report.pending == 0, "{report:?}");
            for channel in side.wallet().channels().unwrap() {
                assert_eq!(channel.state, ChannelPhase::Closed);
            }
        }
        assert_eq!(self.world.balance(&self.world.payee), self.accepted);
        assert_eq!(self.world.balance(&self.world.payer), AttoFil::from_fil(1000).get() - self.accepted);
        let earnings = self.world.payee.wallet().earnings().unwrap();
        assert_eq!((earnings.earned, earnings.collected), (fil(self.accepted), fil(self.accepted)));
        self.world.assert_conserved();
        (self.accepted, earnings.channels.len())
    }
}

#[tokio::test]
async fn what_was_accepted_arrives_whatever_happens() {
    let (mut accepted, mut channels) = (0, 0);
    for seed in 0..12 {
        let mut day =
            Day { world: World::new().await, dice: Dice(seed), holds: Vec::new(), last: None, accepted: 0 };
        for _ in 0..80 {
            day.step().await;
            let books = day.world.payer.wallet().earnings().unwrap().books;
            assert_eq!(books.debits, books.credits);
        }
        let (money, closed) = day.end().await;
        (accepted, channels) = (accepted + money, channels + closed);
    }
    // The dice did not let everything fail.
    assert!(accepted > 1000 && channels > 12, "{accepted} over {channels}");
}
