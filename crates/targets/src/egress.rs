//! Where a request may go: the guard in front of the one outbound client.
//!
//! Whoever may write a rule may name a URL, so a URL is a way to make this server speak to what
//! only this server reaches: its own host, the private network, a cloud's metadata service. The
//! guard looks twice. [`Egress::check_url`] reads the URL when it is configured and again at each
//! attempt; [`Egress::check_address`] looks at every address that the name resolved to, and at
//! the peer once connected. Pure functions both: resolving and connecting belong to `client`.
//!
//! Decided here, where the text left room:
//!
//! - `http` goes to a host or address that is listed, to loopback while loopback is allowed, and
//!   anywhere when `http_allowed`. A *name* over `http` passes `check_url` as soon as some CIDR is
//!   listed, since only its addresses can tell; `check_address` then holds it to that.
//! - A listed *name* vouches for every address it resolves to, but never for metadata addresses
//!   and never for our own ports. A listed *CIDR* vouches for its addresses, whatever the name;
//!   `localhost`, `*.local` and `*.internal` still want their name listed.
//! - The port deny list spares listed names, listed addresses and allowed loopback. A name that
//!   resolves into a listed CIDR is not known as such at configuration time: it wants its name
//!   listed to use a denied port.
//! - An address that carries another (IPv4-mapped, NAT64, 6to4, Teredo) passes only where an IPv6
//!   entry covers the form itself and what it carries could pass as well.
//! - We read URLs more strictly than the parser that we then trust: what browsers repair
//!   (tabs, backslashes, missing slashes) is refused, so that nobody reads another host than we.
//!
//! Source: reliability-security.md 8. Start at [`Egress::check_url`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use crate::limits::URL_BYTES_MAX;

/// Ports of services that take an HTTP request for a command, or that no webhook lives on.
const PORTS_DENIED: [u16; 11] = [22, 25, 53, 111, 135, 139, 445, 2375, 2379, 6379, 11211];

/// Metadata and platform services of the clouds. Only an entry that is exactly the address helps.
const METADATA: [IpAddr; 8] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

const FORBIDDEN_V4: [(Ipv4Addr, u8, &str); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "of this host"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(255, 255, 255, 255), 32, "broadcast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

const FORBIDDEN_V6: [(Ipv6Addr, u8, &str); 11] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discarded"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "for documentation",
    ),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "for documentation",
    ),
    (
        Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0),
        16,
        "for segment routing",
    ),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// What `[egress]` of the configuration says, and what we listen on.
#[derive(Debug, Clone, Default)]
pub struct EgressSettings {
    /// Exact hosts, addresses and CIDRs that are allowed beyond the public internet.
    pub allow: Vec<String>,
    /// True while our API listens on loopback only: a first webhook works without a setting.
    pub loopback_allowed: bool,
    /// `http` to any allowed host, not only to listed ones.
    pub http_allowed: bool,
    /// Our own listening addresses, and the engine's in cluster mode: never allowed. An
    /// unspecified address (`0.0.0.0:4100`) stands for every address of this host.
    pub own: Vec<SocketAddr>,
}

/// An entry of the allow-list that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}`: {why}")]
pub struct EntryError {
    /// The entry as given.
    pub entry: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Why a URL or an address was turned down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It cannot be read, or only by guessing.
    #[error("not a URL that can be called: {0}")]
    Malformed(&'static str),
    /// Neither `https` nor `http`.
    #[error("scheme `{0}` is not allowed, use https")]
    Scheme(String),
    /// `user:password@`.
    #[error("user name and password are not allowed in a URL")]
    UserInfo,
    /// A name or an address that is forbidden.
    #[error("destination address is not allowed")]
    Destination {
        /// The name or address.
        subject: String,
        /// What it is, to follow "`subject` is".
        why: &'static str,
        /// The entry that would allow it; `None` where no entry does.
        entry: Option<String>,
    },
    /// `http` to what is not listed.
    #[error("http is not allowed to `{0}`, use https")]
    Http(String),
    /// A port of the deny list.
    #[error("port {port} is not allowed")]
    Port {
        /// The port.
        port: u16,
        /// The entry that would allow it.
        entry: String,
    },
}

impl Refusal {
    /// The line of `busbar.toml` that would allow it, if one would.
    #[must_use]
    pub fn line_to_add(&self) -> Option<String> {
        let entry = match self {
            Self::Destination { entry, .. } => entry.as_ref()?,
            Self::Http(entry) | Self::Port { entry, .. } => entry,
            Self::Malformed(_) | Self::Scheme(_) | Self::UserInfo => return None,
        };
        Some(format!("[egress] allow = [\"{entry}\"]"))
    }

