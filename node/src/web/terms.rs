//! On which terms content is fetched for requests, and why it was not.

use std::time::Duration;

use pop_gateway::{Miss, Offer};
use pop_units::{AttoFil, PricePerByte};

use crate::config::{Config, FetchChoice};
use crate::trade::{FetchError, PurseError, Quote, Strategy, told};

/// The most that the search is shorter than what a request waits, so that what was tried is told before time is up.
const HEAD_START: Duration = Duration::from_secs(1);

/// What the owner allows.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    choice: FetchChoice,
    pub(super) max_price: PricePerByte,
    pub(super) max_spend: AttoFil,
    pub(super) strategy: Strategy,
    /// How long to look for offers.
    pub(super) timeout: Duration,
}

impl Terms {
    pub(super) fn of(config: &Config) -> Self {
        let timeout = config.gateway_timeout.as_duration();
        let (max_price, max_spend, strategy) = match config.gateway_fetch {
            FetchChoice::Off | FetchChoice::Free => (PricePerByte::FREE, AttoFil::ZERO, Strategy::First),
            FetchChoice::Paid => (config.max_price, config.gateway_fetch_spend, Strategy::Cheapest),
        };
        let timeout = timeout.saturating_sub(HEAD_START.min(timeout / 10));
        Self { choice: config.gateway_fetch, max_price, max_spend, strategy, timeout }
    }

    pub(super) fn may_fetch(&self) -> bool {
        self.choice != FetchChoice::Off
    }
}

/// Returns what a retrieval's failure is to whoever waits for the content.
pub(super) fn miss(error: FetchError, timeout: Duration) -> Miss {
    let why = told(&error);
    match error {
        FetchError::NotFound { asked: 0 } => {
            Miss::TimedOut { tried: format!("this node found no peer to ask within {}", seconds(timeout)) }
        }
        FetchError::NotFound { asked } => Miss::NotFound { tried: asked_of(asked) },
        FetchError::NoPath(_) => Miss::NoPath { why },
        FetchError::TimedOut(tried) => Miss::TimedOut { tried },
        FetchError::Refused { quote: Some(quote), .. } => Miss::Priced(Box::new(offer(*quote))),
        FetchError::Purse(PurseError::Funds { .. }) => {
            Miss::Refused { why: "this node's wallet does not cover the price".to_owned() }
        }
        FetchError::Refused { quote: None, .. }
        | FetchError::BadData { .. }
        | FetchError::Broken { .. }
        | FetchError::Purse(_) => Miss::Refused { why },
        FetchError::Store(_) => Miss::Full { why },
        FetchError::Stopped => Miss::Stopped,
    }
}

fn offer(quote: Quote) -> Offer {
    Offer {
        root: quote.root,
        size: quote.size,
        price: quote.price,
        cost: quote.cost,
        providers: quote.providers.iter().map(ToString::to_string).collect(),
        payee: quote.payee.map(|payee| payee.to_string()),
        chain: Some(quote.chain),
        expires: Some(quote.expiry),
    }
}

fn asked_of(peers: usize) -> String {
    if peers == 1 { "1 peer was asked".to_owned() } else { format!("{peers} peers were asked") }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f32())
}
