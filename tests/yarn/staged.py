"""What is left in a lab's HDFS of what was staged, for the tests of staging on the real YARN."""

from __future__ import annotations

import getpass

from rayhpc.hadoop.configuration import Configuration
from rayhpc.hadoop.web import Web
from rayhpc.hadoop.webhdfs import open_webhdfs
from yarn.lab.lab import Lab


def staged(lab: Lab) -> list[str]:
    """The applications that have something staged in the user's directory."""
    configuration = Configuration.of_environment(lab.client_environment())
    web = Web(secure=configuration.is_secure, user=getpass.getuser())
    path = f"{open_webhdfs(configuration, web).home()}/.rayhpc"
    base = f"http://{lab.layout.address('nn')}:9870/webhdfs/v1{path}?op=LISTSTATUS"
    listed = web.json("GET", base)["FileStatuses"]["FileStatus"]
    return [each["pathSuffix"] for each in listed]