    /// For people: what was refused, why, and what to add.
    #[must_use]
    pub fn help(&self) -> String {
        let mut text = self.to_string();
        if let Self::Destination { subject, why, .. } = self {
            text.push_str(&format!(": {subject} is {why}"));
        }
        if let Some(line) = self.line_to_add() {
            text.push_str(&format!("; to allow it: {line}"));
        }
        text
    }
}

/// The guard. Made once from the settings; cheap to ask.
#[derive(Debug, Clone)]
pub struct Egress {
    nets: Vec<Net>,
    names: Vec<String>,
    loopback_allowed: bool,
    http_allowed: bool,
    own: Vec<SocketAddr>,
}

/// An address range. IPv4 and IPv6 never cover each other.
#[derive(Debug, Clone, Copy)]
struct Net {
    first: IpAddr,
    prefix: u8,
}

impl Egress {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first entry that is neither a host name, an address nor a CIDR.
    pub fn new(settings: &EgressSettings) -> Result<Self, EntryError> {
        let mut nets = Vec::new();
        let mut names = Vec::new();
        for entry in &settings.allow {
            let fail = |why| EntryError {
                entry: entry.clone(),
                why,
            };
            match read_entry(entry).map_err(fail)? {
                Entry::Net(net) => nets.push(net),
                Entry::Name(name) => names.push(name),
            }
        }
        Ok(Self {
            nets,
            names,
            loopback_allowed: settings.loopback_allowed,
            http_allowed: settings.http_allowed,
            own: settings.own.clone(),
        })
    }

    /// Reads a URL and checks all that can be told without asking a resolver.
    ///
    /// A name that resolves to nothing, or to what is forbidden, passes here: that is a matter of
    /// each attempt.
    ///
    /// # Errors
    /// [`Refusal`], with the entry that would allow it.
    pub fn check_url(&self, text: &str) -> Result<Url, Refusal> {
        let url = parse(text)?;
        self.check_parsed(&url)?;
        Ok(url)
    }

    /// The same for a URL that is parsed already: what each attempt asks.
    ///
    /// # Errors
    /// As [`Egress::check_url`].
    pub fn check_parsed(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        let port = url.port_or_known_default().unwrap_or(0);
        if port == 0 {
            return Err(Refusal::Malformed("the port is 0"));
        }
        crate::client::path_and_query(url).ok_or(Refusal::Malformed("the path cannot be sent"))?;
        match url.host() {
            None => Err(Refusal::Malformed("there is no host")),
            Some(Host::Ipv4(ip)) => self.check_address(IpAddr::V4(ip), url),
            Some(Host::Ipv6(ip)) => self.check_address(IpAddr::V6(ip), url),
            Some(Host::Domain(name)) => self.check_name(name, port, url.scheme() == "http"),
        }
    }

    fn check_name(&self, name: &str, port: u16, http: bool) -> Result<(), Refusal> {
        let name = name.strip_suffix('.').unwrap_or(name);
        check_labels(name)?;
        let listed = self.names.iter().any(|n| n == name);
        let loopback = name == "localhost" || name.ends_with(".localhost");
        let vouched = listed || (loopback && self.loopback_allowed);
        let refuse = |why, entry| Refusal::Destination {
            subject: name.to_owned(),
            why,
            entry,
        };
        if loopback && self.own.iter().any(|own| own.port() == port) {
            return Err(refuse("this server itself", None));
        }
        let inner = name == "local"
            || name == "internal"
            || name.ends_with(".local")
            || name.ends_with(".internal");
        if (loopback || inner) && !vouched {
            return Err(refuse("a local name", Some(name.to_owned())));
        }
        if PORTS_DENIED.contains(&port) && !vouched {
            return Err(Refusal::Port {
                port,
                entry: name.to_owned(),
            });
        }
        if http && !vouched && !self.http_allowed && self.nets.is_empty() {
            return Err(Refusal::Http(name.to_owned()));
        }
        Ok(())
    }

