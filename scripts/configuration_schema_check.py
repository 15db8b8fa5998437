#!/usr/bin/env python3
"""Validates the fixtures of tests/config against docs/configuration.schema.json.

Every good file must be valid. A bad file must be refused, unless its mistake is one that no schema
can see: those are listed below with the reason, and the list is checked both ways.
"""

import json
import pathlib
import sys

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "config"

ENVIRONMENT = "the mistake is in a flag, a variable or a file beside the configuration"
BETWEEN = "the mistake is a relation between entries"
CALENDAR = "only a calendar or a clock knows"
BEYOND_SCHEMA = {
    "account_duplicate_name": BETWEEN,
    "account_product_duplicate": BETWEEN,
    "account_shared_token": BETWEEN,
    "account_variable_not_set": ENVIRONMENT,
    "accounts_beside_token": ENVIRONMENT,
    "accounts_beside_token_file": BETWEEN,
    "api_timeout_too_long": CALENDAR,
    "ca_file_missing": ENVIRONMENT,
    "ca_file_without_certificate": ENVIRONMENT,
    "flag_value": ENVIRONMENT,
    "history_labels_clash": BETWEEN,
    "history_otlp_without_endpoint": BETWEEN,
    "history_target_ca_without_certificate": ENVIRONMENT,
    "history_target_name_twice": BETWEEN,
    "history_target_password_file_missing": ENVIRONMENT,
    "license_name_twice": BETWEEN,
    "listen_address_covered": BETWEEN,
    "listen_address_twice": BETWEEN,
    "no_token": ENVIRONMENT,
    "poll_interval_events_too_long": CALENDAR,
    "poll_interval_too_short": CALENDAR,
    "since_day_that_does_not_exist": CALENDAR,
    "token_file_directory": ENVIRONMENT,
    "token_file_empty": ENVIRONMENT,
    "token_file_missing": ENVIRONMENT,
    "token_file_with_spaces": ENVIRONMENT,
    "token_variable_with_spaces": ENVIRONMENT,
    "two_tokens": ENVIRONMENT,
    "two_tokens_flag": ENVIRONMENT,
    "variable_value": ENVIRONMENT,
}


class Loader(yaml.SafeLoader):
    """YAML 1.2 as editors read it: a date is a text, and a repeated key is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [str(key.value) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def with_text_keys(value):
    """JSON has text keys only; editors take the key 2021 for a text, too."""
    if isinstance(value, dict):
        return {str(key): with_text_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_text_keys(item) for item in value]
    return value


def refusal(validator, path):
    """The first thing that is wrong with a file, or None."""
    try:
        document = with_text_keys(yaml.load(path.read_text(encoding="utf-8"), Loader))
    except yaml.YAMLError as error:
        return f"not YAML: {error}"
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    return None if error is None else f"{error.json_path}: {error.message}"


def main():
    schema = json.loads((ROOT / "docs" / "configuration.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    wrong = []
    good, bad = sorted(FIXTURES.glob("*.good.yml")), sorted(FIXTURES.glob("*.bad.yml"))
    assert good and bad, "there are no fixtures"
    for path in good:
        reason = refusal(validator, path)
        if reason is not None:
            wrong.append(f"{path.name} is refused: {reason}")
    for path in bad:
        name = path.name.removesuffix(".bad.yml")
        refused, excused = refusal(validator, path) is not None, name in BEYOND_SCHEMA
        if refused == excused:
            wrong.append(f"{path.name} is {'refused, take it off the list' if refused else 'accepted'}")
    unknown = BEYOND_SCHEMA.keys() - {path.name.removesuffix(".bad.yml") for path in bad}
    wrong += [f"{name}.bad.yml does not exist" for name in sorted(unknown)]
    if wrong:
        sys.exit("\n".join(wrong))
    print(
        f"{len(good)} good and {len(bad)} bad configuration files, {len(BEYOND_SCHEMA)} of them beyond a schema: passed"
    )


if __name__ == "__main__":
    main()
