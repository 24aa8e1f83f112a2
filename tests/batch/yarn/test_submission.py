"""From a request to what YARN is handed, without a cluster."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import msgspec
import pytest

from rayhpc.batch.errors import OptionError
from rayhpc.batch.job_status import State
from rayhpc.batch.request import JobRequest
from rayhpc.batch.yarn import document, words
from rayhpc.batch.yarn.application import Application
from rayhpc.batch.yarn.launching import container_environment
from rayhpc.batch.yarn.logs import _length, _since
from rayhpc.batch.yarn.rendering import render_yaml
from rayhpc.batch.yarn.reports import status_of
from rayhpc.batch.yarn.staging import choose
from rayhpc.batch.yarn.words import YarnOptions
from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.messages.applications import (
    ApplicationReportProto,
    YarnApplicationStateProto,
)
from rayhpc.hadoop.messages.records import ApplicationIdProto, FinalApplicationStatusProto

TEMPLATE = "yarn/application.yaml.j2"
STATES = YarnApplicationStateProto
FINAL = FinalApplicationStatusProto


def rendered(
    request: JobRequest, options: YarnOptions = YarnOptions(), staging: str = "shared"
) -> document.Document:
    return document.read(render_yaml(TEMPLATE, request, options, staging))


def test_a_plain_request() -> None:
    found = rendered(JobRequest(("python", "-c", "print('\"$x')"), nodes=4, work_dir="/w"))
    assert found.program.command == ["python", "-c", "print('\"$x')"]
    assert (found.containers.nodes, found.containers.needed) == (4, 4)
    assert (found.application.queue, found.application.attempts) == ("default", 2)
    assert found.program.directory == "/w"
    assert found.environment == {}
    assert found.files == []


def test_all_options_find_their_place(tmp_path: Path) -> None:
    (tmp_path / "lib.py").touch()
    request = JobRequest(
        ("python", "x"),
        nodes=8,
        min_nodes=6,
        cpus_per_node=4,
        gpus_per_node="a100:2",
        mem="16G",
        time="1:30:00",
        partition="root.ml",
        constraint="gpu",
        job_name='odd "name" # here',
        requeue=False,
        env={"A_B": "x: y # z"},
        start_timeout=90.0,
        as_ray=False,
    )
    options = words.parse(
        [
            *("--priority", "7", "--tag", "a", "--tag", "b", "--view-acl", "alice,bob staff"),
            *("--py-files", str(tmp_path / "lib.py"), "--restarts", "0", "--gather", "5"),
        ]
    )
    found = rendered(request, options, "webhdfs")
    told, size = found.application, found.containers
    assert told.name == 'odd "name" # here'
    assert (told.queue, told.node_label, told.lifetime) == ("root.ml", "gpu", 5400)
    assert (told.priority, told.attempts) == (7, 1)
    assert told.tags == ["rayhpc", "a", "b"]
    assert told.view_acl == "alice,bob staff"
    assert (size.needed, size.memory, size.vcores, size.gpus) == (6, 16384, 4, 2)
    assert (size.restarts, size.gather, size.start_timeout) == (0, 5.0, 90.0)
    assert found.environment == {"A_B": "x: y # z"}
    assert found.program.options == ["--no-as-ray"]
    assert found.program.directory == ""
    assert found.files == [document.File("lib.py", str(tmp_path / "lib.py"))]


def test_a_script_is_shipped_where_the_nodes_do_not_see_it(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.touch()
    request = JobRequest(("python", "-u", str(script), "--lr", "1"))
    found = rendered(request, staging="webhdfs")
    assert found.program.command == ["python", "-u", "train.py", "--lr", "1"]
    assert found.files == [document.File("train.py", str(script))]
    assert rendered(request).program.command[2] == str(script)


def test_an_environment_is_checked_before_it_is_shipped(tmp_path: Path) -> None:
    request = JobRequest(("python", "x"))
    packed = tmp_path / "env.tar.gz"
    for names, says in (
        (["lib/site-packages/rayhpc/__init__.py"], "has no bin/python"),
        (["bin/python"], "lacks rayhpc: install it in that environment"),
    ):
        with tarfile.open(packed, "w:gz") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
        with pytest.raises(OptionError, match=says):
            rendered(request, YarnOptions(archive=str(packed)))
    zipped = tmp_path / "env.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("bin/python", "")
        archive.writestr("lib/python3/site-packages/rayhpc/__init__.py", "")
    found = rendered(request, YarnOptions(archive=str(zipped)))
    assert found.program.python == "./environment/bin/python"
    assert found.files == [document.File("environment", str(zipped), unpack=True)]
    (tmp_path / "env.rar").touch()
    with pytest.raises(OptionError, match=r"YARN unpacks .tar.gz, .tgz, .tar, .zip"):
        rendered(request, YarnOptions(archive=str(tmp_path / "env.rar")))
    (tmp_path / "bad.zip").write_text("x")
    with pytest.raises(OptionError, match="--archive .* cannot be read"):
        rendered(request, YarnOptions(archive=str(tmp_path / "bad.zip")))
    zipped.rename(tmp_path / "env.whl")
    with pytest.raises(OptionError, match=r"env.whl is no wheel of rayhpc"):
        rendered(request, YarnOptions(wheel=str(tmp_path / "env.whl")))


def test_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """Also one that has the name of a file of ours."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("x.py", "application.json"):
            (tmp_path / folder / name).touch()
    one, other, ours = (str(tmp_path / each) for each in ("a/x.py", "b/x.py", "a/application.json"))
    assert len(rendered(JobRequest(("x",)), YarnOptions(py_files=(one, one))).files) == 2
    for named in ((one, other), (ours,)):
        with pytest.raises(OptionError, match="each container has one folder for all"):
            rendered(JobRequest(("x",)), YarnOptions(files=named))