    /// Checks one address that the host of `url` is, or resolved to, or is connected to.
    ///
    /// # Errors
    /// [`Refusal`], with the entry that would allow it.
    pub fn check_address(&self, ip: IpAddr, url: &Url) -> Result<(), Refusal> {
        let port = url.port_or_known_default().unwrap_or(0);
        let carried = carried_by(ip);
        let every = || std::iter::once(ip).chain(carried.iter().copied());
        let refuse = |why, entry: Option<String>| Refusal::Destination {
            subject: ip.to_string(),
            why,
            entry,
        };

        if every().any(|ip| self.is_own(ip, port)) {
            return Err(refuse("this server itself", None));
        }
        if let Some(metadata) = every().find(|ip| METADATA.contains(ip))
            && !self.nets.iter().any(|net| net.is_exactly(metadata))
        {
            return Err(refuse("a metadata service", Some(format!("{metadata}"))));
        }
        let name_listed = match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                self.names.iter().any(|n| n == name)
            }
            _ => false,
        };
        if name_listed || self.listed(ip, &carried) {
            return Ok(());
        }
        let loopback = match ip {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        if loopback && self.loopback_allowed {
            return Ok(());
        }
        if let Some(why) = forbidden(ip) {
            return Err(refuse(why, Some(ip.to_string())));
        }
        if PORTS_DENIED.contains(&port) {
            return Err(Refusal::Port {
                port,
                entry: ip.to_string(),
            });
        }
        if url.scheme() == "http" && !self.http_allowed {
            return Err(Refusal::Http(ip.to_string()));
        }
        Ok(())
    }

    /// Checks a connection that was made: whoever listens on every address of this host is met
    /// where both ends are the same address.
    ///
    /// # Errors
    /// As [`Egress::check_address`].
    pub fn check_peer(
        &self,
        peer: SocketAddr,
        local: SocketAddr,
        url: &Url,
    ) -> Result<(), Refusal> {
        let on_every = |own: &SocketAddr| own.ip().is_unspecified() && own.port() == peer.port();
        if peer.ip() == local.ip() && self.own.iter().any(on_every) {
            return Err(Refusal::Destination {
                subject: peer.ip().to_string(),
                why: "this server itself",
                entry: None,
            });
        }
        self.check_address(peer.ip(), url)
    }

    /// An address that carries others passes only together with them.
    fn listed(&self, ip: IpAddr, carried: &[IpAddr]) -> bool {
        let listed = |ip| self.nets.iter().any(|net| net.covers(ip));
        listed(ip)
            && carried
                .iter()
                .all(|ip| listed(*ip) || forbidden(*ip).is_none())
    }

    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        self.own.iter().any(|own| {
            own.port() == port
                && (own.ip() == ip
                    || ip.is_unspecified()
                    || (own.ip().is_unspecified() && ip.is_loopback()))
        })
    }
}

enum Entry {
    Net(Net),
    Name(String),
}

fn read_entry(entry: &str) -> Result<Entry, &'static str> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|e| e.strip_suffix(']'))
        .unwrap_or(entry);
    if let Ok(first) = bare.parse::<IpAddr>() {
        let prefix = if first.is_ipv4() { 32 } else { 128 };
        return Ok(Entry::Net(Net { first, prefix }));
    }
    if let Some((address, prefix)) = entry.split_once('/') {
        let first: IpAddr = address.parse().map_err(|_| "not an address before `/`")?;
        let prefix: u8 = prefix.parse().map_err(|_| "not a number after `/`")?;
        if prefix > if first.is_ipv4() { 32 } else { 128 } {
            return Err("the prefix is too long");
        }
        let net = Net { first, prefix };
        // `10.0.0.5/8` is more likely a mistaken 10.0.0.5 than a wish for all of 10/8.
        if net.masked(first) != bits(first) {
            return Err("the address has bits beyond the prefix");
        }
        return Ok(Entry::Net(net));
    }
    if entry.contains([':', '*', '@', '?', '#', '\\', '%']) {
        return Err("neither a host name, an address nor a CIDR");
    }
    let url = parse(&format!("https://{entry}/")).map_err(|_| "not a host name")?;
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            check_labels(name).map_err(|_| "not a host name")?;
            Ok(Entry::Name(name.to_owned()))
        }
        _ => Err("write the address in its usual form"),
    }
}

