"""One redactor, one corpus: 200 lines with a secret, 100 without."""

import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.knowledge.redaction import MASK, line_redactor, looks_random, redact

_CORPUS = runpy.run_path(str(Path(__file__).parents[3] / "fixtures" / "secrets.py"))
SECRETS: tuple[tuple[str, str], ...] = _CORPUS["SECRETS"]
INNOCENT: tuple[str, ...] = _CORPUS["INNOCENT"]


def test_the_corpus_is_complete() -> None:
    """200 secrets and 100 innocent lines, all different."""
    assert (len(set(SECRETS)), len(set(INNOCENT))) == (200, 100)


@pytest.mark.parametrize(("line", "secret"), SECRETS)
def test_no_secret_of_the_corpus_is_left(line: str, secret: str) -> None:
    """The secret is masked whole: no eight characters of it in a row are left, and the line's begin stays."""
    masked = redact(line)

    assert MASK in masked
    assert not any(secret[i : i + 8] in masked for i in range(len(secret) - 7))
    assert masked[:4] == line[:4] or line.startswith("-----")


@pytest.mark.parametrize("line", INNOCENT)
def test_an_innocent_line_stays_as_it_is(line: str) -> None:
    """What only speaks of keys, tokens and passwords is not touched."""
    assert redact(line) == line


PIECES = ("password", "token", "key", "=", ": ", " is ", " ", '"', "'", "--", "\\", "://", "@", "[", "]", MASK,
          "Bearer ", "hunter2", "tR3al5ecretF0rT3sts", "-----BEGIN PRIVATE KEY-----", "word", "\n")  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """A masked text has no secret left to mask."""
    assert redact(redact(text)) == redact(text)


def test_a_private_key_is_masked_line_by_line() -> None:
    """A key whose lines come one at a time is masked from its armour's begin to its end, and no further."""
    redact_line = line_redactor()
    key = ["loading", "-----BEGIN RSA PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED", "", "TUlJRXBBSUJBQUtDQVFFQXlG",
           "-----END RSA PRIVATE KEY-----", "TUlJRXBBSUJBQUtDQVFFQXlG is a build", "done"]  # fmt: skip

    assert [redact_line(line) for line in key] == ["loading", *[MASK] * 5, key[6], "done"]


def test_a_key_without_an_end_masks_no_ordinary_line() -> None:
    """Where the end of a key is lost, the first line that is no part of a key ends it."""
    redact_line = line_redactor()
    redact_line("-----BEGIN PRIVATE KEY-----")

    assert redact_line("worker started in 12 ms") == "worker started in 12 ms"


@pytest.mark.parametrize(
    ("word", "drawn"),
    [
        ("9f86d081884c7d659a2feaa0c55ad015", True),
        ("tR3al5ecretF0r", True),
        ("scheduled_prompt_tick_2", False),
        ("2026-01-01T00:00:00Z", False),
        ("aaaaaaaaaaaaaaaa1111", False),
        ("short1A", False),
    ],
)
def test_drawn_words_are_told_from_chosen_ones(word: str, drawn: bool) -> None:
    """Length, entropy and change between kinds of characters decide."""
    assert looks_random(word) is drawn
