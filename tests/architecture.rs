//! The map of the source tree, enforced: which module may import which, and that no two modules
//! import each other.
//!
//! The test reads the tokens of `src/`, follows re-exports to the file that defines a name, and
//! compares the arrows with [`MAP`], which `docs/architecture.md` explains. Code under
//! `#[cfg(test)]` is left out: a test may look at everything. A module and its own children count
//! as one; between siblings, at every level of the tree, there is no circle.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The imports that each top-level module may have. The flow goes from left to right (`cryptolens`
/// to `web`): a module imports from its left and from the ground only.
const MAP: &[(&str, &[&str])] = &[
    // The ground: knows nothing of licensing.
    ("backoff", &[]),
    ("http", &["text"]),
    ("identity", &[]),
    ("logging", &[]),
    ("metrics", &[]),
    ("palette", &[]),
    ("task", &[]),
    ("text", &[]),
    ("text_file", &[]),
    // The flow, from left to right.
    ("cryptolens", &[GROUND]),
    ("advice", &["cryptolens", GROUND]),
    ("reader", &["cryptolens", "advice", GROUND]),
    ("ingest", &["cryptolens", "advice", "reader", GROUND]),
    ("tally", &["cryptolens", "ingest", GROUND]),
    ("history", &["cryptolens", "ingest", "tally", GROUND]),
    ("usage", &["cryptolens", "ingest", "tally", GROUND]),
    ("ledger", &["cryptolens", "ingest", "tally", "history", "usage", GROUND]),
    ("snapshot", &["cryptolens", "ingest", "tally", "history", "usage", "ledger", GROUND]),
    ("outputs", &["cryptolens", "ingest", "tally", "history", "usage", "ledger", "snapshot", GROUND]),
    ("web", &["cryptolens", "ingest", "tally", "history", "usage", "ledger", "snapshot", "outputs", GROUND]),
    // Beside the flow: both read through the reader.
    ("archive", &["cryptolens", "advice", "reader", "ingest", "tally", "ledger", GROUND]),
    ("report", &["cryptolens", "advice", "reader", "usage", "ledger", "archive", GROUND]),
    ("backfill", &["cryptolens", "tally", "history", "outputs", "report", GROUND]),
    // The roof.
    (
        "config",
        &["cryptolens", "ingest", "tally", "usage", "ledger", "outputs", "archive", "report", "web", GROUND],
    ),
    ("supervisor", &[GROUND]),
    ("daemon", &["config", "supervisor", FLOW, GROUND]),
    ("commands", &["backfill", "config", "daemon", "supervisor", FLOW, GROUND]),
    ("cli", &["config", "commands", GROUND]),
];

/// Stands for the modules of the ground.
const GROUND: &str = "(ground)";
const GROUND_MODULES: &[&str] =
    &["backoff", "http", "identity", "logging", "metrics", "palette", "task", "text", "text_file"];
/// Stands for the modules of the flow.
const FLOW: &str = "(flow)";
const FLOW_MODULES: &[&str] = &[
    "cryptolens",
    "advice",
    "reader",
    "ingest",
    "tally",
    "history",
    "usage",
    "ledger",
    "snapshot",
    "outputs",
    "web",
    "archive",
    "report",
];

/// Crates that only some modules may name: a change of what is outside must not reach what counts.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["web"]),
    ("clap", &["cli"]),
    ("cryptolens_simulator", &["commands"]),
    ("hyper", &["web", "cryptolens", "http"]),
    ("parquet", &["archive"]),
    ("procfs", &["snapshot"]),
    ("reqwest", &["cryptolens", "http", "outputs", "commands"]),
    ("rusqlite", &["ledger"]),
];

/// Imports that the map does not allow and that are still there. This list only shrinks: an entry
/// that is no longer true fails the test, too.
const KNOWN_VIOLATIONS: &[&str] = &[];

