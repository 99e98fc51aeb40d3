"""The doctor: facts, checks, and the exit code when one fails."""

import pytest

from selfportrait import doctor
from selfportrait.cli import main

Capture = pytest.CaptureFixture[str]


def fail() -> str:
    raise ValueError("the palette\nis gone")


def test_facts_name_packages_machine_and_models() -> None:
    facts = dict(doctor.facts())
    assert {"selfportrait", "python", "torch", "devices", "cores", "memory", "embedded models"} <= facts.keys()
    assert "cpu" in facts["devices"]


def test_the_judge_passes_here() -> None:
    (check, *_) = doctor.checks()
    assert check.work() == "5 of 5"


def test_a_failed_check_is_told_and_counts(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(doctor, "checks", lambda: [doctor.Check("bad", fail), doctor.Check("good", lambda: "fine")])
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  bad: ValueError: the palette is gone (" in out
    assert "pass  good: fine (" in out


def test_without_a_failure_the_exit_code_is_0(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(doctor, "checks", list)
    assert main(["doctor"]) == 0
    assert "torch" in capsys.readouterr().out
