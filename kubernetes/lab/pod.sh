#!/bin/bash
# One container of the Kubernetes lab: the process with pid 1 in its namespaces.  Started by
# pods.py, which plugs in its network meanwhile and then says so on standard input.
set -eu
mount --make-rprivate /
hostname "$POD_NAME"
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
while read -r kind target source; do
    case $kind in
    files) mkdir -p "$target"; mount --bind "$source" "$target" ;;
    empty) mkdir -p "$target"; mount -t tmpfs tmpfs "$target" ;;
    ready) break ;;
    esac
done
cd "$POD_HOME"
exec "$@" </dev/null
