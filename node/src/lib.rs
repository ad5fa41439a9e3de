//! The daemon: one swarm loop, a few tasks around it, a control API on a unix socket.
//!
//! Only this crate owns sockets, clocks and disks at run time; the rooms below it hold rules without I/O.

mod api;
pub mod config;
mod content;
pub mod daemon;
mod fault;
pub mod log;
pub mod money;
pub mod net;
mod node;
pub mod pool;
pub mod repo;
pub mod rpc_server;
pub mod trade;
mod web;