def test_files_that_are_not_there_are_named() -> None:
    with pytest.raises(OptionError, match="there is no file nosuch.py to ship"):
        rendered(JobRequest(("x",)), YarnOptions(py_files=("nosuch.py",)))


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (["--nosuch"], "--yarn: unrecognized arguments: --nosuch; it takes --priority, --tag"),
        (["--priority", "high"], "invalid int value: 'high'"),
        (["--staging", "ftp"], "invalid choice: 'ftp'"),
        (["--restarts", "-1"], "--restarts takes a number from 0 on"),
        (["--gather", "nan"], "--gather seconds above 0"),
        (["--gather", "inf"], "--gather seconds above 0"),
        (["--priority", "99999999999"], "--priority takes a number from 0 to 2147483647"),
        (["--tag", "\u00e9t\u00e9"], "YARN takes plain ASCII only"),
    ],
)
def test_wrong_words_are_refused(said: list[str], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        words.parse(said)


def test_memory_must_be_said() -> None:
    with pytest.raises(OptionError, match="say how much, as in --mem 16G"):
        rendered(JobRequest(("x",), mem="0"))


def test_a_template_of_the_users_own_decides(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml.j2"
    own.write_text(
        "application:\n  name: {{ name }}\ncontainers:\n  nodes: 2\n  needed: 1\n  memory: 99\n"
        'program:\n  command: ["x"]\n  python: "/p"\n'
    )
    found = rendered(JobRequest(("y",), template=own, job_name="n"))
    assert (found.application.name, found.containers.memory) == ("n", 99)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("application:\n  name: plain", "line 2: 'plain' is not JSON"),
        ('application:\n  name: "a" "b"', "line 2: '\"b\"' follows a value"),
        ("  x: 1", "line 1: 'x: 1' is no value"),
        ('application:\n  nmae: "a"', "unknown field `nmae`"),
        ('application:\n  name: "a"\n', "missing required field `containers`"),
        ("containers:\n  gather: NaN", "line 2: 'NaN' is not JSON"),
        (
            'application:\n  name: "a"\n  priority: 99999999999\n',
            "Expected `int` <= 2147483647 - at `\\$.application.priority`",
        ),
        ("application:\n  name: 3\n", "Expected `str`, got `int` - at `\\$.application.name`"),
    ],
)
def test_wrong_yaml_is_refused_with_its_line_or_name(text: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        document.read(text)


def test_where_files_are_put() -> None:
    assert choose("auto", Configuration({"fs.defaultFS": "hdfs://nn"})) == "webhdfs"
    assert choose("auto", Configuration({"fs.defaultFS": "file:///"})) == "shared"
    assert choose("auto", Configuration({})) == "shared"
    assert choose("hdfs", Configuration({})) == "hdfs"


def report(state: STATES, final: FINAL, diagnostics: str) -> ApplicationReportProto:
    return ApplicationReportProto(
        applicationId=ApplicationIdProto(id=7, cluster_timestamp=1),
        yarn_application_state=state,
        final_application_status=final,
        diagnostics=diagnostics,
    )


@pytest.mark.parametrize(
    ("given", "word", "state", "code", "reason"),
    [
        (report(STATES.ACCEPTED, FINAL.APP_UNDEFINED, "N/A"), "ACCEPTED", State.PENDING, None, ""),
        (report(STATES.RUNNING, FINAL.APP_UNDEFINED, "old"), "RUNNING", State.RUNNING, None, ""),
        (
            report(STATES.FINISHED, FINAL.APP_SUCCEEDED, "well (rayhpc exit code 0)"),
            *("SUCCEEDED", State.DONE, 0, "well"),
        ),
        (
            report(STATES.FINISHED, FINAL.APP_FAILED, "bad (rayhpc exit code 3)"),
            *("FAILED", State.FAILED, 3, "bad"),
        ),
        (
            report(STATES.FAILED, FINAL.APP_FAILED, "AM Container exited\n\tat java"),
            *("FAILED", State.FAILED, 1, "AM Container exited"),
        ),
        (
            report(STATES.KILLED, FINAL.APP_KILLED, "[Sun Nov 29 15:50:52 +0000 2026] Killed by x"),
            *("KILLED", State.CANCELLED, None, "Killed by x"),
        ),
    ],
)
def test_reports_in_our_words(
    given: ApplicationReportProto, word: str, state: State, code: int | None, reason: str
) -> None:
    found = status_of(given)
    assert found.id == "application_1_0007"
    assert (found.word, found.state) == (word, state)
    assert (found.exit_code, found.reason) == (code, reason)


def page(log: bytes, size: int) -> bytes:
    head = f"Container: c on h\nLogType:stdout\nLogLength:{len(log)}\nLogContents:\n".encode()
    return head + log[-size:] + b"End of LogType:stdout.\n***\n"


def test_logs_are_read_from_where_we_are() -> None:
    log = b"End of LogType:\nLogContents:\nabc\n\xff\n"
    assert _length(page(log, 1)) == len(log)
    for have in range(len(log)):
        for size in range(len(log) - have, len(log) + 9):
            assert _since(have, page(log, size), size) == log[have:]
    # It has grown so much that what is shown begins later.
    assert _since(0, page(log, 3), 3) == b""
    assert _since(0, b"", 3) == b""


def test_a_container_knows_when_yarn_kills_its_application() -> None:
    limited = Application(
        name="j", command=["x"], nodes=1, needed=1, python="p", memory_mib=1, lifetime_s=600
    )
    told = {"APP_SUBMIT_TIME_ENV": "1700000000999"}

    def end(application: Application, environ: dict[str, str]) -> str | None:
        return container_environment(application, 1, 1, environ=environ).get("RAYHPC_END_TIME")

    assert end(limited, told) == "1700000600"
    assert end(limited, {}) is None
    assert end(msgspec.structs.replace(limited, lifetime_s=0), told) is None