/// Reads a URL as the URL standard does, after refusing what the standard would repair.
fn parse(text: &str) -> Result<Url, Refusal> {
    if text.len() > URL_BYTES_MAX {
        return Err(Refusal::Malformed("it is too long"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Refusal::Malformed("it has blanks or control characters"));
    }
    if text.contains('\\') {
        return Err(Refusal::Malformed("it has a backslash"));
    }
    let url = Url::parse(text).map_err(|_| Refusal::Malformed("it cannot be read"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(Refusal::Scheme(url.scheme().to_owned()));
    }
    let (_, rest) = text
        .split_once("://")
        .ok_or(Refusal::Malformed("`//` is missing"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(Refusal::Malformed("there is no host"));
    }
    // The parser drops an empty `@`, which other readers may see otherwise.
    if authority.contains('@') {
        return Err(Refusal::UserInfo);
    }
    Ok(url)
}

fn check_labels(name: &str) -> Result<(), Refusal> {
    let good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() <= 253 && name.split('.').all(good) {
        Ok(())
    } else {
        Err(Refusal::Malformed("the host is not a name"))
    }
}

/// What is wrong with an address that no entry lists; `None` for a public one.
fn forbidden(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(v4) => FORBIDDEN_V4
            .iter()
            .find(|(first, prefix, _)| Net::new(IpAddr::V4(*first), *prefix).covers(ip))
            .map(|(_, _, why)| *why)
            .or_else(|| METADATA.contains(&IpAddr::V4(v4)).then_some("metadata")),
        IpAddr::V6(v6) => {
            if v6.is_unspecified() {
                return Some("unspecified");
            }
            if v6.is_loopback() {
                return Some("loopback");
            }
            if !carried_by(ip).is_empty() {
                return Some("an IPv4 address in disguise");
            }
            FORBIDDEN_V6
                .iter()
                .find(|(first, prefix, _)| Net::new(IpAddr::V6(*first), *prefix).covers(ip))
                .map(|(_, _, why)| *why)
                .or_else(|| (v6.segments()[0] & 0xe000 != 0x2000).then_some("not public"))
        }
    }
}

/// The IPv4 addresses that an IPv6 address of a transition mechanism leads to.
fn carried_by(ip: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = ip else {
        return Vec::new();
    };
    let bits = v6.to_bits();
    let at = |shift: u32| IpAddr::V4(Ipv4Addr::from_bits((bits >> shift) as u32));
    let s = v6.segments();
    match s {
        // `::` and `::1` are addresses of their own.
        _ if bits <= 1 => Vec::new(),
        // Mapped, and compatible.
        [0, 0, 0, 0, 0, 0xffff | 0, _, _] => vec![at(0)],
        // Translated (SIIT).
        [0, 0, 0, 0, 0xffff, 0, _, _] => vec![at(0)],
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => vec![at(0)],
        // A /48 carries the address around the octet 64..72 (RFC 6052 2.2), a /96 below it at the end.
        [0x64, 0xff9b, 1, high, low, last, _, _] => {
            let around =
                (u32::from(high) << 16) | (u32::from(low & 0xff) << 8) | u32::from(last >> 8);
            let around = IpAddr::V4(Ipv4Addr::from_bits(around));
            if bits as u32 == 0 {
                vec![around]
            } else {
                vec![at(0), around]
            }
        }
        [0x2002, ..] => vec![at(80)],
        // The server, and the client behind a mask.
        [0x2001, 0, ..] => vec![at(64), IpAddr::V4(Ipv4Addr::from_bits(!(bits as u32)))],
        _ => Vec::new(),
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Net {
    const fn new(first: IpAddr, prefix: u8) -> Self {
        Self { first, prefix }
    }

    fn masked(self, ip: IpAddr) -> u128 {
        let mask = if self.prefix == 0 {
            0
        } else {
            u128::MAX << (128 - u32::from(self.prefix))
        };
        bits(ip) & mask
    }

    fn covers(self, ip: IpAddr) -> bool {
        self.first.is_ipv4() == ip.is_ipv4() && self.masked(ip) == bits(self.first)
    }

    fn is_exactly(self, ip: IpAddr) -> bool {
        let whole = if ip.is_ipv4() { 32 } else { 128 };
        self.prefix == whole && self.first == ip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str], loopback_allowed: bool) -> Egress {
        Egress::new(&EgressSettings {
            allow: allow.iter().map(|&e| e.to_owned()).collect(),
            loopback_allowed,
            http_allowed: false,
            own: vec![
                "127.0.0.1:4100".parse().unwrap(),
                "0.0.0.0:4101".parse().unwrap(),
            ],
        })
        .unwrap()
    }

    /// What a URL came to, in a word.
    fn word(result: &Result<Url, Refusal>) -> &'static str {
        match result {
            Ok(_) => "ok",
            Err(Refusal::Malformed(_)) => "malformed",
            Err(Refusal::Scheme(_)) => "scheme",
            Err(Refusal::UserInfo) => "user",
            Err(Refusal::Destination { .. }) => "forbidden",
            Err(Refusal::Http(_)) => "http",
            Err(Refusal::Port { .. }) => "port",
        }
    }

    #[track_caller]
    fn check(guard: &Egress, table: &[(&str, &str)]) {
        for (url, expected) in table {
            let result = guard.check_url(url);
            assert_eq!(word(&result), *expected, "{url}: {result:?}");
        }
    }

    #[test]
    fn without_a_setting_only_public_https_passes() {
        check(
            &guard(&[], false),
            &[
                ("https://example.com/hook", "ok"),
                ("https://example.com", "ok"),
                ("https://example.com.:8443/a?b=c#d", "ok"),
                ("https://EXAMPLE.com/", "ok"),
                ("https://bücher.example/", "ok"),
                ("https://93.184.216.34/", "ok"),
                ("https://[2606:2800:220:1::1]/", "ok"),
                ("https://nonexistent.invalid/", "ok"),
                ("https://a_b.example.com/", "ok"),
                ("https://1.2.3.4.example.com/", "ok"),
                ("http://example.com/", "http"),
                ("http://93.184.216.34/", "http"),
                // Schemes, and what a browser would repair.
                ("ftp://example.com/", "scheme"),
                ("file:///etc/passwd", "scheme"),
                ("gopher://127.0.0.1:6379/_x", "scheme"),
                ("unix:/var/run/docker.sock", "scheme"),
                ("javascript:alert(1)", "scheme"),
                ("ws://example.com/", "scheme"),
                ("", "malformed"),
                ("example.com/hook", "malformed"),
                ("https:example.com", "malformed"),
                ("https:/example.com", "malformed"),
                ("https:///example.com", "malformed"),
                ("https://", "malformed"),
                ("https:\\\\example.com", "malformed"),
                ("https://example.com\\@127.0.0.1/", "malformed"),
                (" https://example.com/", "malformed"),
                ("https://exam\tple.com/", "malformed"),
                ("https://example.com/\r\nX: y", "malformed"),
                ("https://user@example.com/", "user"),
                ("https://user:pw@example.com/", "user"),
                ("https://@example.com/", "user"),
                ("https://:@example.com/", "user"),
                ("https://example.com@127.0.0.1/", "user"),
                // Ports.
                ("https://example.com:0/", "malformed"),
                ("https://example.com:65536/", "malformed"),
                ("https://example.com:22/", "port"),
                ("https://example.com:25/", "port"),
                ("https://example.com:6379/", "port"),
                ("https://93.184.216.34:11211/", "port"),
                // Names.
                ("https://a..example.com/", "malformed"),
                ("https://.example.com/", "malformed"),
                ("https://example.com../", "malformed"),
                ("https://*.example.com/", "malformed"),
                ("https://ex%00ample.com/", "malformed"),
                ("https://xn--\u{fffd}/", "malformed"),
                ("https://localhost/", "forbidden"),
                ("https://LOCALHOST/", "forbidden"),
                ("https://localhost./", "forbidden"),
                ("https://a.localhost/", "forbidden"),
                ("https://printer.local/", "forbidden"),
                ("https://printer.local./", "forbidden"),
                ("https://metadata.google.internal/", "forbidden"),
                ("https://ｌocalhost/", "forbidden"),
                // IPv4 in all its spellings.
                ("https://127.0.0.1/", "forbidden"),
                ("https://127.1/", "forbidden"),
                ("https://2130706433/", "forbidden"),
                ("https://0x7f000001/", "forbidden"),
                ("https://0177.0.0.1/", "forbidden"),
                ("https://0x7f.0.0.0x1/", "forbidden"),
                ("https://127.0.0.1./", "forbidden"),
                ("https://１２７.０.０.１/", "forbidden"),
                ("https://127。0。0。1/", "forbidden"),
                ("https://%31%32%37.0.0.1/", "forbidden"),
                ("https://0/", "forbidden"),
                ("https://10.0.0.5/", "forbidden"),
                ("https://169.254.169.254/latest/meta-data/", "forbidden"),
                ("https://168.63.129.16/", "forbidden"),
                ("https://256.0.0.1/", "malformed"),
                // IPv6.
                ("https://[::]/", "forbidden"),
                ("https://[::1]/", "forbidden"),
                ("https://[::ffff:127.0.0.1]/", "forbidden"),
                ("https://[::ffff:8.8.8.8]/", "forbidden"),
                ("https://[::7f00:1]/", "forbidden"),
                ("https://[64:ff9b::a00:5]/", "forbidden"),
                ("https://[2002:7f00:1::]/", "forbidden"),
                ("https://[fe80::1]/", "forbidden"),
                ("https://[fe80::1%25eth0]/", "malformed"),
                ("https://[::1/", "malformed"),
            ],
        );
    }

    #[test]
    fn forbidden_addresses_are_forbidden_at_both_ends_of_their_range() {
        let guard = guard(&[], false);
        let url = Url::parse("https://name.example/").unwrap();
        for ip in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.255",
            "192.0.2.0",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.0",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "168.63.129.16",
            "100.100.100.200",
            "::",
            "::1",
            "::2",
            "::ffff:0:0",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            "100::1",
            "2001::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "feff::1",
            "ff02::1",
            "4000::1",
            "1fff::1",
            "e000::1",
        ] {
            let result = guard.check_address(ip.parse().unwrap(), &url);
            assert!(
                matches!(result, Err(Refusal::Destination { .. })),
                "{ip}: {result:?}"
            );
        }
        for ip in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.0.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.0",
            "223.255.255.255",
            "168.63.129.17",
            "2001:200::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700::1111",
            "3ffe:ffff::1",
            "3fff:1000::1",
        ] {
            assert_eq!(
                guard.check_address(ip.parse().unwrap(), &url),
                Ok(()),
                "{ip}"
            );
        }
    }

    #[test]
    fn loopback_is_allowed_while_we_listen_there_alone_but_never_our_own_ports() {
        check(
            &guard(&[], true),
            &[
                ("http://127.0.0.1:9000/", "ok"),
                ("http://127.8.8.8:9000/", "ok"),
                ("http://localhost:9000/", "ok"),
                ("http://a.localhost:9000/", "ok"),
                ("http://[::1]:9000/", "ok"),
                ("http://localhost:6379/", "ok"),
                ("http://127.0.0.1:4100/", "forbidden"),
                ("http://0x7f.1:4100/", "forbidden"),
                ("http://localhost:4100/", "forbidden"),
                ("http://127.0.0.1:4101/", "forbidden"),
                ("http://127.7.7.7:4101/", "forbidden"),
                ("http://[::1]:4101/", "forbidden"),
                ("http://[::ffff:127.0.0.1]:4100/", "forbidden"),
                ("http://[::ffff:127.0.0.1]:9000/", "forbidden"),
                ("http://0.0.0.0:9000/", "forbidden"),
                ("http://10.0.0.5/", "forbidden"),
                ("http://example.com/", "http"),
            ],
        );
    }

    #[test]
    fn an_entry_allows_what_it_names_and_no_more() {
        let guard = guard(
            &[
                "10.0.0.0/8",
                "fd00::/8",
                "hooks.internal",
                "Plain.Example.",
                "127.0.0.1",
                "64:ff9b::/96",
            ],
            false,
        );
        check(
            &guard,
            &[
                ("http://10.0.0.5/", "ok"),
                ("http://10.0.0.5:6379/", "ok"),
                ("https://[fd00::5]/", "ok"),
                ("http://hooks.internal/", "ok"),
                ("http://hooks.internal.:25/", "ok"),
                ("http://plain.example/", "ok"),
                ("http://x.hooks.internal/", "forbidden"),
                ("http://other.internal/", "forbidden"),
                ("http://192.168.0.1/", "forbidden"),
                ("http://127.0.0.1:4100/", "forbidden"),
                ("https://[fd00:ec2::254]/", "forbidden"),
                ("https://[::ffff:10.0.0.5]/", "forbidden"),
                ("https://[64:ff9b::8.8.8.8]/", "ok"),
                ("https://[64:ff9b::10.0.0.5]/", "ok"),
                ("https://[64:ff9b::192.168.0.1]/", "forbidden"),
                ("https://[64:ff9b::169.254.169.254]/", "forbidden"),
                // A name over http may turn out to be in 10/8; its addresses decide.
                ("http://name.example/", "ok"),
                ("https://name.example:22/", "port"),
            ],
        );
        let url = Url::parse("http://name.example/").unwrap();
        assert!(
            guard
                .check_address("10.1.1.1".parse().unwrap(), &url)
                .is_ok()
        );
        assert_eq!(
            guard.check_address("93.184.216.34".parse().unwrap(), &url),
            Err(Refusal::Http("93.184.216.34".to_owned()))
        );
        let url = Url::parse("http://hooks.internal/").unwrap();
        assert!(
            guard
                .check_address("192.168.1.1".parse().unwrap(), &url)
                .is_ok()
        );
        assert!(
            guard
                .check_address("169.254.169.254".parse().unwrap(), &url)
                .is_err()
        );
    }

    #[test]
    fn metadata_wants_an_entry_of_exactly_its_address() {
        let url = "http://169.254.169.254/";
        check(
            &guard(&["0.0.0.0/0"], false),
            &[(url, "forbidden"), ("http://10.0.0.1/", "ok")],
        );
        check(
            &guard(&["169.254.169.254/31"], false),
            &[(url, "forbidden")],
        );
        check(&guard(&["169.254.169.254"], false), &[(url, "ok")]);
        check(&guard(&["169.254.169.254/32"], false), &[(url, "ok")]);
    }

    #[test]
    fn http_may_be_allowed_everywhere() {
        let guard = Egress::new(&EgressSettings {
            http_allowed: true,
            ..EgressSettings::default()
        })
        .unwrap();
        check(
            &guard,
            &[
                ("http://example.com/", "ok"),
                ("http://10.0.0.1/", "forbidden"),
            ],
        );
    }

    #[test]
    fn who_listens_everywhere_is_met_where_both_ends_are_one_address() {
        let guard = guard(&["10.0.0.0/8"], false);
        let url = Url::parse("http://10.0.0.5:4101/").unwrap();
        let peer = "10.0.0.5:4101".parse().unwrap();
        assert!(
            guard
                .check_peer(peer, "10.0.0.5:50000".parse().unwrap(), &url)
                .is_err()
        );
        assert!(
            guard
                .check_peer(peer, "10.0.0.6:50000".parse().unwrap(), &url)
                .is_ok()
        );
    }

    #[test]
    fn a_refusal_says_which_line_to_add() {
        let refusal = guard(&[], false)
            .check_url("https://10.0.0.5/")
            .unwrap_err();
        assert_eq!(refusal.to_string(), "destination address is not allowed");
        assert_eq!(
            refusal.help(),
            "destination address is not allowed: 10.0.0.5 is private; \
             to allow it: [egress] allow = [\"10.0.0.5\"]"
        );
        let own = guard(&[], true)
            .check_url("http://127.0.0.1:4100/")
            .unwrap_err();
        assert_eq!(own.line_to_add(), None);
    }

    #[test]
    fn an_entry_that_is_no_entry_is_named() {
        for entry in [
            "",
            "10.0.0.5/8",
            "10.0.0.0/33",
            "*.internal",
            "a:80",
            "https://a",
            "a b",
            "0x7f.1",
            "::/129",
        ] {
            let settings = EgressSettings {
                allow: vec![entry.to_owned()],
                ..EgressSettings::default()
            };
            assert_eq!(Egress::new(&settings).unwrap_err().entry, entry);
        }
    }
}
