//! Transactions, routing, offers, deals and replication as state machines.
//!
//! Each machine is a plain struct: an input and the time go in, steps come out. Tasks of the node own the
//! sockets, disks and clocks and carry the steps out; so a test is a table, and a race is an ordering that a
//! test can choose. Nothing here waits, sleeps, reads a clock or opens anything.

pub mod deal;
pub mod offer;
pub mod replicate;
pub mod route;
pub mod tx;
