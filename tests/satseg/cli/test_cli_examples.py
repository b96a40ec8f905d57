"""Every command and group shows an example, and every example is one that the program understands."""

import re
import shlex

import pytest
import typer

from satseg.cli.app import build

USAGE_ERROR = typer.BadParameter.__mro__[1]  # Typer does not say where its click is
ROOT = typer.main.get_command(build())


def all_commands(command, path=("satseg",)):
    """Yield the words that name each command and group, with it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from all_commands(inner, (*path, name))


def examples(command):
    """Return the lines behind the word Example in a help text."""
    _, word, shown = command.help.partition("Example")
    ticked = re.findall(r"`([^`]+)`", shown)
    return ticked or [line.strip() for line in shown.splitlines()[1:] if line.strip()] if word else []


def satseg_words(line):
    """Return the words of the satseg command in a shell line, without what stands before it or takes its output."""
    words = shlex.split(line)
    words = words[words.index("satseg") :]
    return tuple(words[: words.index("|")] if "|" in words else words)


def understood(words):
    """Parse the words as the program does, down to the command's own, without running it; returns what was named."""
    command, rest, parent, path = ROOT, list(words[1:]), None, ["satseg"]
    while True:
        context = command.make_context(path[-1], rest, parent=parent)
        if not hasattr(command, "commands"):
            return tuple(path)
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        path.append(name)
        parent = context


NAMED = dict(all_commands(ROOT))


@pytest.mark.parametrize("path", NAMED, ids=" ".join)
def test_help_shows_examples_that_the_program_understands(path):
    lines = examples(NAMED[path])
    assert lines, f"`{' '.join(path)} --help` shows no example"
    for line in lines:
        assert understood(satseg_words(line))[: len(path)] == path, line


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("satseg models lst", "lst"),
        ("satseg drift test --nights 2026-03-31", "--nights"),
        ("satseg models compare champion", "'B'"),
        ("satseg tune --trials many", "'--trials'"),
    ],
)
def test_a_wrong_example_would_be_seen(line, word):
    with pytest.raises(USAGE_ERROR) as error:
        understood(satseg_words(line))
    assert word in error.value.format_message()
