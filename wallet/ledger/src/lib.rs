//! The books: double entry, so that money can be moved but not made.
//!
//! Every voucher, deposit and settlement is a [`Transfer`] from one account to another. This crate decides
//! what a transfer changes and hands the changed rows back; the caller writes them in the same durable step
//! as the thing they account for, so that books and vouchers cannot drift apart. It holds no state itself.

mod account;
mod post;
mod transfer;

pub use crate::account::{AccountId, Balance};
pub use crate::post::{Books, BooksError, PostError, Posting, Row, balance, balances, post, totals};
pub use crate::transfer::{Transfer, TransferId};
