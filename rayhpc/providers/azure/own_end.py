"""How a machine at Azure ends: switched off, it would be on the bill, so that it deletes itself.

Used by `request`, for machines that have an identity of their own which may do so; the others are
switched off, and deleted by `rayhpc down` or `rayhpc sweep`.  Pure.
"""

from __future__ import annotations

import shlex
from urllib.parse import urlencode

from rayhpc.providers.azure.api import COMPUTE, ENDPOINT
from rayhpc.providers.watch import SWITCH_OFF

# Where Azure tells a machine about itself.
METADATA = "http://169.254.169.254/metadata"
# The token goes through a pipe: arguments can be read by everybody on the machine.
_DELETE = """\
ask() {{ curl -sf -m 30 -H Metadata:true "{metadata}/$1"; }}
token=$(ask {of_token} | sed -n 's/.*"access_token" *: *"\\([^"]*\\)".*/\\1/p')
whole=$(ask "instance/compute/resourceId?api-version=2021-02-01&format=text")
printf 'header = "Authorization: Bearer %s"\\n' "$token" |
    curl -sf -m 30 -K - -X DELETE "{endpoint}$whole?api-version={version}" >/dev/null
{switch_off}"""


def delete_itself(identity: str, endpoint: str = ENDPOINT, metadata: str = METADATA) -> str:
    """What a machine runs to end, as shell text.

    Args:
        identity: the id of its managed identity.
        endpoint: Azure's API.
        metadata: where it is told about itself.
    """
    words = {"api-version": "2018-02-01", "resource": f"{endpoint}/", "msi_res_id": identity}
    return _DELETE.format(
        metadata=metadata,
        of_token=shlex.quote(f"identity/oauth2/token?{urlencode(words)}"),
        endpoint=endpoint,
        version=COMPUTE,
        switch_off=SWITCH_OFF,
    )
