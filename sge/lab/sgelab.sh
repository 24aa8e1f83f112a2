#!/bin/bash
# sgelab.sh - a REAL Grid Engine of several hosts on one Linux machine, for tests.
#
#   sgelab.sh install               get Debian's packages and unpack them to SGELAB_TREE (nothing is installed)
#   sgelab.sh up [N]                start N hosts (default 2), wait until all take jobs
#   sgelab.sh down                  stop everything that `up` started (by pid)
#   sgelab.sh status                what runs; rc 0 = all hosts answer, 3 = not up
#   sgelab.sh exec [-u USER] CMD…   run CMD on the login host (default user: sgeuser)
#   sgelab.sh node NAME [-u USER] CMD…   run CMD on an execution host (default user: root)
#   sgelab.sh node-kill NAME        power loss: everything on that host dies at once
#   sgelab.sh node-start NAME       boot it again
#
# Every host is its own network+UTS+mount+IPC+PID namespace with an address in 10.78/16; the qmaster
# and the login host live in one more.  The programs are laid over /usr in these namespaces alone, and
# SGE_ROOT lies in the lab's directory: the machine itself keeps nothing but the user.  Needs root.
#
# Settings: SGELAB_DIR ($TMPDIR/sgelab/lab)  SGELAB_TREE (~/.cache/rayhpc/gridengine)
#   SGELAB_SLOTS (slots of each host, 4)  SGELAB_NOTIFY (seconds between SIGUSR2 and SIGKILL, 8)
#   SGELAB_UNKNOWN (seconds until a silent host is unknown, 10)
#   SGELAB_EXPOSE=/a:/b directories that users reach although one above them is closed to others
set -u
CALLER_ENV=(-u LC_ALL PATH="$PATH" ${LC_ALL+LC_ALL="$LC_ALL"})                # `exec` gives these back
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
SELF=$(readlink -f "${BASH_SOURCE[0]}")
LAB=${SGELAB_DIR:-${TMPDIR:-/tmp}/sgelab/lab}
TREE=${SGELAB_TREE:-${XDG_CACHE_HOME:-$HOME/.cache}/rayhpc/gridengine}
RUN=$LAB/run; ETC=$LAB/etc; LOG=$LAB/log
LUSER=sgeuser; LOGIN=login; NET=10.78; LOGINIP=$NET.255.1; HOMES=$(dirname "$LAB")/home
export SGE_ROOT=$LAB/sge SGE_CELL=default SGE_QMASTER_PORT=6444 SGE_EXECD_PORT=6445
COMMON=$SGE_ROOT/$SGE_CELL/common
[ -r "$RUN/lab.env" ] && . "$RUN/lab.env"
die() { echo "sgelab: $*" >&2; exit 1; }

