"""Tokens for HDFS as its web server gives them, and as its clients look them up."""

from __future__ import annotations

import json

import pytest

from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.tokens import HDFS_KIND, Token
from rayhpc.hadoop.web import Web
from rayhpc.hadoop.webhdfs import open_webhdfs
from tests.yarn.fake.web import WebServer

GIVEN = Token(b"identifier", b"password", "WEBHDFS delegation", "")


@pytest.mark.parametrize(
    ("further", "service"),
    [
        ({}, "127.0.0.1:9000"),
        ({"dfs.ha.namenodes.127.0.0.1": "nn1"}, "ha-hdfs:127.0.0.1"),
    ],
)
def test_a_token_is_what_hdfs_clients_look_for(further: dict[str, str], service: str) -> None:
    asked = []

    def page(path: str, query: dict[str, str]) -> str:
        asked.append((path, query["op"], query["renewer"]))
        return json.dumps({"Token": {"urlString": GIVEN.to_text()}})

    server = WebServer("127.0.0.1", page)
    try:
        address = f"127.0.0.1:{server.port}"
        properties = {
            "fs.defaultFS": "hdfs://127.0.0.1:9000",
            "hadoop.security.authentication": "kerberos",
            "dfs.namenode.http-address": address,
            "dfs.namenode.http-address.127.0.0.1.nn1": address,
            **further,
        }
        files = open_webhdfs(Configuration(properties), Web(secure=False, user="me"))
        token = files.delegation_token("rm/_HOST@REALM")
    finally:
        server.close()
    assert asked == [("/webhdfs/v1/", "GETDELEGATIONTOKEN", "rm/_HOST@REALM")]
    assert token == Token(GIVEN.identifier, GIVEN.password, HDFS_KIND, service)
