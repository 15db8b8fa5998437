//! The annotated example of the configuration file, written from the settings table.
//!
//! Every key is there. One whose default is a value is in effect with that value, so that the file
//! changes nothing; any other is commented out with a value to try. A comment has a blank after its
//! `#`, and a key that is commented out has none, so that removing that one character puts it to
//! use.

use std::fmt::Write as _;

use super::setting::{DefaultValue, Setting, ValueKind};
use super::table::SETTINGS;

/// The name of the file in `docs/`.
pub const FILE_NAME: &str = "configuration.example.yml";

const HEAD: &str = "\
# yaml-language-server: $schema=https://raw.githubusercontent.com/cryptolens-exporter/cryptolens-exporter/main/docs/configuration.schema.json
#
# Every key of the configuration file of cryptolens-exporter (--config.file), with its default. Keys without a default that
# can be written down are commented out, with a value to try: remove the # before the key, and those before the keys above it.
#
# `cryptolens-exporter check --config-only --config.file=FILE` finds mistakes, and reads the token files.
# docs/configuration.md has the flags and variables.
";

/// The longest line of a comment.
const WIDTH: usize = 110;

/// The file.
#[must_use]
pub fn text() -> String {
    let mut file = String::from(HEAD);
    push_object(&mut file, "", 0);
    file
}

/// The keys below `prefix`, which is empty or ends with a dot. Sections stay together, wherever the
/// table lists their rows.
fn push_object(file: &mut String, prefix: &str, indent: usize) {
    let below =
        || SETTINGS.iter().filter(|setting| setting.key.starts_with(prefix) && !setting.key.is_empty());
    let mut written: Vec<&str> = Vec::new();
    for setting in below() {
        let rest = &setting.key[prefix.len()..];
        let (name, _) = rest.split_once('.').unwrap_or((rest, ""));
        if written.contains(&name) {
            continue;
        }
        written.push(name);
        if indent == 0 {
            file.push('\n');
        }
        if name == rest {
            push_key(file, setting, name, indent);
            continue;
        }
        let inner = format!("{prefix}{name}.");
        let is_in_use = below().any(|setting| setting.key.starts_with(&inner) && default(setting).is_some());
        let blank = " ".repeat(indent);
        let is_list = name.ends_with("[]");
        let mark = if is_in_use && !is_list && !prefix.contains("[]") { "" } else { "#" };
        let _ = writeln!(file, "{blank}{mark}{}:", name.trim_end_matches("[]"));
        if is_list {
            let mut item = String::new();
            push_object(&mut item, &inner, indent + 4);
            file.push_str(&as_list_item(&item, indent + 2));
        } else {
            push_object(file, &inner, indent + 2);
        }
    }
}

/// Puts the dash of a list before the first key.
fn as_list_item(keys: &str, indent: usize) -> String {
    let blank = " ".repeat(indent);
    let first = format!("{blank}  #");
    let mut dashed = false;
    keys.lines().fold(String::new(), |text, line| {
        let is_key = line.strip_prefix(&first).is_some_and(|rest| !rest.starts_with(' '));
        let line = if is_key && !dashed {
            dashed = true;
            format!("{blank}#- {}", &line[first.len()..])
        } else {
            line.to_owned()
        };
        text + &line + "\n"
    })
}

/// The default, if it is a value and not within a list.
fn default(setting: &Setting) -> Option<&'static str> {
    match setting.default {
        DefaultValue::Is(value) if !setting.key.contains("[]") => Some(value),
        _ => None,
    }
}

fn push_key(file: &mut String, setting: &Setting, name: &str, indent: usize) {
    push_comment(file, setting, indent);
    let blank = " ".repeat(indent);
    // A token has one source: a second one is no key to put to use beside the first.
    let mark = if matches!(setting.kind, ValueKind::VariableName) { "# or " } else { "#" };
    let example = match setting.default {
        DefaultValue::Is(value) if setting.example.is_empty() => value,
        _ => setting.example,
    };
    let _ = match default(setting) {
        Some(value) => writeln!(file, "{blank}{name}: {}", yaml_value(setting, value)),
        None => writeln!(file, "{blank}{mark}{name}: {}", yaml_value(setting, example)),
    };
}

fn push_comment(file: &mut String, setting: &Setting, indent: usize) {
    let mut text = format!("{}.", setting.summary);
    if !setting.help.is_empty() {
        let _ = write!(text, " {}", setting.help);
    }
    if let ValueKind::Choice(choices) = setting.kind
        && !setting.help.contains("One of")
    {
        let names: Vec<&str> = choices.iter().map(|choice| choice.name).collect();
        let _ = write!(text, " One of {}.", names.join(", "));
    }
    if default(setting).is_none() {
        let _ = write!(text, " Default: {}.", setting.default.shown());
    }
    if setting.restart {
        text.push_str(" A change needs a restart.");
    }
    let margin = format!("{}# ", " ".repeat(indent));
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && margin.len() + line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(file, "{margin}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(file, "{margin}{line}");
}

/// A value of the table, which writes lists as the command line does, as YAML.
fn yaml_value(setting: &Setting, value: &str) -> String {
    match setting.kind {
        ValueKind::Logs | ValueKind::List | ValueKind::Addresses if !value.starts_with('[') => {
            let items: Vec<String> = value.split(',').map(scalar).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::States | ValueKind::Headers | ValueKind::Logs | ValueKind::List | ValueKind::Addresses => {
            value.to_owned()
        }
        _ => scalar(value),
    }
}

fn scalar(value: &str) -> String {
    let begins_plainly = value.starts_with(|c: char| c.is_alphanumeric() || "/.".contains(c));
    let is_plain = begins_plainly && !value.contains(": ") && !value.contains(['#', '"', '\\']);
    if is_plain {
        value.to_owned()
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    }
}
