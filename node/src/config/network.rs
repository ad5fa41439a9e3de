//! A part of the internet, by its addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::setting::Part;

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl Part for Network {}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = || text.parse().map(|address: IpAddr| IpNet::from(address)).ok();
        let network = text.parse().ok().or_else(one);
        network.map(Self).ok_or_else(|| "no network; write it like 10.0.0.0/8 or ::1".to_owned())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
