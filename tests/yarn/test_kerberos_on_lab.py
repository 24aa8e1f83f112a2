"""`rayhpc submit` where nothing goes without a ticket or token: YARN and HDFS under Kerberos."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.yarn.applications import wait_until
from tests.yarn.labs import SLOW_ON, lab_of, within
from tests.yarn.programs import program, waiting_for
from tests.yarn.seed import ADDRESSES, check_addresses
from tests.yarn.staged import staged
from tests.yarn.terminal import Terminal
from yarn.lab import kerberos
from yarn.lab.lab import Lab
from yarn.lab.processes import of_containers

pytestmark = within(120)

TICKET_S = 4
# By so much the library and the servers may take an expired ticket for a good one.
ROUNDING_S = 2


@pytest.fixture(scope="module", params=SLOW_ON)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with lab_of(request.param, nodes=4, kerberos=True, hdfs=True, protection="privacy") as found:
        yield found


@pytest.fixture
def user(lab: Lab, tmp_path: Path) -> Terminal:
    return Terminal(lab.client_environment(), tmp_path / "home")


@within(180)
def test_four_addresses_under_kerberos_and_privacy(
    lab: Lab, user: Terminal, tmp_path: Path
) -> None:
    # A secure NodeManager shows no logs without Hadoop's native library, which Maven lacks.
    result = tmp_path / "result"
    user.write("helper.py", "ANSWER = 42\n")
    begin = f"import helper, sys\nsys.stdout = open({str(result)!r}, 'w')\n"
    user.write("seed.py", f"{begin}{ADDRESSES}print(helper.ANSWER, __file__)\n")
    words = ["--nodes", "4", "--yarn", "--py-files helper.py", "--", "python", "seed.py"]
    done = user.run("submit", *words)
    assert done.returncode == 0, done.stderr
    found, last = result.read_text().splitlines()
    number, path = last.split()
    assert number == "42"
    assert not path.startswith(str(user.folder))
    wait_until(lambda: not of_containers(lab.layout.run))
    assert "which does not show it; `yarn logs -applicationId application_" in done.stderr
    assert staged(lab) == []
    check_addresses(lab, found)


@within(180)
def test_a_failure_and_what_is_refused(user: Terminal, tmp_path: Path) -> None:
    template = Path(__file__).parents[2] / "yarn" / "plain.yaml"
    user.write("bad.py", "raise SystemExit(9)\n")
    words = ["--template", str(template), "--", "python", "bad.py"]
    assert user.run("submit", *words).returncode == 9
    words = ["--yarn", "--staging shared", "--", "python", "bad.py"]
    assert user.run("submit", *words).returncode == 9
    done = user.run("submit", "--yarn", "--unmanaged", "--", "python", "bad.py")
    assert done.returncode == 78
    assert "with Kerberos YARN does not hand out the ApplicationMaster's token" in done.stderr
    user.environ["KRB5CCNAME"] = f"FILE:{tmp_path}/nosuch"
    done = user.run("submit", "--nodes", "2", "--", "python", "bad.py")
    assert done.returncode == 75
    assert f"Kerberos: there is no ticket in FILE:{tmp_path}/nosuch: " in done.stderr
    assert "klist shows your tickets" in done.stderr


def test_a_job_outlives_the_ticket_of_its_user(lab: Lab, user: Terminal, tmp_path: Path) -> None:
    """It ends as if nothing were; with the expired ticket nothing new can be submitted."""
    go = tmp_path / "go"
    user.write("long.py", program(1, before=waiting_for(go)))
    cache = user.environ["KRB5CCNAME"] = f"FILE:{tmp_path}/short"
    kerberos.log_in(lab.layout, cache, TICKET_S)
    ends = time.time() + TICKET_S
    follower = user.start("submit", "--", "python", "long.py")
    wait_until((tmp_path / "go.started").exists, 60)
    wait_until(lambda: time.time() > ends + ROUNDING_S, TICKET_S + ROUNDING_S)
    expired = f"Kerberos: the ticket of {getpass.getuser()}@{kerberos.REALM} expired on "
    folders = list(user.folder.glob("jobs/*"))
    for words in (["submit", "--", "python", "long.py"], ["jobs"], ["logs", "-f"], ["explain"]):
        done = user.run(*words)
        assert done.returncode == 75, (words, done.stderr)
        assert expired in done.stderr
        assert done.stderr.endswith(": kinit gets a new one\n")
    assert list(user.folder.glob("jobs/*")) == folders
    go.touch()
    _, said = follower.communicate(timeout=60)
    assert follower.returncode == 0, said
    assert said.count(expired) >= 1
    # What was staged cannot be removed without a ticket: the next command that has one does it.
    assert len(staged(lab)) == 1
    user.environ["KRB5CCNAME"] = lab.client_environment()["KRB5CCNAME"]
    assert user.run("logs").returncode == 0
    assert staged(lab) == []
