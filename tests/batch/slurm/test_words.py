"""SLURM's words in plain ones."""

from __future__ import annotations

import pytest

from rayhpc.batch.job_status import State
from rayhpc.batch.slurm.accounts import read_accounts
from rayhpc.batch.slurm.explain import read_partitions
from rayhpc.batch.slurm.version import SlurmVersion, parse_version
from rayhpc.batch.slurm.words import (
    end_in_words,
    is_hopeless,
    reason_in_words,
    refusal,
    state_of,
)


def test_states() -> None:
    assert state_of("PENDING") is State.PENDING
    assert state_of("COMPLETING") is State.RUNNING
    assert state_of("CANCELLED by 1001") is State.CANCELLED
    assert state_of("COMPLETED+") is State.DONE
    assert state_of("SOMETHING_NEW") is State.RUNNING


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Resources", "the nodes it needs are busy"),
        ("(Priority)", "jobs of higher priority are ahead of it"),
        ("ReqNodeNotAvail, UnavailableNodes:node3", "down, drained or reserved"),
        ("AssocGrpCpuLimit", "a limit of your account"),
        ("QOSMaxJobsPerUserLimit", "quality of service"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_reasons(reason: str, words: str) -> None:
    assert words in reason_in_words(reason)
    assert not is_hopeless(reason)


def test_hopeless_reasons_say_what_to_change() -> None:
    for reason, option in (("PartitionTimeLimit", "--time"), ("PartitionNodeLimit", "--nodes")):
        assert is_hopeless(reason)
        assert option in reason_in_words(reason)


def test_ends() -> None:
    assert "--time" in end_in_words("TIMEOUT")
    assert "--mem" in end_in_words("OUT_OF_MEMORY")
    assert end_in_words("COMPLETED") == ""


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (
            "sbatch: error: invalid partition specified: x\nsbatch: error: It failed",
            "sinfo",
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or partition",
            "--account",
        ),
        (
            "sbatch: error: Unable to contact slurm controller (connect failure)",
            "does not answer",
        ),
        ("allocation failure: Requested node configuration is not available", "can never provide"),
        ("sbatch: unrecognized option '--frobnicate'", "--dry-run"),
    ],
)
def test_refusals_name_a_remedy(said: str, remedy: str) -> None:
    text = refusal("sbatch", said)
    assert remedy in text
    assert text.startswith("sbatch: ")
    assert "error:" not in text


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("slurm 22.05.8", (22, 5, 8)),
        ("slurm-wlm 18.08.9", (18, 8, 9)),
        ("slurm 25.11.0-0rc1", (25, 11, 0)),
        ("slurm 20.11", (20, 11, 0)),
    ],
)
def test_versions(text: str, version: tuple[int, int, int]) -> None:
    assert parse_version(text) == version


def test_what_changed_when() -> None:
    assert not SlurmVersion(20, 2, 7).steps_exclude_each_other
    assert SlurmVersion(20, 11, 0).steps_exclude_each_other
    assert not SlurmVersion(21, 8, 8).ignores_cpus_of_sbatch
    assert SlurmVersion(22, 5, 0).ignores_cpus_of_sbatch
    assert not SlurmVersion(19, 5, 8).says_het
    with pytest.raises(ValueError, match="'no version'"):
        parse_version("no version")


def test_partitions() -> None:
    found = read_partitions("debug*|3/5/0/8\nlong|0/8/0/8\nbroken\n")
    assert [(each.name, each.idle, each.total, each.default) for each in found] == [
        ("debug", 5, 8, True),
        ("long", 8, 8, False),
    ]


# As SLURM 22.05 prints them; an account's own record has no user.
ASSOCIATIONS = """Current Association Manager state

Association Records

ClusterName=lab Account=physics UserName= Partition= Priority=0 ID=2
    SharesRaw/Norm/Level/Factor=1/0.50/1/0.00
ClusterName=lab Account=physics UserName=ada(1001) Partition= Priority=0 ID=3
    SharesRaw/Norm/Level/Factor=1/0.50/1/0.00
    ParentAccount= Lft=4 DefAssoc=Yes
ClusterName=lab Account=lent UserName=ada(1001) Partition=gpu Priority=0 ID=4
ClusterName=lab Account=other UserName=adam(1002) Partition= Priority=0 ID=5
"""


def test_accounts_are_read() -> None:
    assert read_accounts(ASSOCIATIONS, "ada") == ["physics", "lent (partition gpu)"]
    assert read_accounts("No associations currently cached in Slurm.\n", "ada") == []
