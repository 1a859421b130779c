"""What all experiments share: settings from words, finished parts, one line for a user's error."""

import dataclasses
import importlib

import pytest

from experiments._command import ended
from experiments._kept import kept
from experiments._settings import at_least, names, read


@dataclasses.dataclass(frozen=True)
class Settings:
    """A run."""

    smoke: bool = False
    """Small."""
    steps: int = 100
    """How many."""
    rooms: tuple[str, ...] = ("a",)
    """Which."""


def test_smoke_changes_defaults_and_words_change_both():
    assert read(Settings, {"steps": 2}, "x", []).steps == 100
    assert read(Settings, {"steps": 2}, "x", ["--smoke"]).steps == 2
    assert read(Settings, {"steps": 2}, "x", ["--smoke", "--steps", "7"]).steps == 7


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="settings: steps must be at least 200; got 100"):
        at_least(Settings(), steps=200)
    with pytest.raises(ValueError, match="settings: rooms must be among b, c; got a"):
        names(Settings(), rooms=("b", "c"))
    with pytest.raises(ValueError, match="got none"):
        names(Settings(rooms=()), rooms=("b", "c"))


def test_finished_parts_are_read_back_under_the_same_stamp(tmp_path):
    path, made = tmp_path / "part.json", []

    def make():
        made.append(1)
        return [{"value": 0.1 + len(made)}]

    first = kept(path, ["part", 0], make)
    assert kept(path, ["part", 0], make) == first
    assert len(made) == 1
    assert kept(path, ["part", 1], make) != first


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stamp": ["part", 0]}'])
def test_a_spoilt_part_is_refused_and_left_as_it_is(tmp_path, text, capsys):
    path = tmp_path / "part.json"
    path.write_text(text)
    code = ended("experiments.x", lambda argv: kept(path, ["part", 0], list), [])
    assert code == 2
    assert "must hold rows of an earlier run" in capsys.readouterr().err
    assert path.read_text() == text


WRONG = {
    "energy": ["--studies", "rose"],
    "metrics": ["--only", "rose"],
    "microcanonical": ["--studies", "rose"],
    "point_patterns": ["--patterns", "rose"],
    "unnormalised": ["--chains", "0"],
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_words_end_in_one_line(name, tmp_path, capsys):
    main = importlib.import_module(f"experiments.{name}._run").main
    assert main(["--run", str(tmp_path), *WRONG[name]]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"experiments.{name}: settings: ")
    assert line.count("\n") == 1
