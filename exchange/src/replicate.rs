//! Keeping copies elsewhere: whom to ask, who may pull, and how much others may store here.

mod authorisation;
mod quota;
mod rounds;

pub use crate::replicate::authorisation::{Authorisations, Bound, TokenRefusal};
pub use crate::replicate::quota::{Quota, QuotaRefusal};
pub use crate::replicate::rounds::{Outcome, Plan, Rounds, Step};

#[cfg(test)]
mod tests;
