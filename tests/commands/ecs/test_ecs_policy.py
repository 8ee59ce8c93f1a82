"""The task role's documents, as the command prints them."""

import json

import pytest

from sidecar import cli
from tests.support.reading import ROOT


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        ((), "policy.json"),
        (("--license-manager",), "license-manager-policy.json"),
        (("--trust",), "ecs-task-trust-policy.json"),
    ],
)
def test_policy_is_the_documented_one(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], file: str
) -> None:
    """The installed package prints what docs/iam shows, to the byte."""
    assert 0 == cli.main(["ecs", "policy", *arguments])
    assert capsys.readouterr().out == (ROOT / "docs/iam" / file).read_text()


def test_trust_is_filled_in(capsys: pytest.CaptureFixture[str]) -> None:
    """Account and Region go where they belong, and nothing else changes."""
    assert 0 == cli.main(["ecs", "policy", "--trust", "--account", "111122223333", "--region", "eu-west-1"])
    (statement,) = json.loads(capsys.readouterr().out)["Statement"]
    assert {
        "StringEquals": {"aws:SourceAccount": "111122223333"},
        "ArnLike": {"aws:SourceArn": "arn:aws:ecs:eu-west-1:111122223333:*"},
    } == statement["Condition"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--account", "111122223333"), "belong to --trust"),
        (("--license-manager", "--region", "eu-west-1"), "belong to --trust"),
        (("--trust", "--license-manager"), "are two documents"),
        (("--trust", "--account", "1111"), "is not an account id"),
        (("--trust", "--region", "Ireland"), "is not the name of a Region"),
    ],
)
def test_wrong_filling_is_refused(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    """A role is not made to trust what is no account and no Region."""
    assert 2 == cli.main(["ecs", "policy", *arguments])
    shown = capsys.readouterr()
    assert ("", True) == (shown.out, words in shown.err)
