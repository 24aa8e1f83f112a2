# `step COMMAND…` runs a command once on each host of a PBS job; its exit code is rank 0's, which is
# this host's.  Stands in every job script, and `rayhpc run` reads it in a script of your own.
#
# pbsdsh starts a program with nearly no environment, so ours goes into a file that nobody else can
# read, in the job's folder or in HOME, and each rank reads it.
step() {
    local host folder=${RAYHPC_JOB_DIR:-$HOME} code=0 order=()
    local -A slots_of=() line_of=()
    local -x RAYHPC_STEP=$PBS_JOBID
    local lines=0 term_reaches_all=yes
    while read -r host; do
        [ -n "${slots_of[$host]:-}" ] || { order+=("$host"); line_of[$host]=$lines; }
        slots_of[$host]=$(( ${slots_of[$host]:-0} + 1 ))
        (( lines += 1 ))
    done <"$PBS_NODEFILE"
    for host in "${order[@]}"; do  # a chunk with one process has one line, however many CPUs it has
        [ "${slots_of[$host]}" -ge "${NCPUS:-${PBS_NUM_PPN:-1}}" ] || slots_of[$host]=${NCPUS:-${PBS_NUM_PPN:-1}}
    done
    here_first
    environment=$(umask 077; mktemp "$folder/.step-XXXXXXXX") || return 74
    start_ranks "$@" || code=$?
    rm -f "$environment" "$environment".*
    return "$code"
}

elsewhere() {  # its number is that of the first of its lines
    local own="$environment.$RAYHPC_RANK"
    (
        umask 077
        export -p
        printf 'trap "" USR1 USR2\ncd %q && exec %s\n' "$RAYHPC_RANK_DIRECTORY" "$RAYHPC_RANK_COMMAND"
    ) >"$own"
    exec pbsdsh -n "${line_of[$1]}" -- /bin/bash "$own"
}
