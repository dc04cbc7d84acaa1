//! The address table: which addresses belong to the public internet and which mean this machine, its neighbours, or
//! nobody. Refusing is the default: what no registry has handed out for public use is not public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First address and prefix length of the IPv4 networks that are not the public internet.
const SPECIAL_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),       // "this network"
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // shared by carriers, and some clouds' metadata
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, and most clouds' metadata
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // relays of 6to4
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved
    ([255, 255, 255, 255], 32),
];

/// The same within 2000::/3; all of IPv6 outside it is special.
const SPECIAL_V6: [([u16; 2], u32); 3] = [
    ([0x2001, 0], 23),     // protocol assignments, Teredo among them
    ([0x2001, 0xdb8], 32), // documentation
    ([0x3fff, 0], 20),     // documentation
];

pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => embedded(address).map_or_else(|| is_public_v6(v6), is_public_v4),
    }
}

/// The IPv4 address that a mapped, compatible or 6to4 address leads to.
pub(super) fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let ([0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x2002, high, low, ..]) = v6.segments() else { return None };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|&(net, length)| (v4.to_bits() ^ Ipv4Addr::from(net).to_bits()) >> (32 - length) == 0)
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let s = v6.segments();
    let top = |words: [u16; 2]| u32::from(words[0]) << 16 | u32::from(words[1]);
    let head = top([s[0], s[1]]);
    head >> 29 == 0b001 && !SPECIAL_V6.iter().any(|&(net, length)| (head ^ top(net)) >> (32 - length) == 0)
}
