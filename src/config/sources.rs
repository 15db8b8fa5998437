//! Where the values of settings come from, and in which order.
//!
//! Promises: a flag overrides its variable, which overrides the file, which overrides the default;
//! a variable that is set to nothing counts as absent; only a setting that is asked for is looked
//! at, so that a command does not fail because of a setting that it does not have. All problems are
//! collected, so that one run shows all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::{Environment, reason, set_variable};
use super::file::{self, FileValues};
use super::problem::{ConfigError, Problem, ValueOrigin};
use super::setting::{CommandName, DefaultValue, Setting, ValueKind};
use super::table;
use super::value::SourcedValue;
use crate::cryptolens::token::looks_like_a_token;

/// The values that the command line gives, by [`Setting::id`]. A list flag has several.
#[derive(Debug, Clone, Default)]
pub struct FlagValues {
    values: BTreeMap<&'static str, Vec<String>>,
}

impl FlagValues {
    /// Adds what was typed for a setting. For a switch, that is `true`.
    pub fn insert(&mut self, setting: &Setting, typed: Vec<String>) {
        self.values.insert(setting.id(), typed);
    }

    /// The value of a setting: the last one typed, or for a list all of them with commas in
    /// between.
    fn get(&self, setting: &Setting) -> Option<String> {
        let typed = self.values.get(setting.id())?;
        if setting.is_list() { Some(typed.join(",")) } else { typed.last().cloned() }
    }
}

/// Where a value can come from, in descending precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceLevel {
    /// The command line.
    Flag,
    /// The environment.
    Variable,
    /// The configuration file.
    File,
}

impl SourceLevel {
    /// All of them, the one that wins first.
    pub const ALL: [SourceLevel; 3] = [Self::Flag, Self::Variable, Self::File];
}

