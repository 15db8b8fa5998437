//! Which proxy requests to the API go through, by the variables that curl and most other programs
//! read.
//!
//! Of the two spellings of a variable (`HTTPS_PROXY`, `https_proxy`) the first that says something
//! counts: one that is empty or blank says nothing, as templates of charts and units leave such
//! behind. It never shows what a variable holds, as that may be a password.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::environment::Environment;
use crate::http;

/// The answer of the variables for one URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ProxyChoice {
    /// The proxy to ask through.
    pub(super) proxy: Option<Url>,
    /// A variable that should name the proxy, and names none that can be used.
    pub(super) unusable: Option<&'static str>,
}

/// Chooses the proxy for requests to `url`.
pub(super) fn choose(url: &Url, environment: &dyn Environment) -> ProxyChoice {
    let secure = url.scheme() == "https";
    // The demo, a simulator, a license server beside this process: no proxy could reach them.
    let beside = !secure && http::is_loopback(url);
    let excepted = || {
        let list = first_set(["NO_PROXY", "no_proxy"], environment);
        list.is_some_and(|(_, list)| is_excepted(url, &list))
    };
    if beside || excepted() {
        return ProxyChoice::default();
    }
    let own = if secure { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let mut choice = ProxyChoice::default();
    for names in [own, ["ALL_PROXY", "all_proxy"]] {
        let Some((name, value)) = first_set(names, environment) else { continue };
        choice.proxy = proxy_url(&value);
        if choice.proxy.is_some() {
            break;
        }
        choice.unusable = choice.unusable.or(Some(name));
    }
    choice
}

/// The first of two spellings that says something, without blanks around it.
fn first_set(names: [&'static str; 2], environment: &dyn Environment) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| {
        let value = environment.var(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| (name, value.to_owned()))
    })
}

/// A proxy as it is written in a variable: the scheme is `http` where none is given.
fn proxy_url(value: &str) -> Option<Url> {
    let url = match value.split_once("://") {
        Some((scheme, _)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            Url::parse(value)
        }
        Some(_) => return None,
        None => Url::parse(&format!("http://{value}")),
    };
    // The parser would take what follows further slashes for the host.
    let place = value.split_once("://").map_or(value, |(_, place)| place);
    url.ok().filter(|url| url.has_host() && !place.starts_with(['/', '\\']))
}

/// Whether the list of `NO_PROXY` names the host of this URL. Entries stand between commas or
/// blanks: `*` is every host and every address; an address or a network (`10.0.0.0/8`) is itself;
/// any other is a domain with all below it, however many dots or `*.` it begins with. An entry with
/// a port is for that port only.
fn is_excepted(url: &Url, list: &str) -> bool {
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return false };
    let mut entries = list.split(|c: char| c == ',' || c.is_whitespace());
    match host {
        Host::Domain(domain) => entries.any(|entry| entry == "*" || is_domain(entry, domain, port)),
        Host::Ipv4(address) => entries.any(|entry| entry == "*" || is_address(entry, address.into(), port)),
        Host::Ipv6(address) => {
            // `::ffff:10.0.0.1` is reached at 10.0.0.1.
            let address = IpAddr::V6(address).to_canonical();
            entries.any(|entry| entry == "*" || is_address(entry, address, port))
        }
    }
}

fn is_domain(entry: &str, domain: &str, port: u16) -> bool {
    let (entry, entry_port) = entry.rsplit_once(':').map_or((entry, None), |(name, port)| (name, Some(port)));
    let entry = entry.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.');
    let domain = domain.trim_end_matches('.');
    let above = domain.len().checked_sub(entry.len()).and_then(|at| domain.split_at_checked(at));
    let matches = above.is_some_and(|(above, end)| {
        end.eq_ignore_ascii_case(entry) && (above.is_empty() || above.ends_with('.'))
    });
    !entry.is_empty() && matches && entry_port.is_none_or(|text| text.parse() == Ok(port))
}