# ---------------------------------------------------------------- processes by pid
# a pidfile holds "PID STARTTIME", so that a reused pid is never taken for ours
starttime() { local s; s=$(cat /proc/"$1"/stat 2>/dev/null) || return 1; s=${s##*) }; set -- $s; [ "$1" != Z ] && echo "${20}"; }
remember() { echo "$2 $(starttime "$2")" >"$RUN/$1.pid"; }
pid_of() { local p t; read -r p t 2>/dev/null <"$RUN/$1.pid" || return 1
           [ -n "${t:-}" ] && [ "$(starttime "$p")" = "$t" ] && echo "$p"; }
end() { local p i; p=$(pid_of "$1") || return 0
        kill -KILL "$p" 2>/dev/null
        for i in $(seq 100); do pid_of "$1" >/dev/null || return 0; sleep 0.05; done; }
hosts() { local i; for i in $(seq "$1"); do echo "host$i"; done; }
ip_of() { echo "$NET.0.$(( ${1#host} + 1 ))"; }

# ---------------------------------------------------------------- inside a namespace
over() {              # over DIR LOWER…: DIR is read-only from now on, with these directories laid over it
    local dir=$1 low; shift; low=$(IFS=:; echo "$*")
    mount -t overlay lab -o "lowerdir=$low:$dir" "$dir" || die "no overlay over $dir"
}
closed_above() {      # the topmost directory above a path that others may not enter; nothing if there is none
    local p d="" part; p=$(readlink -f "$1")
    for part in ${p//\// }; do d=$d/$part; [ "$(( 8#$(stat -c %a "$d") & 1 ))" = 1 ] || { echo "$d"; return; }; done
}
expose() {            # expose PATH…: where a directory above is closed to others, show only these paths in it
    local p top i=0; declare -A seen=()
    mkdir -p "$RUN/stage.$NAME"
    for p; do mkdir -p "$RUN/stage.$NAME/$i"; mount --rbind "$p" "$RUN/stage.$NAME/$i"; i=$(( i + 1 )); done
    i=0
    for p; do
        top=$(closed_above "$p"); [ -n "$top" ] && [ -z "${seen[$top]:-}" ] && { mount -t tmpfs -o mode=755 lab "$top"; seen[$top]=1; }
    done
    for p; do [ -e "$p" ] || { mkdir -p "$p"; mount --rbind "$RUN/stage.$NAME/$i" "$p"; }; i=$(( i + 1 )); done
}
node_main() {         # pid 1 of a host
    NAME=$1; local ip=$2
    hostname "$NAME"
    mount -t tmpfs -o mode=1777,size=4g labshm /dev/shm
    mount --bind "$ETC/hosts" /etc/hosts
    mount --bind "$ETC/resolv.conf" /etc/resolv.conf
    over /usr "$TREE/usr"
    expose ${LAB_EXPOSE//:/ }
    ip link set lo up
    mkfifo "$RUN/$NAME.go"; exec 9<>"$RUN/$NAME.go"
    echo ready >"$RUN/$NAME.ready"
    if [ "$NAME" != "$LOGIN" ]; then
        read -r -t 120 -u 9 || exit 1; exec 9>&-           # `plug` says when eth0 is there
        ip addr add "$ip/16" dev eth0; ip link set eth0 up
        ip route add default via "$LOGINIP"                # leads nowhere: nothing leaves the lab
        start_execd
    fi
    trap : TERM INT HUP
    while :; do sleep 3600 & wait $!; done                 # bash as pid 1 reaps whatever is orphaned here
}
start_execd() { for _ in $(seq 100); do qconf -sh >/dev/null 2>&1 && break; sleep 0.05; done; sge_execd; }
start_ns() {          # start_ns NAME IP
    rm -f "$RUN/$1.ready" "$RUN/$1.go"
    SGELAB_DIR=$LAB SGELAB_TREE=$TREE setsid unshare --net --uts --ipc --mount --propagation slave --pid --fork \
        --kill-child --mount-proc bash "$SELF" __node "$1" "$2" </dev/null >>"$LOG/ns.$1.out" 2>&1 &
    remember "ns.$1" $!
}
wait_ready() { local n; for n; do for _ in $(seq 400); do [ -e "$RUN/$n.ready" ] && continue 2; sleep 0.025; done
               die "namespace of $n did not come up: $(tail -3 "$LOG/ns.$n.out")"; done; }
in_ns() { local p; p=$(pid_of "ns.$1") || die "$1 is not running"; shift
          nsenter -t "$p" --net --uts --ipc --mount --pid=/proc/"$p"/ns/pid_for_children -- "$@"; }
plug() {              # join hosts to the bridge on the login host
    local n p
    for n; do
        p=$(pid_of "ns.$n") || die "$n died: $(tail -3 "$LOG/ns.$n.out")"
        echo "link add v$n type veth peer name eth0 address 02:00:0a:4e:00:0${n#host} netns $p"
        echo "link set v$n master br0"; echo "link set v$n up"
    done | nsenter -t "$(pid_of "ns.$LOGIN")" --net ip -batch - || die "ip -batch failed"
    for n; do echo go >"$RUN/$n.go"; done
}

# ---------------------------------------------------------------- configuration
write_files() {       # write_files N: all that is there before the qmaster starts
    local n
    rm -rf "$SGE_ROOT" "$LAB/spool"
    mkdir -p "$ETC" "$RUN" "$LOG" "$LAB/spool/qmaster/job_scripts" "$LAB/spool/execd" "$LAB/spool/db"
    chmod 755 "$LAB" "$ETC" "$LOG" "$RUN" "$LAB/spool"
    cp -a "$TREE/var/lib/gridengine" "$SGE_ROOT"; mkdir -p "$COMMON"; chmod -R go+rX "$SGE_ROOT"
    printf '127.0.0.1 localhost\n%s %s\n' "$LOGINIP" "$LOGIN" >"$ETC/hosts"
    for n in $(hosts "$1"); do echo "$(ip_of "$n") $n" >>"$ETC/hosts"; done
    echo '# name service for the lab: files only' >"$ETC/resolv.conf"
    sed -e 's,^admin_user.*,admin_user none,' -e "s,/var/spool/gridengine/spooldb,$LAB/spool/db," \
        -e "s,/var/spool/gridengine/qmaster,$LAB/spool/qmaster," "$TREE/usr/share/gridengine/default-bootstrap" >"$COMMON/bootstrap"
    echo "$LOGIN" >"$COMMON/act_qmaster"
    echo lab >"$COMMON/cluster_name"
    sed -e "s,^execd_spool_dir.*,execd_spool_dir $LAB/spool/execd," -e 's,^shell_start_mode.*,shell_start_mode unix_behavior,' \
        -e "s,^max_unheard.*,max_unheard 00:00:${SGELAB_UNKNOWN:-10}," -e 's,^load_report_time.*,load_report_time 00:00:02,' \
        -e 's,^reschedule_unknown.*,reschedule_unknown 00:00:00,' -e 's,^mailer.*,mailer /bin/true,' \
        "$TREE/usr/share/gridengine/default-configuration" >"$ETC/configuration"
    printf 'LAB_N=%q\nLAB_EXPOSE=%q\n' "$1" "${SGELAB_EXPOSE:-}" >"$RUN/lab.env"
    printf 'export SGE_ROOT=%q SGE_CELL=%q SGE_QMASTER_PORT=%q SGE_EXECD_PORT=%q\n' "$SGE_ROOT" "$SGE_CELL" 6444 6445 >"$LAB/env.sh"
}
init_spool() {
    local resources=/usr/share/gridengine/util/resources
    in_ns "$LOGIN" bash -ec "
        export LD_LIBRARY_PATH=/usr/lib/gridengine
        /usr/lib/gridengine/spoolinit berkeleydb libspoolb $LAB/spool/db init
        /usr/lib/gridengine/spooldefaults configuration $ETC/configuration
        /usr/lib/gridengine/spooldefaults complexes $resources/centry
        /usr/lib/gridengine/spooldefaults usersets $resources/usersets
        /usr/lib/gridengine/spooldefaults managers root" >>"$LOG/init.out" 2>&1 || die "spool: $(tail -3 "$LOG/init.out")"
}
pe() { printf '%s\n' "pe_name $1" 'slots 999' 'user_lists NONE' 'xuser_lists NONE' 'start_proc_args NONE' \
        'stop_proc_args NONE' "allocation_rule $2" 'control_slaves TRUE' 'job_is_first_task FALSE' 'urgency_slots min' \
        'accounting_summary FALSE' 'qsort_args NONE' >"$ETC/pe.$1"; ctl qconf -Ap "$ETC/pe.$1"; }
ctl() { in_ns "$LOGIN" "$@"; }
configure() {         # configure N: hosts, parallel environments, one queue, a quick scheduler
    local n slots=${SGELAB_SLOTS:-4}
    for n in "$LOGIN" $(hosts "$1"); do ctl qconf -ah "$n"; done
    # A cluster that grows asks for its machines from where its head runs.
    for n in "$LOGIN" $(hosts "$1"); do ctl qconf -as "$n"; done
    pe smp '$pe_slots'; pe hosts "$slots"; pe half "$(( slots / 2 ))"; pe turns '$round_robin'
    ctl qconf -sq >"$ETC/queue"
    sed -i -e 's/^qname .*/qname all.q/' -e "s/^hostlist .*/hostlist $(hosts "$1" | paste -sd' ')/" -e "s/^slots .*/slots $slots/" \
        -e 's/^pe_list .*/pe_list smp hosts half turns/' -e 's/^shell_start_mode .*/shell_start_mode unix_behavior/' \
        -e 's/^load_thresholds .*/load_thresholds NONE/' -e 's/^rerun .*/rerun FALSE/' -e 's,^shell  *.*,shell /bin/bash,' \
        -e "s/^notify .*/notify 00:00:0${SGELAB_NOTIFY:-8}/" "$ETC/queue"
    ctl qconf -Aq "$ETC/queue"
    ctl qconf -ssconf >"$ETC/scheduler"
    sed -i -e 's/^schedule_interval .*/schedule_interval 0:0:1/' -e 's/^flush_submit_sec .*/flush_submit_sec 1/' \
        -e 's/^flush_finish_sec .*/flush_finish_sec 1/' -e 's/^schedd_job_info .*/schedd_job_info true/' "$ETC/scheduler"
    ctl qconf -Msconf "$ETC/scheduler"
}
up_hosts() { ctl qhost 2>/dev/null | awk '$1 ~ /^host/ && $4 != "-" {n++} END {print n+0}'; }

as_user() { local u=$1 h=$HOMES/$1; shift; [ -d "$h" ] || h=$(getent passwd "$u" | cut -d: -f6)
    AS=(env -C "${SGELAB_CWD:-$PWD}" "${CALLER_ENV[@]}" HOME="$h" USER="$u" LOGNAME="$u" SHELL=/bin/bash /usr/bin/setpriv --reuid "$u" --regid "$(id -g "$u")" --init-groups "$@"); }

case ${1:-} in
__node) shift; node_main "$@"; exit;;
install)
    [ -x "$TREE/usr/lib/gridengine/sge_qmaster" ] && exit 0
    debs=$(mktemp -d) && trap 'rm -rf "$debs"' EXIT && cd "$debs" && chmod 755 .
    libraries=; for each in libjemalloc2 libdb5.3 libhwloc15 libmunge2 libtirpc3; do dpkg -s "$each" >/dev/null 2>&1 || libraries+=" $each"; done
    apt-get -qq -o APT::Sandbox::User=root download gridengine-client gridengine-common gridengine-exec gridengine-master $libraries >&2 || die "no packages"
    rm -rf "$TREE.new"; mkdir -p "$TREE.new"; for each in *.deb; do dpkg -x "$each" "$TREE.new" || die "$each"; done
    rm -rf "$TREE"; mv "$TREE.new" "$TREE"
    ;;
up)
    N=${2:-2}; t0=$(date +%s%N)
    [ "$(id -u)" = 0 ] || die "up needs root"
    [ -x "$TREE/usr/lib/gridengine/sge_qmaster" ] || die "no Grid Engine in $TREE: run $SELF install"
    [ -r "$RUN/lab.env" ] && "$SELF" down >/dev/null
    id "$LUSER" >/dev/null 2>&1 || useradd -M -d "$HOMES/$LUSER" -s /bin/bash "$LUSER" || die "no user $LUSER"
    mkdir -p "$HOMES/$LUSER" && chown "$LUSER:" "$HOMES/$LUSER" && chmod 700 "$HOMES/$LUSER"
    write_files "$N"; LAB_EXPOSE=${SGELAB_EXPOSE:-}
    start_ns "$LOGIN" "$LOGINIP"; for n in $(hosts "$N"); do start_ns "$n" "$(ip_of "$n")"; done
    wait_ready "$LOGIN"
    # Without an address of its own it takes that of a port, another one when hosts come and go, and
    # nobody reaches it until the neighbours' entries are stale.
    nsenter -t "$(pid_of "ns.$LOGIN")" --net ip -batch - <<EOF || die "bridge"
link add br0 address 02:00:00:00:00:fe type bridge
addr add $LOGINIP/16 dev br0
link set br0 up
route add unreachable default
EOF
    init_spool
    ctl sge_qmaster >>"$LOG/qmaster.out" 2>&1
    for _ in $(seq 200); do ctl qconf -sss >/dev/null 2>&1 && break; sleep 0.05; done
    configure "$N" >>"$LOG/configure.out" 2>&1
    wait_ready $(hosts "$N"); plug $(hosts "$N")
    for _ in $(seq 400); do [ "$(up_hosts)" = "$N" ] && break; sleep 0.05; done
    [ "$(up_hosts)" = "$N" ] || { ctl qhost >&2; tail -5 "$LOG"/*.out >&2; die "not all $N hosts answer"; }
    echo "sgelab: $N hosts after $(( ($(date +%s%N) - t0) / 1000000 )) ms; run jobs with: $SELF exec qsub job.sh"
    ;;
down)
    for n in $(hosts "${LAB_N:-0}") "$LOGIN"; do end "ns.$n"; done
    rm -rf "$RUN" "$LAB/spool" "$SGE_ROOT"
    echo "sgelab: down"
    ;;
status)
    [ -r "$RUN/lab.env" ] && pid_of "ns.$LOGIN" >/dev/null || { echo "sgelab: not up"; exit 3; }
    ctl qhost; ctl qstat -f -u '*'; [ "$(up_hosts)" = "$LAB_N" ];;
exec|node)
    verb=$1; shift; where=$LOGIN; u=$LUSER
    [ "$verb" = node ] && { where=$1; u=root; shift; }
    [ "${1:-}" = -u ] && { u=$2; shift 2; }
    as_user "$u" "$@"
    p=$(pid_of "ns.$where") || die "$where is not running"
    exec nsenter -t "$p" --net --uts --ipc --mount --pid=/proc/"$p"/ns/pid_for_children -- "${AS[@]}";;
node-kill) end "ns.$2";;
node-start)
    pid_of "ns.$2" >/dev/null && die "$2 is already running"
    nsenter -t "$(pid_of "ns.$LOGIN")" --net ip link del "v$2" 2>/dev/null
    start_ns "$2" "$(ip_of "$2")"; wait_ready "$2"; plug "$2";;
*) sed -n '2,/^set -u/{/^set -u/d;s/^# \{0,1\}//;p}' "$SELF"; exit 2;;
esac
