# `step COMMAND…` runs a command once on each host of a Grid Engine job; its exit code is rank 0's,
# which is this host's.  Stands in every job script, and `rayhpc run` reads it in a script of your own.
step() {
    local host slots rest order=()
    local -A slots_of=()
    local -x RAYHPC_STEP="$JOB_ID.$SGE_TASK_ID"
    if [ -r "${PE_HOSTFILE:-}" ]; then
        while read -r host slots rest; do
            [ -n "${slots_of[$host]:-}" ] || order+=("$host")
            slots_of[$host]=$(( ${slots_of[$host]:-0} + slots ))
        done <"$PE_HOSTFILE"
    else
        order=("$HOSTNAME") slots_of=(["$HOSTNAME"]=${NSLOTS:-1})
    fi
    here_first
    start_ranks "$@"
}

elsewhere() {  # the words reach that host through its user's login shell, whichever that is
    exec qrsh -inherit -nostdin -V "$1" \
        "exec /bin/bash -c 'trap \"\" USR1 USR2; cd \"\$RAYHPC_RANK_DIRECTORY\" && eval \"exec \$RAYHPC_RANK_COMMAND\"'"
}
