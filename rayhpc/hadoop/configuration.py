"""A cluster's configuration, read from its XML files.

Used by whatever needs an address or a switch.  Knows the files and `${name}` substitution; what the
properties mean is up to the caller.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

from rayhpc.hadoop.errors import ConfigurationError

FILES = ("core-site.xml", "hdfs-site.xml", "yarn-site.xml")
FOLDERS = ("YARN_CONF_DIR", "HADOOP_CONF_DIR")
_VARIABLE = re.compile(r"\$\{([^{}$\s]+)\}")
# As in Hadoop: after this many substitutions a value is taken as it is.
_MOST_SUBSTITUTIONS = 20
_MOST_INCLUDES = 8


class Configuration(Mapping[str, str]):
    """The properties of one folder of configuration files, with substitution.

    Args:
        properties: names and values as in the files.
        folder: where they come from, for messages; empty: made by hand.
    """

    def __init__(self, properties: Mapping[str, str], folder: str = "") -> None:
        self._raw = dict(properties)
        self.folder = folder

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Configuration:
        """Load the configuration of a folder.

        Raises:
            ConfigurationError: it has no yarn-site.xml, or one of its files is malformed.
        """
        path = Path(folder)
        if not (path / "yarn-site.xml").is_file():
            raise ConfigurationError(
                f"{path} has no yarn-site.xml: set HADOOP_CONF_DIR (or YARN_CONF_DIR) to the "
                "folder with the cluster's core-site.xml and yarn-site.xml"
            )
        found: dict[str, str] = {}
        final: set[str] = set()
        for name in FILES:
            if (path / name).is_file():
                for key, value, is_final in _read_file(path / name):
                    if key not in final:
                        found[key] = value
                    if is_final:
                        final.add(key)
        return cls(found, str(path))

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Configuration:
        """Load the configuration of the folder that the environment names.

        Raises:
            ConfigurationError: it names none, or as for `load`.
        """
        named = next((environ[name] for name in FOLDERS if environ.get(name)), None)
        folder = find_folder(environ) or named
        if folder is None:
            raise ConfigurationError(
                "no Hadoop configuration: set HADOOP_CONF_DIR (or YARN_CONF_DIR) to the folder "
                "with the cluster's core-site.xml and yarn-site.xml"
            )
        return cls.load(folder)

    def __getitem__(self, name: str) -> str:
        return self._substitute(self._raw[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def is_true(self, name: str, default: bool = False) -> bool:
        """The value of a switch.

        Raises:
            ConfigurationError: the value is neither true nor false.
        """
        value = self.get(name, "").strip().lower()
        if value in ("", "true", "false"):
            return default if not value else value == "true"
        raise self.wrong(name, "true or false")

    def number(self, name: str, default: int) -> int:
        """The value of a whole number.  Raises ConfigurationError for any other."""
        value = self.get(name, "").strip()
        try:
            return int(value) if value else default
        except ValueError:
            raise self.wrong(name, "a whole number") from None

    def wrong(self, name: str, wanted: str) -> ConfigurationError:
        """The error for a property with an invalid value."""
        place = f" in {self.folder}" if self.folder else ""
        return ConfigurationError(f"{name}={self[name]!r}{place} is not {wanted}: correct the file")

    @property
    def is_secure(self) -> bool:
        """Whether the cluster requires Kerberos."""
        return self.get("hadoop.security.authentication", "simple").strip() == "kerberos"

    def _substitute(self, value: str) -> str:
        for _ in range(_MOST_SUBSTITUTIONS):
            match = _VARIABLE.search(value)
            if match is None:
                break
            known = self._lookup(match[1])
            if known is None:
                break
            value = value[: match.start()] + known + value[match.end() :]
        return value

    def _lookup(self, name: str) -> str | None:
        """A property or, as in Hadoop, `env.NAME`, `env.NAME-default`, `env.NAME:-default`."""
        if not name.startswith("env."):
            return self._raw.get(name)
        variable, dash, default = name[len("env.") :].partition("-")
        value = os.environ.get(variable.rstrip(":"))
        if value or (value is not None and not variable.endswith(":")):
            return value
        return default if dash else value


def find_folder(environ: Mapping[str, str]) -> Path | None:
    """The folder with a yarn-site.xml that the environment names, if there is one."""
    for name in FOLDERS:
        folder = environ.get(name)
        if folder and (Path(folder) / "yarn-site.xml").is_file():
            return Path(folder)
    return None


def _read_file(path: Path, depth: int = 0) -> Iterator[tuple[str, str, bool]]:
    """Name, value and finality of each property of a file, and of the files that it includes."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}; correct the file") from None
    if root.tag != "configuration":
        raise ConfigurationError(f"{path} is no Hadoop configuration: its root is <{root.tag}>")
    for item in root:
        if item.tag.endswith("}include"):
            target = path.parent / item.get("href", "")
            if depth < _MOST_INCLUDES and target.is_file():
                yield from _read_file(target, depth + 1)
        elif item.tag == "property":
            name = item.findtext("name", item.get("name", "")).strip()
            value = item.findtext("value", item.get("value", "")).strip()
            final = item.findtext("final", item.get("final", "")).strip()
            if name:
                yield name, value, final == "true"
