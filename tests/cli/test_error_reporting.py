"""Errors name the options of the command in place of Python's arguments."""

from legato.cli._error_reporting import name_options


def test_arguments_in_messages_become_options():
    message = name_options("Say group=, columns='a b' or\n missing='drop'.")
    assert message == "Say --group, --column 'a b' or --missing 'drop'."
    assert name_options("column 'time=x'") == "column 'time=x'"
    assert name_options("short: shortest=4.") == "short: --shortest 4."


def test_arguments_in_messages_become_options_of_stream():
    message = name_options("window=n, pad=1.5 or a higher limit=. other_weights=True.")
    assert message == "--window n, --pad 1.5 or a higher --limit. --other-weights."
