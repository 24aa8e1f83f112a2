"""The report is one file that asks nobody for anything, and nothing in it is markup but its own."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from msgspec.structs import replace

from rayhpc.observe import facts
from rayhpc.observe.page import page
from rayhpc.observe.recording import ActorFacts
from rayhpc.observe.views.everything import views
from rayhpc.wire.messages.cluster import Moved
from rayhpc.wire.messages.listings import NodeHistory, NodeSample, WorkerRow
from tests.observe.generator import BEGIN, Made, large

MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--{}%s"


class Elements(HTMLParser):
    """Which elements a page has, and with which attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._is_data = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._is_data = dict(attrs).get("id") == "views"

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data += data

    def handle_endtag(self, tag: str) -> None:
        self._is_data = False


def named_after_markup() -> Made:
    """A program that has put markup into everything that it can name."""
    made = Made(nodes=2, names=[MARKUP, MARKUP + "2"])
    made.command = ["python", MARKUP]
    made.notes.append(MARKUP)
    made.tracebacks[MARKUP] = MARKUP
    actor = b"a" * 16
    for i in range(12):
        made.run(MARKUP, i * 1.0, 1.0, error=MARKUP, actor=actor)
    made.run("f", 20.0, 9.0, node=1, sent=10)
    node = made.nodes[0].info.node_id
    made.actors.append(ActorFacts(actor, MARKUP, MARKUP, MARKUP, node, 1, 1, MARKUP, BEGIN, 0.0))
    made.ended.append(
        WorkerRow(1 << 32 | 9, 5, "worker", "dead", exit_type=MARKUP, exit_detail=MARKUP)
    )
    made.nodes[1] = replace(made.nodes[1], alive=False, ended=MARKUP)
    made.nodes[0] = replace(made.nodes[0], errors=1, last_error=MARKUP)
    sample = NodeSample(BEGIN, 0, 0, 0, 0, 0, Moved(), 5, 10)
    made.history.append(NodeHistory(1, 1.0, [sample]))
    return made


def made_of(made: Made, **job: object) -> str:
    found = replace(made.recording(**job), demand=[({MARKUP: 1}, 3, MARKUP)])
    return page(views(facts.snapshot(found)))


def test_markup_in_every_field_stays_data() -> None:
    text = made_of(named_after_markup(), id=MARKUP, scheduler=MARKUP)
    elements = Elements(text)
    names = [tag for tag, _ in elements.found]
    assert names.count("script") == 2
    assert "img" not in names
    assert "<!--" not in text
    shown = json.loads(elements.data)
    told = json.dumps(shown)
    # Command, job, function (thrice), node, actor, failure, loss, note, demand …
    assert told.count("alert(1)") > 20
    plain = made_of(Made())
    assert names == [*names[: names.index("p")], *["p"] * names.count("p"), "script", "script"]
    assert [x for x, _ in Elements(plain).found if x != "p"] == [x for x in names if x != "p"]


def test_nothing_but_its_own_script_may_run_and_no_host_is_asked() -> None:
    text = made_of(Made())
    elements = Elements(text)
    (policy,) = [a["content"] for tag, a in elements.found if a.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for tag, attributes in elements.found:
        assert not {"src", "href", "action", "onload"} & attributes.keys(), tag
    assert not re.search(r"@import|url\(", text)
    # Names of XML, which are no addresses to fetch.
    hosts = set(re.findall(r"https?://([\w.]+)", text))
    assert hosts <= {"www.w3.org"}


def test_the_report_of_many_tasks_is_small() -> None:
    text = page(views(facts.snapshot(large(150_000, 100, 4))))
    assert len(text) < 2_000_000
    assert json.loads(Elements(text).data)["timeline"]["is_merged"]


def test_a_reader_without_scripts_sees_it_in_short() -> None:
    made = Made(cpus=2)
    for i in range(30):
        made.run("work", i * 1.0, 1.0)
    text = made_of(made)
    assert "python train.py" in text
    assert "<p>exit code 0, 30.0 s, 30 runs, 0 failed</p>" in text
    assert "instead of get(f.remote(x)) in a loop" in text
