//! The command line, built from the settings table.
//!
//! It hands over what was typed as text: [`crate::config`] merges it with the environment and the
//! file, and checks it, so that every source has the same rules and the same messages. Flags name
//! their variables in the help text, and clap never reads them.
//!
//! It does not know which values are valid. A token that is typed is refused here, before any
//! message can repeat it: a command line can be read by every user of a machine.

mod generate;

use std::ffi::{OsStr, OsString};

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::VERSION;
use crate::commands;
use crate::config::setting::{
    ChoiceRow, CommandName, CommandRow, DefaultValue, Setting, SettingGroup, ValueKind,
};
use crate::config::table::{self, COMMANDS};
use crate::config::{self, FlagValues};

/// The width that help pages are wrapped at, however wide the terminal is.
const HELP_WIDTH: usize = 100;

const SUMMARY: &str = "Counts every entry of the Cryptolens (Devolens) logs exactly once, for Prometheus";

const DESCRIPTION: &str = "\
Counts every entry of the Cryptolens (Devolens) logs exactly once, for Prometheus

Polls the Web API Log, the Events Log and the Object Log of a Cryptolens (Devolens) account, counts every entry exactly \
once, also through crashes and restarts, and serves the counts as Prometheus metrics.

To look around without an account, run `cryptolens-exporter demo`.";

const TOKEN_HELP: &str = "\
Access token:
  CRYPTOLENS_TOKEN
          The token itself. There is no flag for it, because every user of a
          machine can read command lines. To hand it over in a file, see
          --api.token-file.

          Create one at https://app.cryptolens.io/User/AccessToken#/ that may
          call the methods of the logs you want (GetWebAPILog, GetEvents,
          GetObjectLog; see --logs of serve) and has no key lock.

Precedence:
  A flag overrides its environment variable, which overrides the file, which
  overrides the default. A variable that is set but empty counts as not set.
  The last of a repeated flag wins; a flag that takes a list adds up.
  A flag or variable --since or --logs holds for every account of the file.";

/// A command line that was understood.
#[derive(Debug)]
pub enum CommandLine {
    /// A command to run.
    Run(TypedCommand),
    /// A page to print: shell completions, or a page of the manual.
    Print(Vec<u8>),
}

/// A command with its flags and arguments.
#[derive(Debug, Clone)]
pub struct TypedCommand {
    /// The command.
    pub name: CommandName,
    /// Its flags and arguments.
    pub flags: FlagValues,
}

/// Parses a command line, the name of the program first.
///
/// # Errors Bad usage, and also `--help` and `--version`, whose text the error carries:
/// [`clap::Error::exit`] does the right thing with each.
pub fn parse<I, T>(typed: I) -> Result<CommandLine, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let typed: Vec<OsString> = typed.into_iter().map(Into::into).collect();
    refuse_typed_tokens(&typed)?;
    let matches = definition().try_get_matches_from(typed)?;
    if let Some(page) = generate::page(definition(), &matches) {
        let page = page.map_err(|error| definition().error(ErrorKind::Io, error))?;
        return Ok(CommandLine::Print(page));
    }
    let row = matches.subcommand().and_then(|(name, matches)| {
        let row = COMMANDS.iter().find(|row| row.name.name() == name)?;
        Some((row.name, matches))
    });
    // Clap requires a command, and knows those of the table only.
    let Some((name, matches)) = row else {
        return Err(definition().error(ErrorKind::MissingSubcommand, "expected a command"));
    };
    let mut flags = FlagValues::default();
    for setting in table::of_command(name).filter(|setting| setting.is_typed()) {
        let values = typed_values(matches, setting);
        if !values.is_empty() {
            flags.insert(setting, values);
        }
    }
    Ok(CommandLine::Run(TypedCommand { name, flags }))
}

fn typed_values(matches: &ArgMatches, setting: &Setting) -> Vec<String> {
    matches.get_many::<String>(setting.id()).into_iter().flatten().cloned().collect()
}

/// A token that is typed, wherever and for whatever, would be in messages, names of files or
/// labels. Only the simulator takes one: an invented one.
fn refuse_typed_tokens(typed: &[OsString]) -> Result<(), clap::Error> {
    if typed.get(1).is_some_and(|command| command == CommandName::Simulate.name()) {
        return Ok(());
    }
    let Some(place) = config::find_token(typed) else {
        return Ok(());
    };
    let message = format!(
        "argument {place} looks like an access token (not shown): every user of a machine can read command lines; hand it \
         over in {} or in a file named by --{}",
        table::TOKEN.variable,
        table::API_TOKEN_FILE.flag
    );
    Err(definition().error(ErrorKind::ValueValidation, message))
}