/// All sources of the settings of one run.
pub struct Sources<'a> {
    flags: &'a FlagValues,
    pub(super) environment: &'a dyn Environment,
    pub(super) file: FileValues,
    /// The directory of the configuration file, which relative paths in it start from.
    directory: PathBuf,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Sources<'a> {
    /// Flags and environment only, for commands without a configuration file.
    #[must_use]
    pub fn without_file(flags: &'a FlagValues, environment: &'a dyn Environment) -> Self {
        let (file, directory) = (FileValues::default(), PathBuf::new());
        Self { flags, environment, file, directory, problems: Vec::new() }
    }

    /// Flags, environment, and the configuration file if one is named.
    ///
    /// # Errors The file cannot be read, or is not YAML. What is wrong within it is noted, and is
    /// part of the error of [`Sources::finish`].
    pub fn with_file(flags: &'a FlagValues, environment: &'a dyn Environment) -> Result<Self, ConfigError> {
        let mut sources = Self::without_file(flags, environment);
        let Some(found) = sources.sourced(&table::CONFIG_FILE) else { return Ok(sources) };
        if looks_like_a_token(&found.text) {
            return Err(ConfigError::Invalid(vec![found.bad(table::CONFIG_FILE.expected)]));
        }
        let path = PathBuf::from(&found.text);
        let text = environment.read_file(&path).map_err(|error| ConfigError::UnreadableFile {
            origin: found.origin,
            path: path.clone(),
            reason: reason(&error),
        })?;
        sources.directory = path.parent().map(Path::to_owned).unwrap_or_default();
        sources.file = file::read(&path, &text, &mut sources.problems);
        // Nothing else of the file is known after a syntax error: a token that seems to be missing,
        // say, may well be there.
        if sources.problems.iter().any(|problem| matches!(problem, Problem::Syntax { .. })) {
            return Err(ConfigError::Invalid(sources.problems));
        }
        Ok(sources)
    }

    /// The value of a setting at one level.
    #[must_use]
    pub fn at(&self, level: SourceLevel, setting: &Setting) -> Option<SourcedValue> {
        match level {
            SourceLevel::Flag => {
                let text = self.flags.get(setting)?;
                Some(SourcedValue { text, origin: ValueOrigin::Flag(setting.typed_name()) })
            }
            SourceLevel::Variable => {
                let name = Some(setting.variable).filter(|name| !name.is_empty())?;
                let text = set_variable(self.environment, name)?;
                let flag = setting.is_typed().then(|| setting.typed_name());
                Some(SourcedValue { text, origin: ValueOrigin::Variable { name: name.to_owned(), flag } })
            }
            SourceLevel::File => self.file.single(setting.key).cloned(),
        }
    }

    /// The value of a setting at the highest level that has one.
    #[must_use]
    pub fn sourced(&self, setting: &Setting) -> Option<SourcedValue> {
        SourceLevel::ALL.into_iter().find_map(|level| self.at(level, setting))
    }

    /// The first of several settings that stand for each other, at the highest level that has one
    /// of them. `at_once` refuses two of them at the levels that it names, with the reason.
    pub fn first_of(
        &mut self,
        settings: &[&'static Setting],
        at_once: (&[SourceLevel], &str),
    ) -> Option<(&'static Setting, SourcedValue)> {
        for level in SourceLevel::ALL {
            let mut found: Vec<(&Setting, SourcedValue)> = Vec::new();
            for setting in settings {
                found.extend(self.at(level, setting).map(|value| (*setting, value)));
            }
            let (refused, reason) = at_once;
            if let [(_, first), (_, second), ..] = &found[..]
                && refused.contains(&level)
            {
                self.problems.push(Problem::Conflict {
                    first: first.origin.to_string(),
                    second: second.origin.to_string(),
                    reason: reason.to_owned(),
                });
            }
            if !found.is_empty() {
                return found.into_iter().next();
            }
        }
        None
    }

    /// The checked value of a setting, or of its default. `None` is a bad value, whose problem is
    /// noted, or a default that only the code knows.
    pub fn get<T>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&SourcedValue, &Setting) -> Result<T, Problem>,
    ) -> Option<T> {
        let found = self.sourced(setting).or_else(|| match setting.default {
            DefaultValue::Is(text) => {
                let origin = ValueOrigin::Flag(setting.typed_name());
                Some(SourcedValue { text: text.to_owned(), origin })
            }
            DefaultValue::Means(_) => None,
        })?;
        self.noted(parse(&found, setting))
    }

    /// The same for a setting that the command cannot do without.
    pub fn require<T>(
        &mut self,
        command: CommandName,
        setting: &Setting,
        parse: impl FnOnce(&SourcedValue, &Setting) -> Result<T, Problem>,
    ) -> Option<T> {
        if self.sourced(setting).is_none() {
            self.needs(command.name(), setting);
        }
        self.get(setting, parse)
    }

    /// Notes that a setting is missing which a command or another setting needs.
    pub fn needs(&mut self, who: &str, setting: &Setting) {
        let mut needed = setting.typed_name();
        if !setting.variable.is_empty() {
            needed = format!("{needed} ({})", setting.variable);
        }
        let (command, expected) = (who.to_owned(), setting.expected());
        self.problems.push(Problem::Needed { command, needed, expected });
    }

    /// The path that a setting names; one in the file is relative to the directory of the file.
    pub fn path(&mut self, setting: &Setting) -> Option<PathBuf> {
        let directory = self.directory.clone();
        self.get(setting, |found, setting| path(found, setting, &directory))
    }

    /// The path that a value names, for a setting that stands in a list of the file.
    pub(super) fn path_of(&mut self, found: &SourcedValue, setting: &Setting) -> Option<PathBuf> {
        let path = path(found, setting, &self.directory);
        self.noted(path)
    }

    /// Notes what is wrong.
    pub fn noted<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    /// True if nothing that was asked for is bad so far.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// The settings, if nothing is wrong with any that was asked for.
    ///
    /// # Errors
    /// Everything that is wrong, in the order: flags and variables, then down the file.
    pub fn finish<T>(mut self, settings: Option<T>) -> Result<T, ConfigError> {
        match settings {
            Some(settings) if self.problems.is_empty() => Ok(settings),
            _ => {
                self.problems.sort_by_key(Problem::line);
                Err(ConfigError::Invalid(self.problems))
            }
        }
    }
}

fn path(found: &SourcedValue, setting: &Setting, directory: &Path) -> Result<PathBuf, Problem> {
    debug_assert!(matches!(setting.kind, ValueKind::Path), "{} is no path", setting.id());
    let path = found.text.trim();
    // A directory or a message with this name would show a token.
    if path.is_empty() || looks_like_a_token(path) {
        return Err(found.bad(setting.expected));
    }
    Ok(match found.origin {
        ValueOrigin::File(_) => directory.join(path),
        _ => PathBuf::from(path),
    })
}
