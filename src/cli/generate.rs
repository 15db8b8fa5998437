//! `completions` and `man`: pages that are made from the definition of the command line.

use std::io;

use clap::builder::EnumValueParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::config::table::COMMANDS;

const NAME: &str = "cryptolens-exporter";
const COMPLETIONS: &str = "completions";
const MAN: &str = "man";
const SHELL: &str = "SHELL";
const COMMAND: &str = "COMMAND";

/// The two commands, which have no settings.
pub(super) fn subcommands() -> [Command; 2] {
    let shell = Arg::new(SHELL)
        .help("Shell to complete in")
        .required(true)
        .value_parser(EnumValueParser::<Shell>::new());
    let command = Arg::new(COMMAND)
        .help("Command to describe; all of them together if none is given")
        .value_parser(COMMANDS.iter().map(|row| row.name.name()).collect::<Vec<_>>());
    [
        Command::new(COMPLETIONS)
            .about("Print the completions of a shell")
            .long_about(
                "Print the completions of a shell\n\nPrints a script for the shell, with every command, flag and choice.\n\n\
                 Example: cryptolens-exporter completions bash > /etc/bash_completion.d/cryptolens-exporter",
            )
            .arg(shell),
        Command::new(MAN)
            .about("Print the manual page")
            .long_about(
                "Print the manual page\n\nPrints the page of one command, or the page that lists all commands, as troff.\n\n\
                 Example: cryptolens-exporter man serve > /usr/local/share/man/man1/cryptolens-exporter-serve.1",
            )
            .arg(command),
    ]
}

/// The page that a command line asks for, if it asks for one.
pub(super) fn page(definition: Command, matches: &ArgMatches) -> Option<io::Result<Vec<u8>>> {
    match matches.subcommand()? {
        (COMPLETIONS, matches) => Some(Ok(completions(definition, *matches.get_one(SHELL)?))),
        (MAN, matches) => Some(manual(definition, matches.get_one::<String>(COMMAND).map(String::as_str))),
        _ => None,
    }
}

fn completions(mut definition: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition, NAME, &mut script);
    script
}

fn manual(mut definition: Command, command: Option<&str>) -> io::Result<Vec<u8>> {
    // Gives each subcommand its whole name, `cryptolens-exporter-serve`.
    definition.build();
    let described = match command {
        Some(name) => definition.find_subcommand(name).cloned().unwrap_or(definition),
        None => definition,
    };
    let mut page = Vec::new();
    Man::new(described).render(&mut page)?;
    Ok(page)
}
