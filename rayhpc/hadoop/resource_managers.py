"""The addresses of a cluster's ResourceManagers, with and without high availability.

Used by everything that calls one.
"""

from __future__ import annotations

from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.errors import ConfigurationError

Address = tuple[str, int]

CLIENTS = "address"
MASTERS = "scheduler.address"
WEB = "webapp.address"
WEB_TLS = "webapp.https.address"
_PORTS = {CLIENTS: 8032, MASTERS: 8030, WEB: 8088, WEB_TLS: 8090}
_PREFIX = "yarn.resourcemanager"


def addresses(configuration: Configuration, service: str) -> list[Address]:
    """Host and port of a service (`CLIENTS`, `MASTERS`, `WEB`, `WEB_TLS`) for each ResourceManager.

    Raises:
        ConfigurationError: the files do not contain a valid address; the text names the property.
    """
    return [_address(configuration, service, suffix) for suffix in _suffixes(configuration)]


def web_addresses(configuration: Configuration) -> list[str]:
    """The web addresses, `http://host:port`.  Raises ConfigurationError."""
    policy = configuration.get("yarn.http.policy", "HTTP_ONLY").strip()
    scheme, service = ("https", WEB_TLS) if policy == "HTTPS_ONLY" else ("http", WEB)
    found = addresses(configuration, service)
    return [f"{scheme}://{host}:{port}" for host, port in found]


def parse_address(text: str, default_port: int) -> Address | None:
    """`host:port`, `host`, `[ip6]:port`; None for anything else."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or "]" in port:
        host, port = text.strip(), str(default_port)
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        return None
    return host, int(port)


def _suffixes(configuration: Configuration) -> list[str]:
    if not configuration.is_true(f"{_PREFIX}.ha.enabled"):
        return [""]
    listed = configuration.get(f"{_PREFIX}.ha.rm-ids", "")
    ids = [name.strip() for name in listed.split(",") if name.strip()]
    if not ids:
        raise ConfigurationError(
            f"{_PREFIX}.ha.enabled is true in {configuration.folder or 'the configuration'}, but "
            f"{_PREFIX}.ha.rm-ids names no ResourceManager: add it to yarn-site.xml"
        )
    return [f".{name}" for name in ids]


def _address(configuration: Configuration, service: str, suffix: str) -> Address:
    name = f"{_PREFIX}.{service}{suffix}"
    text = configuration.get(name)
    if text is None:
        name = f"{_PREFIX}.hostname{suffix}"
        text = configuration.get(name, "")
    found = parse_address(text, _PORTS[service]) if text else None
    if found is None or found[0] == "0.0.0.0":
        wrong = f"says {text!r}" if text else "is not set"
        raise ConfigurationError(
            f"{name} {wrong} in {configuration.folder or 'the configuration'}: set it in "
            "yarn-site.xml to where the ResourceManager is"
        )
    return found
