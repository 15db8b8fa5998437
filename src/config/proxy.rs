//! The variables by which the HTTP client finds a proxy. It reads them itself, and passes over what it can't use without a
//! word.

use axum::http::Uri;
use axum::http::uri::Scheme;
use url::Url;

use super::environment::Environment;
use crate::http;

/// The variable that should name the proxy for requests to `url`, and names none that can be used.
pub(super) fn unusable(url: &Url, environment: &dyn Environment) -> Option<&'static str> {
    if url.scheme() == "http" && http::is_loopback(url) {
        return None;
    }
    let own =
        if url.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    // In the order of the client: of each pair the first that is set, and the second pair where the first is of no use.
    for names in [own, ["ALL_PROXY", "all_proxy"]] {
        let set = names.into_iter().find_map(|name| Some((name, environment.var(name)?)));
        match set {
            Some((name, value)) if !value.is_empty() => {
                return if is_usable(&value) { None } else { Some(name) };
            }
            _ => {}
        }
    }
    None
}

fn is_usable(value: &str) -> bool {
    let Ok(uri) = value.parse::<Uri>() else { return false };
    let known = uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    // A bad port would be passed over, as after a password with a slash in it.
    let reachable = uri.authority().is_some_and(|authority| {
        let place = authority.as_str().rsplit('@').next().unwrap_or_default();
        place.len() == authority.host().len() || authority.port_u16().is_some()
    });
    known && reachable
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::path::Path;

    use super::*;

    struct Variables(BTreeMap<&'static str, &'static str>);

    impl Environment for Variables {
        fn var(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|value| (*value).to_owned())
        }

        fn read_file(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn told(url: &str, variables: &[(&'static str, &'static str)]) -> Option<&'static str> {
        unusable(&Url::parse(url).unwrap(), &Variables(variables.iter().copied().collect()))
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_told_of() {
        let https = "https://api.example.com/api";
        for good in [
            "http://proxy:3128",
            "https://proxy",
            "proxy:3128",
            "http://[::1]:3128",
            "http://me:secret@proxy:3128/",
            "",
        ] {
            assert_eq!(told(https, &[("HTTPS_PROXY", good)]), None, "{good}");
        }
        for bad in [
            "http://pro xy:3128",
            "socks5://proxy:1080",
            "http://",
            "/proxy",
            "http://me:se/cret@proxy:1",
            "://x",
        ] {
            assert_eq!(told(https, &[("HTTPS_PROXY", bad)]), Some("HTTPS_PROXY"), "{bad}");
        }
    }

    #[test]
    fn only_the_variable_that_counts_is_told_of() {
        let (https, http) = ("https://api.example.com/api", "http://api.example.com/api");
        assert_eq!(told(http, &[("HTTPS_PROXY", "/")]), None);
        assert_eq!(told(http, &[("http_proxy", "/")]), Some("http_proxy"));
        assert_eq!(told(https, &[("https_proxy", "/")]), Some("https_proxy"));
        assert_eq!(told(https, &[("HTTPS_PROXY", "proxy:1"), ("https_proxy", "/")]), None);
        assert_eq!(told(https, &[("HTTPS_PROXY", ""), ("ALL_PROXY", "/")]), Some("ALL_PROXY"));
        assert_eq!(told(https, &[]), None);
        assert_eq!(told("http://localhost:8080/api", &[("HTTP_PROXY", "/")]), None, "asked without one");
    }
}
