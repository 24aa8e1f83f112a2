"""How an API server is found and how we are known to it: what a kubeconfig may say."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest
import yaml

from rayhpc.kubernetes import access
from rayhpc.kubernetes.access import find_access
from rayhpc.kubernetes.client import Client
from rayhpc.kubernetes.errors import ApiError, ConfigError, UnreachableError
from rayhpc.kubernetes.objects import JOB
from tests.kubernetes.fake.server import ADMIN, FakeApi

_PLUGIN = """#!{python}
import json, os
told = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
with open({count!r}, "a") as file:
    file.write("x")
status = {status}
print(json.dumps({{"apiVersion": told["apiVersion"], "kind": "ExecCredential", "status": status}}))
"""


def _client(path: Path) -> Client:
    return Client(find_access({"KUBECONFIG": str(path)}))


def test_a_token(api: FakeApi) -> None:
    assert _client(api.kubeconfig(token=ADMIN)).list(JOB) == []


def test_a_tokens_file_is_read_each_time(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    client = _client(api.kubeconfig(tokenFile="token"))
    with pytest.raises(ApiError, match="does not know us"):
        client.list(JOB)
    (tmp_path / "token").write_text(f"{ADMIN}\n")
    assert client.list(JOB) == []


def test_a_client_certificate(api: FakeApi) -> None:
    certificate, key = (base64.b64encode(x.encode()).decode() for x in api.certificates.user)
    told = {"client-certificate-data": certificate, "client-key-data": key}
    assert _client(api.kubeconfig(**told)).list(JOB) == []


def test_a_client_certificate_in_files(api: FakeApi, tmp_path: Path) -> None:
    for name, text in zip(("user.crt", "user.key"), api.certificates.user, strict=True):
        (tmp_path / name).write_text(text)
    told = {"client-certificate": "user.crt", "client-key": "user.key"}
    assert _client(api.kubeconfig(**told)).list(JOB) == []


def _plugin(tmp_path: Path, status: str) -> dict[str, object]:
    program = tmp_path / "plugin"
    count = str(tmp_path / "count")
    program.write_text(_PLUGIN.format(python=sys.executable, count=count, status=status))
    program.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": "./plugin", "env": None}}


def test_an_exec_plugin_is_asked_once(api: FakeApi, tmp_path: Path) -> None:
    client = _client(api.kubeconfig(**_plugin(tmp_path, repr({"token": ADMIN}))))
    client.list(JOB)
    client.list(JOB)
    assert (tmp_path / "count").read_text() == "x"


def test_an_exec_plugin_is_asked_again_when_its_token_ends(api: FakeApi, tmp_path: Path) -> None:
    status = {"token": ADMIN, "expirationTimestamp": "2020-01-01T00:00:00Z"}
    client = _client(api.kubeconfig(**_plugin(tmp_path, repr(status))))
    client.list(JOB)
    assert len((tmp_path / "count").read_text()) > 1


def test_an_exec_plugin_is_asked_again_when_its_token_is_refused(
    api: FakeApi, tmp_path: Path
) -> None:
    status = f'{{"token": {ADMIN!r} if len(open({str(tmp_path / "count")!r}).read()) > 1 else "x"}}'
    client = _client(api.kubeconfig(**_plugin(tmp_path, status)))
    with pytest.raises(ApiError):
        client.list(JOB)
    assert client.list(JOB) == []


def test_an_exec_plugin_that_gives_a_certificate(api: FakeApi, tmp_path: Path) -> None:
    certificate, key = api.certificates.user
    status = {"clientCertificateData": certificate, "clientKeyData": key}
    assert _client(api.kubeconfig(**_plugin(tmp_path, repr(status)))).list(JOB) == []


def test_an_exec_plugin_that_is_not_there(api: FakeApi) -> None:
    version = "client.authentication.k8s.io/v1beta1"
    told = {"apiVersion": version, "command": "no-such-plugin", "installHint": "Get it at X."}
    with pytest.raises(ConfigError, match="not installed\nGet it at X"):
        _client(api.kubeconfig(exec=told)).list(JOB)


def test_an_exec_plugin_that_fails_says_why(api: FakeApi, tmp_path: Path) -> None:
    told = _plugin(tmp_path, 'exit("log in first")')
    with pytest.raises(ConfigError, match=r"failed \(1\): log in first"):
        _client(api.kubeconfig(**told)).list(JOB)


def test_another_authority_is_not_trusted(api: FakeApi, tmp_path: Path) -> None:
    path = api.kubeconfig()
    config = yaml.safe_load(path.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UnreachableError, match="not to be trusted"):
        _client(path).list(JOB)
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    path.write_text(yaml.safe_dump(config))
    assert _client(path).list(JOB) == []


def test_a_pods_own_token(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(ADMIN)
    (folder / "ca.crt").write_text(api.certificates.authority)
    (folder / "namespace").write_text("default")
    monkeypatch.setattr(access, "_IN_POD", folder)
    host, port = api.url.removeprefix("https://").split(":")
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": host}
    client = Client(find_access({**environ, "KUBERNETES_SERVICE_PORT": port}))
    assert client.namespace == "default"
    assert client.list(JOB) == []


def test_no_access_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.kube/config does not exist, and this is no pod"):
        find_access({"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"current-context": ""}, "names no current context"),
        ({"current-context": "there"}, "has no context 'there'"),
        ({"clusters": []}, "has no cluster 'fake'"),
        ({"users": [{"name": "me", "user": {"auth-provider": {"x": 1}}}]}, "auth-provider is gone"),
    ],
)
def test_what_is_wrong_in_a_kubeconfig(
    api: FakeApi, change: dict[str, object], sentence: str
) -> None:
    path = api.kubeconfig()
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ConfigError, match=sentence):
        find_access({"KUBECONFIG": str(path)})


def test_a_kubeconfig_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps([1]))
    with pytest.raises(ConfigError, match="is no kubeconfig"):
        find_access({"KUBECONFIG": str(path)})