/// The whole command line as clap parses it.
#[must_use]
pub fn definition() -> Command {
    Command::new("cryptolens-exporter")
        .version(VERSION)
        .about(SUMMARY)
        .long_about(DESCRIPTION)
        .max_term_width(HELP_WIDTH)
        .arg_required_else_help(true)
        .subcommand_required(true)
        .propagate_version(true)
        // A wrapper appends to flags that somebody else wrote: an image, a unit, a chart.
        .args_override_self(true)
        .subcommands(COMMANDS.iter().map(subcommand))
        .subcommands(generate::subcommands())
}

fn subcommand(row: &CommandRow) -> Command {
    let long_about = format!("{}\n\n{}\n\nExample: {}", row.summary, row.help, row.example);
    let settings = table::of_command(row.name).filter(|setting| setting.is_typed());
    let mut command = Command::new(row.name.name())
        .about(row.summary)
        .long_about(long_about)
        .args_override_self(true)
        .args(settings.map(arg));
    if row.needs_token {
        command = command.after_long_help(TOKEN_HELP);
    }
    if !row.usage.is_empty() {
        command = command.override_usage(row.usage);
    }
    command
}

fn arg(setting: &'static Setting) -> Arg {
    let mut arg = Arg::new(setting.id()).help(short_help(setting)).long_help(long_help(setting));
    if setting.argument.is_empty() {
        arg = arg.long(setting.flag).help_heading(setting.group.heading());
    } else {
        // No variable can give it, so that clap can require it.
        let required = matches!(setting.default, DefaultValue::Means(_));
        arg = arg.value_name(setting.argument).required(required);
    }
    if let Some(short) = setting.short {
        arg = arg.short(short);
    }
    if !setting.value_name.is_empty() {
        arg = arg.value_name(setting.value_name);
    }
    match setting.kind {
        // `--flag` alone is true, and `--flag=false` overrides a variable or the file.
        ValueKind::Switch => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
            .hide_possible_values(true)
            .value_parser(AnyText(setting)),
        _ if setting.is_list() => arg.action(ArgAction::Append).value_parser(AnyText(setting)),
        _ => arg.action(ArgAction::Set).value_parser(AnyText(setting)),
    }
}

fn short_help(setting: &Setting) -> String {
    let mut help = setting.summary.to_owned();
    if let (SettingGroup::Arguments, DefaultValue::Is(default)) = (setting.group, setting.default) {
        help = format!("{help} [default: {default}]");
    }
    if !setting.variable.is_empty() {
        help = format!("{help} [env: {}]", setting.variable);
    }
    help
}

fn long_help(setting: &Setting) -> String {
    let mut paragraphs = vec![setting.summary.to_owned()];
    if !setting.help.is_empty() {
        paragraphs.push(setting.help.to_owned());
    }
    if setting.flag == table::SIMULATE_FAULT.flag {
        let kinds = commands::fault_kinds();
        paragraphs.push(format!("The kinds, with what their value means and its default:\n\n{kinds}"));
    }
    let default = setting.default.shown();
    paragraphs.push(if setting.flag.is_empty() {
        format!("Default: {default}.")
    } else if setting.example.is_empty() {
        format!("Default: {default}. Example: --{}", setting.flag)
    } else {
        format!("Default: {default}. Example: --{}={}", setting.flag, setting.example)
    });
    if !setting.variable.is_empty() {
        paragraphs.push(format!("[env: {}]", setting.variable));
    }
    paragraphs.join("\n\n")
}

