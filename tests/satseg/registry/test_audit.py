"""The audit log and what follows from it."""

import json

import pytest

from satseg.registry.audit import AuditEntry, actor, append, champions, entries
from satseg.registry.stage_words import stage_word
from satseg.stages import Gate


def entry(action, to, before=None, **more):
    return AuditEntry(who="ada", action=action, from_version=before, to_version=to, **more)


def test_lines_are_json_with_who_when_what_and_why(tmp_path):
    log = tmp_path / "audit" / "houses.jsonl"
    gate = Gate(name="floor", passed=True, value=0.5, bound=0.3, evidence="why")
    append(log, entry("promoted", "2", "1", gates=[gate], reason="better roofs"))
    line = json.loads(log.read_text())
    assert {"time", "who", "action", "from", "to", "gates", "reason"} <= line.keys()
    assert (line["from"], line["to"], line["action"], line["gates"][0]["name"]) == ("1", "2", "promoted", "floor")


def test_entries_come_back_in_order(tmp_path):
    log = tmp_path / "houses.jsonl"
    made = [entry("registered", "1"), entry("promoted", "1"), entry("refused", "2", "1")]
    for one in made:
        append(log, one)
    assert entries(log) == made
    assert entries(tmp_path / "none.jsonl") == []


def test_the_same_entry_is_written_once(tmp_path):
    log, one = tmp_path / "houses.jsonl", entry("promoted", "1")
    append(log, one)
    append(log, one)
    assert len(log.read_text().splitlines()) == 1


def test_torn_last_line_neither_hides_nor_spoils_other_lines(tmp_path):
    log = tmp_path / "houses.jsonl"
    first, second = entry("promoted", "1"), entry("promoted", "2", "1")
    append(log, first)
    with log.open("a") as stream:
        stream.write('{"id": "torn')
    append(log, second)
    assert entries(log) == [first, second]


@pytest.mark.parametrize(
    ("log", "stack"),
    [
        ([], []),
        ([entry("registered", "1"), entry("promoted", "1")], ["1"]),
        ([entry("promoted", "1"), entry("refused", "2", "1"), entry("promoted", "3", "1")], ["1", "3"]),
        ([entry("promoted", "1"), entry("promoted", "2", "1"), entry("rolled_back", "1", "2")], ["1"]),
        (
            [*(entry("promoted", to) for to in "1213"), entry("rolled_back", "1", "3"), entry("rolled_back", "2", "1")],
            ["1", "2"],
        ),
        ([entry("rolled_back", "4", "5")], ["4"]),  # the log's beginning was lost
    ],
)
def test_champions_are_replayed_from_the_log(log, stack):
    assert champions(log) == stack


def test_actor_is_the_person_named_or_the_account():
    assert actor("Ada") == "Ada"
    assert "@" in actor()


@pytest.mark.parametrize(
    ("aliases", "was_champion", "word"),
    [
        (["champion"], True, "Production"),
        (["challenger"], False, "Staging"),
        (["challenger"], True, "Staging"),
        (["previous"], False, "Archived"),
        ([], True, "Archived"),
        ([], False, "None"),
    ],
)
def test_stage_words_follow_the_aliases(aliases, was_champion, word):
    assert stage_word(aliases, was_champion) == word
