//! The answers, one module for each form of content.

pub(crate) mod car;
pub(crate) mod codec;
pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod raw;
pub(crate) mod tar;
