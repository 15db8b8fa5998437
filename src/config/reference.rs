//! `docs/configuration.md`, written from the settings table.

use std::fmt::Write as _;

use super::setting::{CommandName, Setting, SettingGroup};
use super::table::{self, COMMANDS, SETTINGS};

const INTRODUCTION: &str = "\
# Configuration

A setting has a flag, an environment variable and a key in the configuration file (`--config.file`). A flag overrides its
variable, which overrides the file, which overrides the default. A variable that is set but empty counts as not set. The
last of a repeated flag wins; a flag that takes a list adds up, and its variable takes a list with commas. Options of one
run have no key, and accounts have no flag.

Each command reads the settings that it lists and no others: a bad value of a setting that a command does not have
does not stop it. Keys and shapes of the file are checked as a whole.

`SIGHUP` reads token files and the configuration file again. A setting with \"restart\" takes effect when the process is
started again; the log says which of them have changed. If the new configuration is bad, the old one stays in use.
";

const FILE: &str = "
## The file

```yaml
# yaml-language-server: $schema=https://raw.githubusercontent.com/cryptolens-exporter/cryptolens-exporter/main/docs/configuration.schema.json
since: 30d
poll: {interval: 30s}
accounts:
  - name: desktop
    token_file: /run/secrets/desktop
    products: [{id: 3349, name: Drawing Studio}]
  - name: server
    token_env: SERVER_TOKEN
    logs: [web_api]
states: {2021: \"activation failed: key is blocked\"}
objects: {first_code: 0}
```

[configuration.schema.json](configuration.schema.json) describes the file for editors: with the first line above, or a path
to a copy in its place, an editor that knows YAML schemas completes keys, shows their help and marks mistakes.
`cryptolens-exporter check --config-only` finds those that a schema cannot express.

Keys with a flag are listed with `serve`. The others:

| key | default | restart | |
|---|---|---|---|
";

/// The page.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for row in COMMANDS {
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {}\n\n{}.\n", row.name.name(), row.summary);
        if row.name == CommandName::Check {
            page.push_str("\nTakes every flag of `serve`, and:\n");
        }
        let shared = |setting: &&Setting| row.name == CommandName::Check && setting.is_of(CommandName::Serve);
        let mut group = None;
        for setting in table::of_command(row.name).filter(is_listed).filter(|setting| !shared(setting)) {
            if group != Some(setting.group) {
                push_heading(&mut page, setting.group);
                group = Some(setting.group);
            }
            push_row(&mut page, setting);
        }
    }
    page.push_str(FILE);
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
    page
}

/// True for a setting of a command line or a variable.
fn is_listed(setting: &&'static Setting) -> bool {
    setting.is_typed() || !setting.variable.is_empty()
}

fn push_heading(page: &mut String, group: SettingGroup) {
    let _ = write!(
        page,
        "\n### {}\n\n| flag | environment | key in the file | default | restart | |\n|---|---|---|---|---|---|\n",
        group.heading()
    );
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
        cell(setting.summary)
    );
}

/// Summary and help in one cell.
fn description(setting: &Setting) -> String {
    if setting.help.is_empty() {
        setting.summary.to_owned()
    } else {
        format!("{}. {}", setting.summary, setting.help)
    }
}

const fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "" }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
