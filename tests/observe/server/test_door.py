"""Who is let in: one browser for each link, from this machine's names alone, and no other page."""

from __future__ import annotations

import pytest

from rayhpc.observe.server.door import Door

HOST = {"host": "localhost:4711"}


def test_a_link_works_once_and_leaves_a_cookie_for_further_tabs() -> None:
    door = Door()
    link = door.new_link()
    first = door.judge(HOST, "", link)
    assert (first.refusal, bool(first.cookie)) == ("", True)
    assert "has been used" in door.judge(HOST, "", link).refusal
    assert door.judge(HOST, first.cookie, link) == ("", "")
    assert door.judge(HOST, first.cookie, None) == ("", "")


def test_without_a_link_or_with_a_wrong_one_nobody_is_let_in() -> None:
    door = Door()
    door.new_link()
    assert "opens with the link" in door.judge(HOST, "", None).refusal
    for token in ("", "x", "ü", door.new_link() + "x"):
        assert "wrong" in door.judge(HOST, "", token).refusal
    assert door.judge(HOST, "no cookie of ours", None).refusal
    assert Door().judge(HOST, "", door.new_link()).refusal


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4711", "", "localhost.evil.example"]
)
def test_names_that_are_not_this_machines_are_refused(host: str) -> None:
    door = Door()
    assert "localhost alone" in door.judge({"host": host}, "", door.new_link()).refusal
    for ours in ("localhost", "127.0.0.1:1", "[::1]:80", "LOCALHOST:9"):
        assert not door.judge({"host": ours}, "", door.new_link()).refusal


def test_other_pages_may_not_read_not_even_behind_a_proxy() -> None:
    for door in (Door(), Door(behind_proxy=True)):
        cookie = door.judge(HOST, "", door.new_link()).cookie
        for more in (
            {"origin": "https://evil.example"},
            {"origin": "http://localhost:8888"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
            {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        ):
            assert door.judge({**HOST, **more}, cookie, None).refusal, more
        for more in (
            {"origin": "http://localhost:4711"},
            {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        ):
            assert not door.judge({**HOST, **more}, cookie, None).refusal, more


def test_behind_a_proxy_its_name_is_good_and_no_link_is_needed() -> None:
    door = Door(behind_proxy=True)
    assert door.judge({"host": "hub.example.org"}, "", None) == ("", "")