#[test]
fn imports_follow_the_map() {
    let tree = Tree::read(&root().join("src/lib.rs"));
    assert!(tree.modules.len() > 50, "the parser found {} modules only", tree.modules.len());
    let mut violations = BTreeSet::new();
    violations.extend(arrows_off_the_map(&tree));
    violations.extend(crates_off_the_map(&tree));
    violations.extend(circles(&tree));

    let known: BTreeSet<String> = KNOWN_VIOLATIONS.iter().map(|line| (*line).to_owned()).collect();
    let new: Vec<_> = violations.difference(&known).collect();
    let mended: Vec<_> = known.difference(&violations).collect();
    assert!(new.is_empty(), "imports that docs/architecture.md does not allow:\n{new:#?}");
    assert!(mended.is_empty(), "these are gone, take them off KNOWN_VIOLATIONS:\n{mended:#?}");
}

#[test]
fn no_two_files_define_a_type_of_the_same_name() {
    let mut repeated = Vec::new();
    for library in ["src/lib.rs", "crates/cryptolens-simulator/src/lib.rs"] {
        let library = root().join(library);
        if !library.exists() {
            continue;
        }
        let mut files_by_type: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, module) in &Tree::read(&library).modules {
            for name in &module.types {
                files_by_type.entry(name.clone()).or_default().insert(path.join("::"));
            }
        }
        repeated.extend(files_by_type.into_iter().filter(|(_, files)| files.len() > 1));
    }
    let repeated: Vec<String> = repeated
        .iter()
        .map(|(name, files)| format!("{name}: {}", Vec::from_iter(files.iter().cloned()).join(", ")))
        .collect();
    assert_eq!(repeated, KNOWN_REPEATED_TYPES, "a type name has one meaning in a crate");
}

/// Type names that several files still define. This list only shrinks.
const KNOWN_REPEATED_TYPES: &[&str] = &[];

#[test]
fn the_parser_sees_imports_re_exports_and_circles() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod tally; pub mod web; #[cfg(test)] mod simulation;");
    write("tally/mod.rs", "mod keys; mod limits; pub use keys::Key; use rusqlite::Row;");
    write("tally/keys.rs", "use super::limits; pub struct Key; #[cfg(test)] mod tests { use crate::web; }");
    write("tally/limits.rs", "pub(crate) fn f() { vec![super::Key]; }");
    write("web.rs", "use crate::tally::{Key as K, self}; pub enum Key {}");
    let tree = Tree::read(&directory.path().join("lib.rs"));
    assert_eq!(
        circles(&tree),
        ["circle below tally: keys -> limits -> keys"],
        "also through a re-export and a macro"
    );
    assert_eq!(crates_off_the_map(&tree), ["tally imports the crate rusqlite (tally)"]);
    assert_eq!(arrows_off_the_map(&tree), Vec::<String>::new(), "web stands right of tally");
    let web = &tree.modules[&vec!["web".to_owned()]];
    let keys = vec!["tally".to_owned(), "keys".to_owned()];
    assert!(web.imports.iter().any(|path| tree.resolve(path) == keys), "the file that defines Key");
    assert_eq!(Vec::from_iter(&web.types), ["Key"]);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn arrows_off_the_map(tree: &Tree) -> Vec<String> {
    let map: BTreeMap<&str, BTreeSet<&str>> =
        MAP.iter().map(|(name, allowed)| (*name, expand(allowed))).collect();
    let mut violations = BTreeSet::new();
    for (from, to) in tree.arrows() {
        let (Some(importer), Some(imported)) = (from.first(), to.first()) else { continue };
        if importer == imported {
            continue;
        }
        match map.get(importer.as_str()) {
            None => violations.insert(format!("{importer} is not on the map")),
            Some(allowed) if !allowed.contains(imported.as_str()) => violations.insert(format!(
                "{importer} -> {imported} ({} -> {})",
                from.join("::"),
                to.join("::")
            )),
            Some(_) => continue,
        };
    }
    violations.into_iter().collect()
}

fn expand<'a>(allowed: &[&'a str]) -> BTreeSet<&'a str> {
    let mut modules = BTreeSet::new();
    for name in allowed {
        match *name {
            GROUND => modules.extend(GROUND_MODULES),
            FLOW => modules.extend(FLOW_MODULES),
            name => {
                modules.insert(name);
            }
        }
    }
    modules
}

