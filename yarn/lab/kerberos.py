"""Kerberos for a lab: a KDC of its own, keytabs, a ticket, and what the configuration says of it.

Used by `configuration`, `daemons` and `lab`.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from yarn.lab.errors import LabError
from yarn.lab.layout import Layout

REALM = "YARNLAB"
PORT = 10088
_PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def why_not() -> str:
    """Why this machine can have no KDC; empty if it can."""
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=_PATH)]
    if missing:
        return f"no {', '.join(missing)} (Debian: krb5-kdc, krb5-admin-server, krb5-user)"
    return ""


def tool(name: str) -> str:
    """The path of one of Kerberos's programs.  Raises LabError if it is missing."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise LabError(f"{name} is needed: {why_not()}")
    return path


def environment(layout: Layout) -> dict[str, str]:
    """The variables of a client's and of the KDC's processes."""
    folder = layout.run / "krb"
    return {
        "KRB5_CONFIG": str(folder / "krb5.conf"),
        "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
        "KRB5CCNAME": f"FILE:{folder}/tickets",
    }


def java_options(layout: Layout) -> list[str]:
    """What a daemon's Java must be told."""
    return [f"-Djava.security.krb5.conf={layout.run}/krb/krb5.conf"]


def make_realm(layout: Layout) -> None:
    """The KDC's files and database, one keytab for all services, one for the user."""
    folder = layout.run / "krb"
    folder.mkdir(mode=0o700)
    _write_files(layout, folder)
    web = [layout.address(name) for name in layout.daemons if name not in ("kdc", "zk")]
    services = [f"{short}/yarnlab" for short in ("rm", "nm", "nn", "dn")]
    services += [f"HTTP/{address}" for address in web]
    orders = [_order(name, folder / "services.keytab") for name in services]
    orders.append(_order(getpass.getuser(), folder / "user.keytab"))
    password = os.urandom(16).hex()
    _run(layout, "kdb5_util", ["create", "-s", "-r", REALM, "-P", password])
    _run(layout, "kadmin.local", ["-r", REALM], "".join(orders))


def log_in(layout: Layout, cache: str = "", lifetime_s: int | None = None) -> None:
    """A ticket for the user: in `cache`, else where clients look for it; for a day, if not told."""
    keytab = str(layout.run / "krb" / "user.keytab")
    options = ["-c", cache or environment(layout)["KRB5CCNAME"]]
    options += [] if lifetime_s is None else ["-l", f"{lifetime_s}s"]
    _run(layout, "kinit", [*options, "-k", "-t", keytab, getpass.getuser()])


def core_site(layout: Layout, name: str) -> dict[str, Any]:
    """For RPC and for web pages; every daemon is HTTP/ADDRESS there."""
    folder = layout.run / "krb"
    web = "hadoop.http.authentication"
    own = {}
    if name != "client":
        own = {f"{web}.kerberos.principal": f"HTTP/{layout.address(name)}@{REALM}"}
    return {
        "hadoop.security.authentication": "kerberos",
        "hadoop.security.auth_to_local": (
            f"RULE:[2:$1](rm|nm|nn|dn|HTTP)s/.*/{getpass.getuser()}/ DEFAULT"
        ),
        "hadoop.http.filter.initializers": (
            "org.apache.hadoop.security.AuthenticationFilterInitializer"
        ),
        f"{web}.type": "kerberos",
        f"{web}.simple.anonymous.allowed": "false",
        f"{web}.signature.secret.file": folder / "http.secret",
        f"{web}.kerberos.keytab": folder / "services.keytab",
        **own,
    }


def yarn_site(layout: Layout) -> dict[str, Any]:
    """Who the daemons are."""
    keytab = layout.run / "krb" / "services.keytab"
    site: dict[str, Any] = {}
    for daemon, short in (("resourcemanager", "rm"), ("nodemanager", "nm")):
        site[f"yarn.{daemon}.principal"] = f"{short}/yarnlab@{REALM}"
        site[f"yarn.{daemon}.keytab"] = keytab
        site[f"yarn.{daemon}.webapp.spnego-keytab-file"] = keytab
    return site


def hdfs_site(layout: Layout) -> dict[str, Any]:
    """Who the daemons of HDFS are."""
    keytab = layout.run / "krb" / "services.keytab"
    web = f"HTTP/{layout.address('nn')}@{REALM}"
    return {
        "dfs.block.access.token.enable": "true",
        "dfs.namenode.kerberos.principal": f"nn/yarnlab@{REALM}",
        "dfs.namenode.keytab.file": keytab,
        "dfs.namenode.kerberos.internal.spnego.principal": web,
        "dfs.datanode.kerberos.principal": f"dn/yarnlab@{REALM}",
        "dfs.datanode.keytab.file": keytab,
        "dfs.web.authentication.kerberos.principal": web,
        "dfs.web.authentication.kerberos.keytab": keytab,
        # A DataNode wants ports below 1024 or TLS otherwise.
        "ignore.secure.ports.for.testing": "true",
    }


def daemon_site(layout: Layout, name: str) -> dict[str, Any]:
    """Who this daemon's web pages are."""
    daemon = "resourcemanager" if name in layout.resource_managers else "nodemanager"
    return {f"yarn.{daemon}.webapp.spnego-principal": f"HTTP/{layout.address(name)}@{REALM}"}


def _write_files(layout: Layout, folder: Path) -> None:
    kdc = f"{layout.address('kdc')}:{PORT}"
    (folder / "krb5.conf").write_text(
        f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n"
        " dns_lookup_realm = false\n rdns = false\n dns_canonicalize_hostname = false\n"
        f" udp_preference_limit = 1\n[realms]\n {REALM} = {{\n  kdc = {kdc}\n }}\n"
    )
    (folder / "kdc.conf").write_text(
        f"[kdcdefaults]\n kdc_listen = {kdc}\n kdc_tcp_listen = {kdc}\n"
        f"[realms]\n {REALM} = {{\n  database_name = {folder}/principal\n"
        f"  key_stash_file = {folder}/stash\n }}\n"
        f"[logging]\n kdc = FILE:{layout.log('kdc')}\n"
    )
    (folder / "http.secret").write_text(os.urandom(16).hex())


def _order(principal: str, keytab: Path) -> str:
    return f"addprinc -randkey {principal}\nktadd -k {keytab} {principal}\n"


def _run(layout: Layout, name: str, arguments: list[str], orders: str = "") -> None:
    done = subprocess.run(
        [tool(name), *arguments],
        env={**os.environ, **environment(layout)},
        input=orders,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise LabError(f"{name}: {done.stdout}")
