"""What a rented machine runs from its start: it switches itself off when nobody needs it any more.

Used by the providers of clouds, each of which has its own way of having a machine run it.  Any
process on the machine, and whoever may describe it, can read this: it holds no key and no token.
"""

from __future__ import annotations

import shlex

# Looked at this often; without a node for so many looks the machine ends, at first for longer: it
# is being set up.
LOOK_S = 60
LOOKS, FIRST_LOOKS = 10, 60
SWITCH_OFF = "shutdown -h now"

# A node's session holds its lock for as long as it lives (see `clusters.remote.scripts.probe`).
_WATCH = """\
cluster={cluster} look={look} most={looks} left={first}
alive() {{
    for home in {homes}; do
        for file in "$home"/.local/state/rayhpc/clusters/"$cluster"/machines/*.session; do
            session=$(cat "$file" 2>/dev/null) && [ -e "$session/lock" ] || continue
            flock -n -E 75 "$session/lock" true
            [ $? = 75 ] && return 0
        done
    done
    return 1
}}
while sleep "$look"; do
    if alive; then left=$most; else left=$((left - 1)); fi
    [ "$left" -gt 0 ] || {{ {end}; }}
done
"""


def watch_script(
    cluster: str,
    look_s: float = LOOK_S,
    looks: int = LOOKS,
    first: int = FIRST_LOOKS,
    homes: str = "/root /home/*",
    end: str = SWITCH_OFF,
) -> str:
    """Ends the machine when no node of the cluster has run there for a while; runs for ever.

    Args:
        cluster: its name.
        look_s: seconds between two looks.
        looks: so many in a row without a node end it.
        first: likewise before the first node.
        homes: patterns of home directories, as a shell has them.
        end: ends it, as shell text; run again at each further look.
    """
    return _WATCH.format(
        cluster=shlex.quote(cluster),
        look=f"{look_s:g}",
        looks=looks,
        first=first,
        homes=homes,
        end=end,
    )