fn crates_off_the_map(tree: &Tree) -> Vec<String> {
    let mut violations = BTreeSet::new();
    for (path, module) in &tree.modules {
        let Some(top) = path.first() else { continue };
        for (name, allowed) in CRATES {
            if module.crates.contains(*name) && !allowed.contains(&top.as_str()) {
                violations.insert(format!("{top} imports the crate {name} ({})", path.join("::")));
            }
        }
    }
    violations.into_iter().collect()
}

/// One line for each group of siblings that import each other in a circle.
fn circles(tree: &Tree) -> Vec<String> {
    // The children of one module, and who of them imports whom, each with all that is below it.
    let mut siblings: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to) in tree.arrows() {
        let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
        if let (Some(importer), Some(imported)) = (from.get(shared), to.get(shared)) {
            let parent = siblings.entry(from[..shared].to_vec()).or_default();
            parent.entry(importer.clone()).or_default().insert(imported.clone());
        }
    }
    let mut lines = Vec::new();
    for (parent, arrows) in siblings {
        let mut reported = BTreeSet::new();
        for start in arrows.keys() {
            if reported.contains(start) {
                continue;
            }
            if let Some(circle) = circle_through(start, &arrows) {
                reported.extend(circle.iter().cloned());
                let place = if parent.is_empty() { "the crate".to_owned() } else { parent.join("::") };
                lines.push(format!("circle below {place}: {}", circle.join(" -> ")));
            }
        }
    }
    lines
}

