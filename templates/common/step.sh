# `start_ranks COMMAND…` runs a command once on each of the hosts in the array `order`, this one being
# the first; its exit code is rank 0's.  The batch system's own `step` has filled `order`, and
# `slots_of` by host, and says with `elsewhere HOST` how a command is started on another host: it finds
# the words in RAYHPC_RANK_COMMAND and the directory in RAYHPC_RANK_DIRECTORY.
#
# USR1 and USR2 announce SIGSTOP and SIGKILL where they reach every process of a job, and end each that
# does not know them: so all ranks ignore them, and rank 0 is told to end by SIGTERM, as anywhere else.
# A SIGTERM is passed on unless it reaches all processes of the job by itself (`term_reaches_all`).
start_ranks() {
    local host code=0 rank=0 size=0 patience=15 timer first= others=()
    order=("${order[@]:0:${RAYHPC_STEP_NODES:-9999}}")
    for host in "${order[@]}"; do (( size += 1 )); done

    local -x RAYHPC_SIZE=$size RAYHPC_HOSTS= RAYHPC_RANK=0 RAYHPC_RANK_COMMAND RAYHPC_RANK_DIRECTORY=$PWD
    RAYHPC_RANK_COMMAND=$(printf '%q ' "$@")
    for host in "${order[@]}"; do RAYHPC_HOSTS+="$host:${slots_of[$host]} "; done

    # What follows is a kill: the end has to be written down before it.
    local tell='patience=2; [ -z "$first" ] || kill -TERM "$first" 2>/dev/null'
    trap "$tell" USR2
    if [ -n "${term_reaches_all:-}" ]; then trap 'patience=2' TERM; else trap "$tell" TERM; fi
    trap : USR1
    set -m  # else SIGINT would be ignored in all that starts here
    ( trap '' USR1 USR2; exec "$@" ) &
    first=$!
    for host in "${order[@]:1}"; do
        RAYHPC_RANK=$(( rank += 1 ))
        ( trap '' USR1 USR2; elsewhere "$host" ) &
        others+=($!)
    done
    set +m
    while kill -0 "$first" 2>/dev/null; do wait "$first"; done
    wait "$first" || code=$?
    if [ "$size" -gt 1 ]; then
        # They have been told the end, unless rank 0 was killed; one that does not come to it is not
        # waited for.
        [ "$code" -ne 137 ] || patience=2
        ( trap 'kill $!' TERM; sleep "$patience" & wait $! && kill "${others[@]}" ) 2>/dev/null &
        timer=$!
        wait "${others[@]}"
        kill "$timer" 2>/dev/null
    fi
    return "$code"
}

here_first() {  # put this host's name first in `order`
    local host first= others=()
    for host in "${order[@]}"; do
        if [ "${host%%.*}" = "${HOSTNAME%%.*}" ]; then first=$host; else others+=("$host"); fi
    done
    [ -z "$first" ] || order=("$first" "${others[@]}")
}
