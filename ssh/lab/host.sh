#!/bin/bash
# One host of the ssh lab: the process with pid 1 in its namespaces.  Started by lab.py, which plugs
# in its network meanwhile; becomes its sshd, which listens on every address it will have.
set -eu
mount --make-rprivate /
hostname "$HOST_NAME"
mount --bind "$HOST_DIR/passwd" /etc/passwd
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd
cd /
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LD_LIBRARY_PATH="$LIBRARIES" "$SSHD" -D -e -f "$HOST_DIR/sshd_config"