/// The shortest way from a module back to itself.
fn circle_through(start: &str, arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in arrows.get(way.last()?).into_iter().flatten() {
                let mut way = way.clone();
                way.push(next.clone());
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// A module's path from the root of the crate.
type ModulePath = Vec<String>;

/// All modules of a crate that are compiled outside tests.
#[derive(Default)]
struct Tree {
    modules: BTreeMap<ModulePath, Module>,
}

/// The imports and types of one file, or of one inline module.
#[derive(Default)]
struct Module {
    /// Absolute paths, without `crate`.
    imports: Vec<Vec<String>>,
    /// The name that a `use` gives to an absolute path; `pub use` and private ones alike.
    names: BTreeMap<String, Vec<String>>,
    /// First segments of paths that are not of this crate.
    crates: BTreeSet<String>,
    /// Names of structs, enums and traits.
    types: BTreeSet<String>,
}

impl Tree {
    fn read(library: &Path) -> Tree {
        let mut tree = Tree::default();
        let directory = library.parent().unwrap().to_owned();
        tree.add_file(library, &directory, Vec::new());
        tree
    }

    fn add_file(&mut self, file: &Path, children: &Path, path: ModulePath) {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add_items(&tokens(&text), children, path);
    }

    fn add_items(&mut self, tokens: &[Token], children: &Path, path: ModulePath) {
        let mut reader = ModuleReader { path: path.clone(), module: Module::default(), children: Vec::new() };
        reader.walk(tokens);
        for (name, content) in reader.children {
            let below = children.join(&name);
            let child = [&path[..], std::slice::from_ref(&name)].concat();
            match content {
                Some(tokens) => self.add_items(&tokens, &below, child),
                None => {
                    let beside = children.join(format!("{name}.rs"));
                    let file = if beside.exists() { beside } else { below.join("mod.rs") };
                    self.add_file(&file, &below, child);
                }
            }
        }
        self.modules.insert(path, reader.module);
    }

    /// Importer and imported module, both as paths; re-exports are followed.
    fn arrows(&self) -> BTreeSet<(ModulePath, ModulePath)> {
        let mut arrows = BTreeSet::new();
        for (from, module) in &self.modules {
            for import in &module.imports {
                arrows.insert((from.clone(), self.resolve(import)));
            }
        }
        arrows
    }

    /// The module that defines what an absolute path names.
    fn resolve(&self, path: &[String]) -> ModulePath {
        let mut module = Vec::new();
        for (at, segment) in path.iter().enumerate() {
            let mut child = module.clone();
            child.push(segment.clone());
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let renamed = self.modules.get(&module).and_then(|module| module.names.get(segment));
            return match renamed {
                // A name cannot stand for itself.
                Some(target) if target[..] != path[..=at] => {
                    let rest = &path[at + 1..];
                    self.resolve(&[target.as_slice(), rest].concat())
                }
                _ => module,
            };
        }
        module
    }
}

/// As much of the Rust language as imports need. A parser crate shares its dependencies with every
/// derive macro, and with it among the dev-dependencies `cargo build` and `cargo test` compile all
/// dependencies twice.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::` is one token.
    PathSeparator,
    Sign(char),
    Group(char, Vec<Token>),
}

/// Tokens without comments and literals.
fn tokens(text: &str) -> Vec<Token> {
    let text: Vec<char> = text.chars().collect();
    let mut groups = vec![(' ', Vec::new())];
    let mut at = 0;
    let look = |at: usize| text.get(at).copied().unwrap_or(' ');
    while at < text.len() {
        let c = text[at];
        let begin = at;
        at += 1;
        let token = match c {
            '/' if look(at) == '/' => {
                while at < text.len() && text[at] != '\n' {
                    at += 1;
                }
                continue;
            }
            '/' if look(at) == '*' => {
                let mut depth = 0;
                at = begin;
                while at < text.len() {
                    match (text[at], look(at + 1)) {
                        ('/', '*') => (depth, at) = (depth + 1, at + 2),
                        ('*', '/') => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
                continue;
            }
            '"' => {
                at = end_of_string(&text, at);
                continue;
            }
            // A character, or a lifetime.
            '\'' => {
                if look(at) == '\\' {
                    at += 2;
                    while at < text.len() && text[at] != '\'' {
                        at += 1;
                    }
                    at += 1;
                } else if look(at + 1) == '\'' {
                    at += 2;
                }
                continue;
            }
            c if c.is_alphabetic() || c == '_' => {
                while look(at).is_alphanumeric() || look(at) == '_' {
                    at += 1;
                }
                let word: String = text[begin..at].iter().collect();
                let hashes = text[at..].iter().take_while(|c| **c == '#').count();
                if word.ends_with('r') && word.len() < 3 && look(at + hashes) == '"' {
                    at = end_of_raw_string(&text, at + hashes + 1, hashes);
                    continue;
                }
                Token::Word(word)
            }
            c if c.is_ascii_digit() => {
                while look(at).is_alphanumeric() || look(at) == '_' {
                    at += 1;
                }
                continue;
            }
            ':' if look(at) == ':' => {
                at += 1;
                Token::PathSeparator
            }
            '(' | '[' | '{' => {
                groups.push((c, Vec::new()));
                continue;
            }
            ')' | ']' | '}' => {
                let (delimiter, inside) = groups.pop().unwrap();
                Token::Group(delimiter, inside)
            }
            c if c.is_whitespace() => continue,
            c => Token::Sign(c),
        };
        groups.last_mut().unwrap().1.push(token);
    }
    assert_eq!(groups.len(), 1, "brackets match in a file that compiles");
    groups.remove(0).1
}

fn end_of_string(text: &[char], mut at: usize) -> usize {
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn end_of_raw_string(text: &[char], mut at: usize, hashes: usize) -> usize {
    while at < text.len() {
        at += 1;
        let closing = text.get(at..at + hashes);
        if text[at - 1] == '"' && closing.is_some_and(|closing| closing.iter().all(|c| *c == '#')) {
            return at + hashes;
        }
    }
    at
}

struct ModuleReader {
    path: ModulePath,
    module: Module,
    /// Name, and content where it stands in the same file.
    children: Vec<(String, Option<Vec<Token>>)>,
}

impl ModuleReader {
    fn walk(&mut self, tokens: &[Token]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                Token::Sign('#') if is_for_tests(tokens.get(at)) => at = end_of_item(tokens, at + 1),
                Token::Group(_, inside) => self.walk(inside),
                Token::Word(word) => match (word.as_str(), tokens.get(at), tokens.get(at + 1)) {
                    ("use", ..) => at += self.note_use(&tokens[at..], &[]),
                    ("mod", Some(Token::Word(name)), Some(Token::Group('{', inside))) => {
                        self.children.push((name.clone(), Some(inside.clone())));
                        at += 2;
                    }
                    ("mod", Some(Token::Word(name)), Some(Token::Sign(';'))) => {
                        self.children.push((name.clone(), None));
                        at += 2;
                    }
                    ("struct" | "enum" | "trait", Some(Token::Word(name)), _) => {
                        self.module.types.insert(name.clone());
                        at += 1;
                    }
                    (_, Some(Token::PathSeparator), _) => {
                        let mut segments = vec![word.clone()];
                        while let (Some(Token::PathSeparator), Some(Token::Word(next))) =
                            (tokens.get(at), tokens.get(at + 1))
                        {
                            segments.push(next.clone());
                            at += 2;
                        }
                        if segments.len() > 1 {
                            self.note(&segments);
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// Notes a path as it stands in the code; returns the absolute one if it is of this crate.
    fn note(&mut self, segments: &[String]) -> Option<Vec<String>> {
        let first = segments.first()?;
        let ups = segments.iter().take_while(|segment| *segment == "super").count();
        let absolute = match first.as_str() {
            "crate" => segments[1..].to_vec(),
            "self" => [&self.path[..], &segments[1..]].concat(),
            "super" => [&self.path[..self.path.len().checked_sub(ups)?], &segments[ups..]].concat(),
            _ => {
                self.module.crates.insert(first.clone());
                return None;
            }
        };
        self.module.imports.push(absolute.clone());
        Some(absolute)
    }

    /// Notes one tree of a `use`; returns how many tokens it takes.
    fn note_use(&mut self, tokens: &[Token], before: &[String]) -> usize {
        let mut segments = before.to_vec();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Word(word) if word == "as" => {
                    if let Some(Token::Word(name)) = tokens.get(at + 1) {
                        self.note_name(&segments, name.clone());
                    }
                    return at + 2;
                }
                Token::Word(word) if word == "self" && at == 0 && !before.is_empty() => {}
                Token::Word(word) => segments.push(word.clone()),
                Token::Group(_, inside) => {
                    for tree in inside.split(|token| *token == Token::Sign(',')) {
                        self.note_use(tree, &segments);
                    }
                    return at + 1;
                }
                Token::Sign('*') => {
                    self.note(&segments);
                    return at + 1;
                }
                Token::PathSeparator => {}
                Token::Sign(_) => {
                    self.note_last(&segments);
                    return at;
                }
            }
        }
        if segments.len() > before.len() || tokens.first() == Some(&Token::Word("self".to_owned())) {
            self.note_last(&segments);
        }
        tokens.len()
    }

    fn note_last(&mut self, segments: &[String]) {
        if let Some(name) = segments.last() {
            self.note_name(segments, name.clone());
        }
    }

    fn note_name(&mut self, segments: &[String], name: String) {
        // `pub use keys::Key` in the file that declares `mod keys`: relative to this module.
        let absolute = self.note(segments).unwrap_or_else(|| [&self.path[..], segments].concat());
        self.module.names.insert(name, absolute);
    }
}

/// True for the brackets of `#[cfg(test)]`.
fn is_for_tests(attribute: Option<&Token>) -> bool {
    let Some(Token::Group('[', inside)) = attribute else { return false };
    let condition = Token::Group('(', vec![Token::Word("test".to_owned())]);
    *inside == [Token::Word("cfg".to_owned()), condition]
}

/// The index after an item, a statement, a field or an arm.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let is_use = tokens[at..].iter().take(3).any(|token| *token == Token::Word("use".to_owned()));
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Token::Sign(';' | ',') => return at,
            // The body of what is defined; in a `use` the braces belong to the tree.
            Token::Group('{', _) if !is_use => return at,
            _ => {}
        }
    }
    at
}