fn is_address(entry: &str, address: IpAddr, port: u16) -> bool {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    if let Ok(network) = bare.parse::<IpNet>() {
        return network.contains(&address);
    }
    if let Ok(known) = bare.parse::<IpAddr>() {
        return known.to_canonical() == address;
    }
    let place = entry.parse::<std::net::SocketAddr>();
    place.is_ok_and(|place| place.ip().to_canonical() == address && place.port() == port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variables;

    const HTTPS: &str = "https://api.example.com/api";

    fn chosen(url: &str, variables: &[(&'static str, &'static str)]) -> ProxyChoice {
        choose(&Url::parse(url).unwrap(), &Variables::from(variables))
    }

    fn unusable(url: &str, variables: &[(&'static str, &'static str)]) -> Option<&'static str> {
        chosen(url, variables).unusable
    }

    fn proxy(url: &str, variables: &[(&'static str, &'static str)]) -> Option<String> {
        chosen(url, variables).proxy.map(String::from)
    }

    #[test]
    fn an_empty_variable_does_not_hide_its_other_spelling() {
        let there = Some("http://proxy:3128/".to_owned());
        for empty in ["", " ", "\r"] {
            for (url, upper, lower) in [
                (HTTPS, "HTTPS_PROXY", "https_proxy"),
                ("http://api.example.com/api", "HTTP_PROXY", "http_proxy"),
                (HTTPS, "ALL_PROXY", "all_proxy"),
            ] {
                assert_eq!(proxy(url, &[(upper, empty), (lower, "proxy:3128")]), there, "{upper}={empty:?}");
                assert_eq!(proxy(url, &[(upper, "proxy:3128"), (lower, empty)]), there, "{lower}={empty:?}");
            }
            let excepted = [("NO_PROXY", empty), ("no_proxy", "example.com"), ("HTTPS_PROXY", "proxy:3128")];
            assert_eq!(proxy(HTTPS, &excepted), None, "NO_PROXY={empty:?}");
        }
        assert_eq!(
            proxy(HTTPS, &[("HTTPS_PROXY", "http://proxy:3128\r\n")]),
            there,
            "from a file with CR LF"
        );
    }

    #[test]
    fn a_star_in_no_proxy_holds_for_names_and_addresses() {
        for host in ["api.example.com", "10.1.2.3", "[2001:db8::1]", "127.0.0.1", "[::1]"] {
            let url = format!("https://{host}/api");
            for list in ["*", " * ", "example.org, *", "example.org *"] {
                assert_eq!(
                    proxy(&url, &[("HTTPS_PROXY", "proxy:1"), ("NO_PROXY", list)]),
                    None,
                    "{host} {list}"
                );
            }
            assert!(proxy(&url, &[("HTTPS_PROXY", "proxy:1"), ("NO_PROXY", "*.org")]).is_some(), "{host}");
        }
    }

    #[test]
    fn no_proxy_names_domains_addresses_networks_and_ports() {
        let excepted = |host: &str, list: &'static str| {
            let url = format!("https://{host}/api");
            proxy(&url, &[("HTTPS_PROXY", "proxy:1"), ("NO_PROXY", list)]).is_none()
        };
        for (host, list) in [
            ("api.example.com", "example.com"),
            ("api.example.com", ".example.com"),
            ("api.example.com", "*.example.com"),
            ("api.example.com.", "EXAMPLE.com."),
            ("example.com", ".example.com"),
            ("api.example.com", "example.com:443"),
            ("api.example.com:8443", "localhost,example.com:8443"),
            ("10.1.2.3", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3:443"),
            ("[::ffff:10.1.2.3]", "10.0.0.0/8"),
            ("[2001:db8::1]", "2001:db8::/32"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
        ] {
            assert!(excepted(host, list), "{host} {list}");
        }
        for (host, list) in [
            ("badexample.com", "example.com"),
            ("example.com", "api.example.com"),
            ("api.example.com", "example.com:8443"),
            ("api.example.com", ",,"),
            ("api.example.com", "."),
            ("10.1.2.3", "10.1.2.4 11.0.0.0/8"),
            ("10.1.2.3", "2.3"),
            ("10.1.2.3", "10.1.2.3:80"),
            ("[2001:db8::1]", "::/64"),
        ] {
            assert!(!excepted(host, list), "{host} {list}");
        }
    }

    #[test]
    fn a_proxy_keeps_its_login_and_never_shows_it() {
        let with_login = "http://me:s%40cret@proxy:3128/";
        assert_eq!(proxy(HTTPS, &[("HTTPS_PROXY", with_login)]).as_deref(), Some(with_login));
        let url = Url::parse(HTTPS).unwrap();
        let api = crate::config::Api {
            proxy: chosen(HTTPS, &[("HTTPS_PROXY", with_login)]).proxy,
            ca_file: None,
            timeout: std::time::Duration::from_secs(1),
            concurrency: crate::cryptolens::Concurrency::DEFAULT,
            url,
        };
        assert!(!format!("{api:?}").contains("cret"));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_reported() {
        let https = "https://api.example.com/api";
        for good in [
            "http://proxy:3128",
            "https://proxy",
            "proxy:3128",
            "http://[::1]:3128",
            "http://me:secret@proxy:3128/",
            "",
        ] {
            assert_eq!(unusable(https, &[("HTTPS_PROXY", good)]), None, "{good}");
        }
        for bad in [
            "http://pro xy:3128",
            "socks5://proxy:1080",
            "http://",
            "/proxy",
            "http://me:se/cret@proxy:1",
            "://x",
        ] {
            assert_eq!(unusable(https, &[("HTTPS_PROXY", bad)]), Some("HTTPS_PROXY"), "{bad}");
        }
    }

    #[test]
    fn only_the_variable_that_counts_is_reported() {
        let (https, http) = ("https://api.example.com/api", "http://api.example.com/api");
        assert_eq!(unusable(http, &[("HTTPS_PROXY", "/")]), None);
        assert_eq!(unusable(http, &[("http_proxy", "/")]), Some("http_proxy"));
        assert_eq!(unusable(https, &[("https_proxy", "/")]), Some("https_proxy"));
        assert_eq!(unusable(https, &[("HTTPS_PROXY", "proxy:1"), ("https_proxy", "/")]), None);
        assert_eq!(unusable(https, &[("HTTPS_PROXY", ""), ("ALL_PROXY", "/")]), Some("ALL_PROXY"));
        assert_eq!(unusable(https, &[]), None);
        assert_eq!(unusable("http://localhost:8080/api", &[("HTTP_PROXY", "/")]), None, "asked without one");
    }
}
