//! `docs/configuration.md`, written from the settings table.
//!
//! A setting that several commands have is explained where the first of them lists it; the others
//! name it and point there. The example file is in [`super::example`].

use std::fmt::Write as _;

use super::example;
use super::setting::{CommandName, Setting, SettingGroup, ValueKind};
use super::table::{self, COMMANDS, SETTINGS};

const INTRODUCTION: &str = "\
# Configuration

A setting has a flag, an environment variable and a key in the configuration file (`--config.file`):

```console
$ cryptolens-exporter serve --poll.interval=30s
$ CRYPTOLENS_POLL_INTERVAL=30s cryptolens-exporter serve
$ cryptolens-exporter serve --config.file=config.yml      # with the lines `poll:` and `  interval: 30s`
```

- A flag overrides its variable, which overrides the file, which overrides the default. A variable that is set but empty
  counts as not set.
- The last of a repeated flag wins; a flag that takes a list adds up, and its variable takes a list with commas.
- A switch needs no value: `--web.enable-lifecycle` is `true`, and `--web.enable-lifecycle=false` turns off what a variable
  or the file turned on.
- Durations have units: `90s`, `15m`, `1h 30m`, `30d`. Paths in the file are relative to the directory of the file.
- Options of one run have no key, and accounts have no flag.
- Each command reads the settings that it lists and no others: a bad value of a setting that a command does not have does not
  stop it. Keys and shapes of the file are checked as a whole. All mistakes are shown at once, each with where it was found
  and what would be right; the exit code is 2.
- `SIGHUP` (or `POST /-/reload`, see `--web.enable-lifecycle`) reads token files and the configuration file again. A setting
  with *restart* takes effect when the process is started again; the log says which of them have changed. If the new
  configuration is bad, the old one stays in use.

`cryptolens-exporter COMMAND --help` says the same in a terminal, and `cryptolens-exporter check` tries a configuration.
";

const FILE: &str = "
## The file

Most set-ups need no file. Several accounts, names of products and names of state codes do:

```yaml
# yaml-language-server: $schema=https://raw.githubusercontent.com/cryptolens-exporter/cryptolens-exporter/main/docs/configuration.schema.json
since: 30d
accounts:
  - name: desktop
    token_file: /run/secrets/desktop
    products: [{id: 3349, name: Drawing Studio}]
  - name: server
    token_env: SERVER_TOKEN
    logs: [web_api]
states: {2021: \"activation failed: key is blocked\"}
```

";

const FILE_CHECKS: &str = "
[configuration.schema.json](configuration.schema.json) describes the file for editors: with the first line above, or a path
to a copy in its place, an editor that knows YAML schemas completes keys, shows their help and marks mistakes.
`cryptolens-exporter check --config-only` finds those that a schema cannot express.

Keys with a flag are listed with the commands below. The others:

| key | default | restart | |
|---|---|---|---|
";

/// The page.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str(
        "\n| command | |\n|---|---|\n| [the file](#the-file) | Settings and accounts, for all commands |\n",
    );
    for row in COMMANDS {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} |", row.name.name(), row.summary);
    }
    push_file(&mut page);
    for row in COMMANDS {
        let _ = write!(page, "\n## {}\n\n{}. {}\n", row.name.name(), row.summary, row.help);
        let mut groups: Vec<SettingGroup> = Vec::new();
        let listed: Vec<&Setting> = table::of_command(row.name).filter(is_listed).collect();
        for setting in &listed {
            if !groups.contains(&setting.group) {
                groups.push(setting.group);
            }
        }
        for group in groups {
            let of_group = listed.iter().filter(|setting| setting.group == group);
            let (own, shared): (Vec<&Setting>, Vec<&Setting>) =
                of_group.copied().partition(|setting| explained_by(setting) == Some(row.name));
            push_group(&mut page, group, &own, &shared);
        }
    }
    page
}

fn push_file(page: &mut String) {
    page.push_str(FILE);
    let _ = writeln!(
        page,
        "[{0}]({0}) has every key with its default and what it means, to copy from.",
        example::FILE_NAME
    );
    page.push_str(FILE_CHECKS);
    for setting in SETTINGS.iter().filter(|setting| !setting.key.is_empty() && !setting.is_typed()) {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            setting.key,
            cell(setting.default.shown()),
            yes(setting.restart),
            cell(&description(setting))
        );
    }
}

/// True for a setting of a command line or a variable.
fn is_listed(setting: &&'static Setting) -> bool {
    setting.is_typed() || !setting.variable.is_empty()
}

/// The command whose section explains a setting: the first one that has it.
fn explained_by(setting: &Setting) -> Option<CommandName> {
    COMMANDS.iter().map(|row| row.name).find(|command| setting.is_of(*command))
}

fn push_group(page: &mut String, group: SettingGroup, own: &[&Setting], shared: &[&Setting]) {
    let _ = write!(page, "\n### {}\n\n", group.heading());
    if !own.is_empty() {
        page.push_str(
            "| flag | environment | key in the file | default | restart | |\n|---|---|---|---|---|---|\n",
        );
        for setting in own {
            push_row(page, setting);
        }
    }
    if let Some(command) = shared.first().and_then(|setting| explained_by(setting)) {
        let names: Vec<String> = shared.iter().map(|setting| shared_name(setting)).collect();
        let lead = if own.is_empty() { "As" } else { "\nAnd as" };
        let _ = writeln!(page, "{lead} for [`{0}`](#{0}): {1}.", command.name(), names.join(", "));
    }
}

/// A flag with its variable, or the variable alone.
fn shared_name(setting: &Setting) -> String {
    match (setting.is_typed(), setting.variable) {
        (true, "") => format!("`{}`", setting.typed_name()),
        (true, variable) => format!("`{}` (`{variable}`)", setting.typed_name()),
        (false, variable) => format!("`{variable}`"),
    }
}

fn push_row(page: &mut String, setting: &Setting) {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let flag = if setting.is_typed() { code(&setting.typed_name()) } else { "(no flag)".to_owned() };
    let _ = writeln!(
        page,
        "| {flag} | {} | {} | {} | {} | {} |",
        code(setting.variable),
        code(setting.key),
        cell(setting.default.shown()),
        yes(setting.restart),
        cell(&description(setting))
    );
}

/// Summary, help and choices in one cell.
fn description(setting: &Setting) -> String {
    let mut text = format!("{}.", setting.summary);
    if !setting.help.is_empty() {
        let _ = write!(text, " {}", setting.help);
    }
    if let ValueKind::Choice(choices) = setting.kind
        && !setting.help.contains("One of")
    {
        let names: Vec<String> = choices.iter().map(|choice| format!("`{}`", choice.name)).collect();
        let _ = write!(text, " One of {}.", names.join(", "));
    } else if setting.is_typed() && !setting.example.is_empty() && setting.argument.is_empty() {
        let _ = write!(text, " Example: `--{}={}`.", setting.flag, setting.example);
    }
    text
}

const fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "" }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
