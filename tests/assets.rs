//! The files beside the binary must agree with it: rules, dashboards, the chart.
//! `scripts/assets-check` looks closer, with the tools of the trade; this needs Rust alone, and
//! says what it left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const CHART: &str = "helm/cryptolens-exporter";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboards() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("grafana/dashboards")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_chart_carries_the_same_rules_and_dashboards() {
    let rules = "prometheus/cryptolens.rules.yml";
    assert_eq!(read(rules), read(format!("{CHART}/files/{rules}")), "run scripts/sync-chart");
    let mut names = BTreeSet::new();
    for path in dashboards() {
        let name = path.file_name().unwrap().to_owned();
        let copy = root().join(CHART).join("files/dashboards").join(&name);
        assert_eq!(read(&path), read(copy), "run scripts/sync-chart");
        names.insert(name);
    }
    assert_eq!(names.len(), 6);
    let copies = std::fs::read_dir(root().join(CHART).join("files/dashboards")).unwrap();
    let copies: BTreeSet<_> = copies.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, copies, "run scripts/sync-chart");
}

#[test]
fn the_chart_installs_this_version() {
    let wanted = format!("appVersion: \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(read(format!("{CHART}/Chart.yaml")).lines().any(|line| line == wanted), "no {wanted}");
}

/// Words that look like one of our metrics.
fn metrics(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || "_:".contains(character)))
        .filter(|word| word.starts_with("cryptolens_"))
        .collect()
}

#[test]
fn rules_and_dashboards_name_families_that_are_exported() {
    let catalogue = read("docs/metrics.md");
    let rules = read("prometheus/cryptolens.rules.yml");
    let exported = |metric: &str| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
        [Some(metric), family].into_iter().flatten().any(|name| catalogue.contains(&format!("| `{name}` |")))
    };
    let recorded = |metric: &str| rules.lines().any(|line| line.ends_with(&format!("record: {metric}")));
    let texts = dashboards().into_iter().map(|path| (path.display().to_string(), read(&path)));
    let mut named = 0;
    for (path, text) in texts.chain([("rules".to_owned(), rules.clone())]) {
        for metric in metrics(&text) {
            assert!(exported(metric) || recorded(metric), "{path}: nothing exports {metric}");
            named += 1;
        }
    }
    assert!(named > 50, "only {named} metrics were found");
}

/// The helm of `scripts/tools`, or that of the machine.
fn helm() -> Option<PathBuf> {
    let tools = std::env::var_os("TOOLS_DIR").map_or_else(|| root().join("target/tools"), PathBuf::from);
    let candidates = [tools.join("bin/helm"), PathBuf::from("helm")];
    let runs =
        |helm: &PathBuf| Command::new(helm).arg("version").output().is_ok_and(|done| done.status.success());
    candidates.into_iter().find(runs)
}

/// The same, or a word about what is left out.
fn helm_or_say(what: &str) -> Option<PathBuf> {
    let found = helm();
    if found.is_none() {
        // Not captured by the test runner, so that it is seen.
        let line = format!("left out: {what}, as there is no helm here; scripts/tools installs it\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    found
}

/// Values sets of the chart, each with its name.
fn values_sets() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(root().join(CHART).join("ci")).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect()
}

/// The configuration file that the chart makes of a set of values; none for one that needs none.
fn configuration(helm: &Path, values: &Path) -> Option<String> {
    let done = Command::new(helm)
        .args(["template", "release", "--show-only", "templates/configmap.yaml", "--values"])
        .arg(values)
        .arg(root().join(CHART))
        .output()
        .unwrap();
    let rendered = String::from_utf8(done.stdout).unwrap();
    let (_, file) = rendered.split_once("config.yml: |\n")?;
    let lines =
        file.lines().map_while(|line| if line.is_empty() { Some("") } else { line.strip_prefix("    ") });
    Some(lines.fold(String::new(), |file, line| file + line + "\n"))
}

#[test]
fn the_exporter_takes_the_configuration_file_of_every_values_set() {
    let Some(helm) = helm_or_say("the chart's configuration files") else { return };
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["collector".to_owned()]).unwrap();
    std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let mut checked = 0;
    for (name, values) in values_sets() {
        let Some(file) = configuration(&helm, &values) else { continue };
        // Files of secrets are where the test can write them: one for each token, and a
        // certificate.
        let mut text = String::new();
        for line in file.lines() {
            let given = |key: &str| line.trim_start().strip_prefix(key)?.strip_prefix(": ");
            let secrets = ["token_file", "- token_file", "password_file", "credentials_file", "secret_file"];
            let path = if let Some(path) = secrets.into_iter().find_map(given) {
                let token = folder.path().join(path.rsplit('/').next().unwrap());
                std::fs::write(&token, format!("a-token-of-a-certain-length-of-{}", token.display()))
                    .unwrap();
                token
            } else if given("ca_file").or_else(|| given("cert_file")).is_some() {
                folder.path().join("tls.crt")
            } else if given("key_file").is_some() {
                folder.path().join("tls.key")
            } else {
                text += &format!("{line}\n");
                continue;
            };
            let (key, _) = line.split_once(": ").unwrap();
            text += &format!("{key}: {}\n", path.display());
        }
        let path = folder.path().join(format!("{name}.yml"));
        std::fs::write(&path, &text).unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_cryptolens-exporter"))
            .args(["check", "--config-only", "--config.file"])
            .arg(&path)
            .env_clear()
            .env("SHOP_TOKEN", "invented")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{name}: {said}\n{text}");
        checked += 1;
    }
    assert!(checked > 4, "only {checked} files were found");
}