/// Takes any text, as [`crate::config`] checks it. Help pages and shell completions show the
/// choices all the same.
#[derive(Clone)]
struct AnyText(&'static Setting);

impl TypedValueParser for AnyText {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        if matches!(self.0.kind, ValueKind::Switch) {
            return Some(Box::new(["true", "false"].into_iter().map(PossibleValue::new)));
        }
        let ValueKind::Choice(choices) = self.0.kind else { return None };
        let value = |choice: &ChoiceRow| {
            let value = PossibleValue::new(choice.name);
            if choice.help.is_empty() { value } else { value.help(choice.help) }
        };
        Some(Box::new(choices.iter().map(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceLevel, Sources, Variables};

    fn typed(line: &[&str], setting: &Setting) -> Option<String> {
        let CommandLine::Run(parsed) = parse(["x"].iter().chain(line)).unwrap() else { panic!("no command") };
        let variables = Variables::default();
        let sources = Sources::without_file(&parsed.flags, &variables);
        sources.at(SourceLevel::Flag, setting).map(|found| found.text)
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn typed_values_stay_as_typed() {
        let line = ["serve", "--api.timeout=soon", "--since", "30d"];
        assert_eq!(typed(&line, &table::API_TIMEOUT).as_deref(), Some("soon"));
        assert_eq!(typed(&line, &table::SINCE).as_deref(), Some("30d"));
        assert_eq!(typed(&line, &table::API_URL), None);
    }

    #[test]
    fn check_takes_the_flags_of_serve() {
        let line = ["check", "--logs=events", "--config-only"];
        assert_eq!(typed(&line, &table::CONFIG_ONLY).as_deref(), Some("true"));
        assert_eq!(typed(&line, &table::LOGS).as_deref(), Some("events"));
        assert_eq!(typed(&["check"], &table::CONFIG_ONLY), None);
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins_except_that_lists_add_up() {
        let line = ["serve", "--since=1d", "--since=2d", "--logs=web_api", "--logs=events,objects"];
        assert_eq!(typed(&line, &table::SINCE).as_deref(), Some("2d"));
        assert_eq!(typed(&line, &table::LOGS).as_deref(), Some("web_api,events,objects"));
        let line = ["report", "--days=1", "--days=2", "--states=2014", "--states=2015,2024"];
        assert_eq!(typed(&line, &table::REPORT_DAYS).as_deref(), Some("2"));
        assert_eq!(typed(&line, &table::STATES).as_deref(), Some("2014,2015,2024"));
        let line = ["export", "web-api", "--since=1d", "--since=2d", "--resume", "--resume"];
        assert_eq!(typed(&line, &table::EXPORT_SINCE).as_deref(), Some("2d"));
        assert_eq!(typed(&line, &table::EXPORT_RESUME).as_deref(), Some("true"));
    }

    #[test]
    fn a_switch_can_be_turned_off() {
        let switch = |flags: &[&str]| typed(&[&["serve"], flags].concat(), &table::ENABLE_LIFECYCLE);
        assert_eq!(switch(&[]), None);
        assert_eq!(switch(&["--web.enable-lifecycle"]).as_deref(), Some("true"));
        assert_eq!(switch(&["--web.enable-lifecycle=false"]).as_deref(), Some("false"));
        assert_eq!(switch(&["--web.enable-lifecycle", "--web.enable-lifecycle=no"]).as_deref(), Some("no"));
        // The next word is another argument, not the value of this one.
        let line = ["export", "--resume", "web-api"];
        assert_eq!(typed(&line, &table::EXPORT_RESUME).as_deref(), Some("true"));
        assert_eq!(typed(&line, &table::EXPORT_LOG).as_deref(), Some("web-api"));
    }

    fn printed(line: &[&str]) -> String {
        let CommandLine::Print(page) = parse(["x"].iter().chain(line)).unwrap() else { panic!("no page") };
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn each_shell_completes_commands_flags_and_choices() {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let script = printed(&["completions", shell]);
            for word in ["healthcheck", "storage.foreign-ledger", "license-key-file"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            // The generators of the other two leave choices out.
            let with_choices = ["bash", "fish", "zsh"].contains(&shell);
            assert_eq!(with_choices, script.contains("set-aside") && script.contains("logfmt"), "{shell}");
        }
        assert_eq!(parse(["x", "completions", "cmd"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn the_manual_has_a_page_for_each_command() {
        let page = printed(&["man"]);
        for row in COMMANDS {
            assert!(page.contains(&format!("cryptolens\\-exporter\\-{}", row.name.name())), "{page}");
            let page = printed(&["man", row.name.name()]);
            let summary = row.summary.replace('\'', "\\*(Aq");
            assert!(page.contains(".TH ") && page.contains(&summary), "{page}");
            for setting in table::of_command(row.name).filter(|setting| !setting.flag.is_empty()) {
                let flag = setting.flag.replace('-', "\\-");
                assert!(page.contains(&flag) && page.contains(setting.variable), "{flag} is not in {page}");
            }
        }
    }

    #[test]
    fn a_token_is_never_a_flag() {
        for flag in ["--token=x", "--api.token=x"] {
            let error = parse(["x", "serve", flag]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{flag}");
        }
        assert_eq!((table::TOKEN.flag, table::TOKEN.key), ("", ""));
    }
}
