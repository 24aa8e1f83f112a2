"""Hadoop's XML files, and where the ResourceManagers are."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayhpc.hadoop.configuration import Configuration, find_folder
from rayhpc.hadoop.errors import ConfigurationError
from rayhpc.hadoop.ids import (
    application_name,
    container_name,
    parse_application,
    parse_container,
)
from rayhpc.hadoop.resource_managers import (
    CLIENTS,
    MASTERS,
    addresses,
    parse_address,
    web_addresses,
)
from rayhpc.hadoop.resources import GPU, Size

RM = "yarn.resourcemanager"


def write(folder: Path, name: str = "yarn-site.xml", **properties: str) -> Path:
    body = "".join(
        f"<property><name>{key.replace('__', '.').replace('_', '-')}</name>{value}</property>"
        for key, value in properties.items()
    )
    (folder / name).write_text(f"<configuration>{body}</configuration>")
    return folder


def test_values_are_substituted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_HOST", "rm9")
    monkeypatch.delenv("LAB_NONE", raising=False)
    write(
        tmp_path,
        a="<value>x${b}</value>",
        b="<value>y${c}</value>",
        c="<value>z</value>",
        unknown="<value>${nobody.knows}</value>",
        loop="<value>${loop}</value>",
        env="<value>${env.LAB_HOST}/${env.LAB_NONE-plain}/${env.LAB_NONE:-colon}</value>",
    )
    found = Configuration.load(tmp_path)
    assert found["a"] == "xyz"
    assert found["unknown"] == "${nobody.knows}"
    assert found["loop"] == "${loop}"
    assert found["env"] == "rm9/plain/colon"
    assert sorted(found) == ["a", "b", "c", "env", "loop", "unknown"]


def test_later_files_win_unless_a_property_is_final(tmp_path: Path) -> None:
    write(tmp_path, "core-site.xml", a="<value>1</value><final>true</final>", b="<value>1</value>")
    write(tmp_path, a="<value>2</value>", b="<value>2</value>")
    found = Configuration.load(tmp_path)
    assert (found["a"], found["b"]) == ("1", "2")


def test_files_may_include_others(tmp_path: Path) -> None:
    write(tmp_path, "more.xml", a="<value>1</value>")
    (tmp_path / "yarn-site.xml").write_text(
        '<configuration xmlns:xi="http://www.w3.org/2001/XInclude">'
        '<xi:include href="more.xml"/><property name="b" value="2"/></configuration>'
    )
    found = Configuration.load(tmp_path)
    assert (found["a"], found["b"]) == ("1", "2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<configuration><property>", "yarn-site.xml cannot be read: .*; correct the file"),
        ("<other/>", "its root is <other>"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "yarn-site.xml").write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        Configuration.load(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no yarn-site.xml: set HADOOP_CONF_DIR"):
        Configuration.load(tmp_path)
    with pytest.raises(ConfigurationError, match=f"^{tmp_path} has no yarn-site.xml: set HADOOP"):
        Configuration.of_environment({"HADOOP_CONF_DIR": str(tmp_path)})
    with pytest.raises(ConfigurationError, match="no Hadoop configuration: set HADOOP_CONF_DIR"):
        Configuration.of_environment({})
    write(tmp_path)
    assert find_folder({"YARN_CONF_DIR": "/nonexistent", "HADOOP_CONF_DIR": str(tmp_path)}) == (
        tmp_path
    )


def test_switches_and_numbers_name_their_property() -> None:
    found = Configuration({"a": "true", "b": "maybe", "c": "12", "d": "many"}, "/etc/hadoop")
    assert found.is_true("a")
    assert not found.is_true("none")
    assert found.number("c", 1) == 12
    assert found.number("none", 1) == 1
    with pytest.raises(ConfigurationError, match="b='maybe' in /etc/hadoop is not true or false"):
        found.is_true("b")
    with pytest.raises(ConfigurationError, match="d='many' in /etc/hadoop is not a whole number"):
        found.number("d", 1)


def test_one_resource_manager() -> None:
    host = Configuration({f"{RM}.hostname": "rm.site"})
    assert addresses(host, CLIENTS) == [("rm.site", 8032)]
    assert addresses(host, MASTERS) == [("rm.site", 8030)]
    assert web_addresses(host) == ["http://rm.site:8088"]
    told = Configuration({f"{RM}.address": "${" + RM + ".hostname}:99", f"{RM}.hostname": "x"})
    assert addresses(told, CLIENTS) == [("x", 99)]
    secure = Configuration({f"{RM}.hostname": "rm", "yarn.http.policy": "HTTPS_ONLY"})
    assert web_addresses(secure) == ["https://rm:8090"]


def test_high_availability() -> None:
    found = Configuration(
        {
            f"{RM}.ha.enabled": "true",
            f"{RM}.ha.rm-ids": "a, b",
            f"{RM}.hostname.a": "one",
            f"{RM}.address.b": "two:7",
        }
    )
    assert addresses(found, CLIENTS) == [("one", 8032), ("two", 7)]
    with pytest.raises(ConfigurationError, match=r"ha.rm-ids names no ResourceManager"):
        addresses(Configuration({f"{RM}.ha.enabled": "true"}), CLIENTS)


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({}, r"yarn.resourcemanager.hostname is not set"),
        ({f"{RM}.hostname": "0.0.0.0"}, "hostname says '0.0.0.0'"),
        ({f"{RM}.address": "rm:many"}, "address says 'rm:many'"),
    ],
)
def test_wrong_addresses_name_their_property(properties: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        addresses(Configuration(properties), CLIENTS)


def test_addresses() -> None:
    assert parse_address("h", 5) == ("h", 5)
    assert parse_address("[::1]:7", 5) == ("::1", 7)
    assert parse_address("[::1]", 5) == ("::1", 5)
    assert parse_address("h:0", 5) is None
    assert parse_address("", 5) is None


def test_ids_are_written_as_yarn_does() -> None:
    for text in ("application_1795374369437_0001", "application_1795374369437_12345"):
        assert application_name(parse_application(text)) == text
    for text in (
        "container_1795374369437_0001_01_000002",
        "container_e17_1795374369437_0001_02_1234567",
    ):
        assert container_name(parse_container(text)) == text
    with pytest.raises(ValueError, match="'job 7' is not the id of a YARN application"):
        parse_application("job 7")


def test_sizes() -> None:
    size = Size(300, 2, 1)
    assert Size.of(size.to_message()) == size
    assert Size.of(Size(1).to_message()) == Size(1, 1, 0)
    assert size.to_message().resource_value_map[0].key == GPU
    assert size.beyond(Size(200, 2, 0)) == [
        "memory: 300 MiB asked, at most 200 MiB per container",
        "GPUs: 1 asked, at most 0 per container",
    ]
    assert size.beyond(Size(300, 2, 1)) == []