#[test]
fn helm_lints_the_chart() {
    let Some(helm) = helm_or_say("helm lint") else { return };
    for (name, values) in values_sets() {
        let done = Command::new(&helm)
            .args(["lint", "--strict"])
            .arg(root().join(CHART))
            .arg("--values")
            .arg(&values)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{name}: {said}");
    }
}

/// `cargo test NAME` runs the tests whose path contains the name, and is content with none.
#[test]
fn every_test_that_a_promise_names_exists() {
    let files = ["src", "tests", "crates"].map(|folder| root().join(folder));
    let mut sources = String::new();
    let mut folders = Vec::from(files);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let names = |prefix: &str| -> BTreeSet<String> {
        let starts = sources.match_indices(prefix).map(|(at, _)| &sources[at + prefix.len()..]);
        starts.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
    };
    let (functions, modules) = (names("fn "), names("mod "));
    let promises = read("docs/promises.md");
    let mut named = 0;
    for command in promises.split('`').filter_map(|code| code.strip_prefix("cargo test ")) {
        let Some(name) = command.split(' ').next().filter(|name| !name.starts_with('-')) else { continue };
        let name = name.trim_end_matches("::");
        named += 1;
        assert!(
            functions.iter().chain(&modules).any(|known| known.contains(name)),
            "docs/promises.md names `cargo test {name}`, and no test is called so"
        );
    }
    assert!(named > 15, "{named} names found");
}

/// The pages that people read, relative to the root of the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md"].map(PathBuf::from).into();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path.strip_prefix(root()).unwrap().to_owned());
        }
    }
    pages.push(Path::new(CHART).join("README.md"));
    pages
}

/// The fragment by which GitHub links a heading.
fn fragment(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut followed = 0;
    for page in pages() {
        let text = read(&page);
        for target in
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        {
            if target.contains("://") || target.contains(' ') {
                continue;
            }
            let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(root().join(&path).exists(), "{}: no {target}", page.display());
            if !wanted.is_empty() {
                let headings = read(&path);
                let known = headings.lines().filter_map(|line| line.strip_prefix('#'));
                let mut known = known.map(|line| fragment(line.trim_start_matches('#')));
                assert!(known.any(|known| known == wanted), "{}: no heading for {target}", page.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 60, "only {followed} links were found");
}

/// It sells and starts; what is looked up later is in docs/.
#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines");
}

/// The scripts, files and commands that the first page names are there.
#[test]
fn the_readme_names_commands_that_exist() {
    let text = read("README.md");
    let binary = env!("CARGO_BIN_EXE_cryptolens-exporter");
    let mut called = BTreeSet::new();
    for line in text.lines() {
        let words = |rest: &str| -> Vec<String> { rest.split_whitespace().map(str::to_owned).collect() };
        let typed = line.split("cryptolens-exporter ").skip(1).map(words);
        for words in
            typed.filter(|words| words.first().is_some_and(|word| word.chars().all(char::is_alphabetic)))
        {
            let command = words[0].trim_matches('`').to_owned();
            let help = Command::new(binary).args([&command, "--help"]).output().unwrap();
            // Prose has the name, too: only what the program knows is looked at closer.
            if !help.status.success() {
                continue;
            }
            let help = String::from_utf8(help.stdout).unwrap();
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let name = flag.trim_matches(|c: char| !c.is_alphanumeric() && c != '-');
                let name = name.split(['=', '`']).next().unwrap();
                assert!(help.contains(name), "`{command}` has no {name}: {line}");
            }
            called.insert(command);
        }
    }
    for wanted in ["check", "serve", "report", "audit", "export", "completions", "man"] {
        assert!(called.contains(wanted), "{wanted} is not in {called:?}");
    }
}
