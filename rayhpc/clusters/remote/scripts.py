"""Shell text for a cluster's machines; everything in it is quoted here.

Used by `machine` and `copying`.  What must be known of a machine before rayhpc is installed there
needs nothing but bash, coreutils and util-linux.

On a machine, a cluster's folder (private, under the user's state directory) has for each of its
machines, as several may share a home directory: `NAME.prints`, what has been done there;
`NAME.session`, the directory of the node's session; `NAME.json`, which cluster it is a node of.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping

LOCKED = 75
# Whoever was not heard of for this long is gone, whatever TCP says.
_SILENCE_S = 60
_FOLDER = '"${XDG_STATE_HOME:-$HOME/.local/state}"/rayhpc/clusters/'


def folder(cluster: str) -> str:
    """A cluster's folder on its machines, as a word of a shell."""
    return f"{_FOLDER}{shlex.quote(cluster)}/machines"


def path_word(path: str) -> str:
    """A path on a machine as a word of a shell; `~` at its start is the home directory."""
    home = re.fullmatch(r"~(/.*)?", path, re.DOTALL)
    return f'"$HOME"{shlex.quote(home[1] or "")}' if home else shlex.quote(path)


def probe(cluster: str, machine: str) -> str:
    """Says what has been done, and whether a node runs, without rayhpc."""
    base = f"{folder(cluster)}/{shlex.quote(machine)}"
    return (
        f'for kind in prints json; do f={base}.$kind; [ -r "$f" ] &&'
        ' echo "$kind $(base64 -w0 <"$f")"; done\n'
        f"s=$(cat {base}.session 2>/dev/null)\n"
        'if [ -n "$s" ] && [ -e "$s/lock" ]; then\n'
        f'    flock -n -E {LOCKED} "$s/lock" true; [ $? = {LOCKED} ] && echo "alive yes"\n'
        "fi\ntrue"
    )


def hold_lock(cluster: str) -> str:
    """Holds the cluster's lock for as long as lines come; exit code LOCKED: another has it."""
    where = folder(cluster)
    return (
        f"umask 077; mkdir -p {where} && exec 9>{where}/lock || exit 1\n"
        f"flock -n 9 || exit {LOCKED}\necho held\nwhile read -r -t {_SILENCE_S}; do :; done"
    )


def save_prints(cluster: str, machine: str, prints: Mapping[str, str]) -> str:
    """Notes what has been done."""
    where, name = folder(cluster), shlex.quote(machine)
    text = shlex.quote(json.dumps(dict(prints)))
    return (
        f"umask 077; mkdir -p {where} && printf '%s\\n' {text} >{where}/{name}.prints.new && "
        f"mv -f {where}/{name}.prints.new {where}/{name}.prints"
    )


def forget(cluster: str, machine: str) -> str:
    """Removes what is known of a machine, and the folders if nothing is left in them."""
    where, name = folder(cluster), shlex.quote(machine)
    return (
        f"rm -f {where}/{name}.prints {where}/{name}.session {where}/{name}.json\n"
        f'[ -n "$(ls {where} 2>/dev/null | grep -v ^lock)" ] || rm -f {where}/lock\n'
        f"rmdir {where} {_FOLDER}{shlex.quote(cluster)} 2>/dev/null; true"
    )


def command(text: str, exports: Mapping[str, str] = {}) -> str:
    """One of the user's commands, in the home directory, reading nothing.

    It ends with us: lines come on standard input while it is wanted (`Connection.run(beats=True)`),
    and without them it is ended, so that no later try finds it still at work.
    """
    return (
        f"exec 3<&0 </dev/null 2>&1\n{_exports(exports)}cd\nset -m\n"
        f"( exec 3<&-; eval {shlex.quote(text)} ) &\njob=$!\n"
        f"( while read -r -t {_SILENCE_S} -u 3; do :; done\n"
        "  kill -TERM -- -$job; sleep 5; kill -KILL -- -$job ) >/dev/null 2>&1 &\nwatch=$!\n"
        "wait $job; code=$?\nkill -KILL -- -$watch\nexit $code"
    )


def start(text: str, exports: Mapping[str, str]) -> str:
    """One of the user's start commands: `ray start`, `ray stop` and rayhpc's are the cluster's own.

    The cluster's key comes as the first line of standard input (empty on the head), and reaches
    rayhpc over a pipe from a builtin: no argument, no environment, no file has it.
    """
    return (
        "IFS= read -r rayhpc_key\nexec </dev/null 2>&1\n"
        f"{_exports(exports)}"
        "ray() {\n"
        "    if ! type -P rayhpc >/dev/null; then\n"
        '        echo "rayhpc is not installed for $(id -un) on $(hostname): add it to '
        'setup_commands, such as - pip install rayhpc" >&2\n'
        "        return 127\n    fi\n"
        '    printf \'%s\\n\' "$rayhpc_key" | command rayhpc _machine ray "$@"\n}\n'
        "rayhpc() {\n"
        '    case "$1" in start|stop) ray "$@";; *) command rayhpc "$@";; esac\n}\n'
        f"cd\neval {shlex.quote(text)}"
    )


def ours(words: list[str], exports: Mapping[str, str]) -> str:
    """One of rayhpc's own commands for a machine; 127: it is not installed."""
    return f"exec </dev/null 2>&1\n{_exports(exports)}command rayhpc _machine {shlex.join(words)}"


def fed(words: list[str], exports: Mapping[str, str]) -> str:
    """The same; it reads one line of standard input."""
    return (
        f"IFS= read -r told\nexec </dev/null 2>&1\n{_exports(exports)}"
        f"printf '%s\\n' \"$told\" | command rayhpc _machine {shlex.join(words)}"
    )


def receive(destination: str, *, is_folder: bool) -> str:
    """Takes a tar stream: a folder's contents, or one file under the name `file`."""
    where = path_word(destination)
    if is_folder:
        return f"mkdir -p {where} && tar -xf - -C {where} 2>&1{_or_say_how_full(where)}"
    full = _or_say_how_full('"$d"')
    return (
        f'd=$(dirname {where}); mkdir -p "$d" && t=$(mktemp -d "$d/.rayhpc.XXXXXX") || exit 1\n'
        f'to={where}; [ -d "$to" ] && to=$to/file\n'
        f'{{ tar -xf - -C "$t" 2>&1 && mv -f "$t/file" "$to"; }}{full}\n'
        'code=$?\nrm -rf "$t"\nexit $code'
    )


def give(source: str) -> str:
    """Writes `dir` or `file`, a newline, and a tar stream."""
    what = path_word(source)
    return (
        f"if [ -d {what} ]; then echo dir; exec tar -cf - -C {what} . ; fi\n"
        f"if [ ! -e {what} ]; then echo missing; exit 1; fi\n"
        f'echo file; exec tar -cf - -C "$(dirname {what})" "$(basename {what})"'
    )


def _or_say_how_full(folder: str) -> str:
    """tar does not always name a full disk as the reason."""
    return f" || ( code=$?; df -h {folder}; exit $code )"


def _exports(values: Mapping[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
