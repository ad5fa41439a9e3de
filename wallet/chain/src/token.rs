//! The secret that admits a caller.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::cids;

/// A bearer token; never printed, erased when dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Wraps a token; `None` where it is empty or no header could carry it.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Compares in a time that tells nothing about the token.
    pub fn admits(&self, shown: &str) -> bool {
        let [own, shown] = [self.0.as_bytes(), shown.as_bytes()].map(|t| cids::blake2b_256(&[t]));
        own.ct_eq(&shown).into()
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
