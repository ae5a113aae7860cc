#!/usr/bin/env bash
# small-disk.sh FOLDER COMMAND...: runs a command that sees FOLDER/full and FOLDER/wide as file systems
# of 64 MiB, FOLDER/fixed as one that can't be written, and that may not write files whose mode forbids it,
# even if it is root. When it has ended, what is in FOLDER/full is copied to FOLDER/kept.
#
# Root may mount; others may where the kernel allows them a user namespace.
set -euo pipefail
if [ "$1" != --inside ]; then
  how=(--mount)
  [ "$(id -u)" -eq 0 ] || how+=(--user --map-root-user)
  unshare "${how[@]}" true || {
    echo "this test mounts file systems: run it as root, or allow user namespaces" \
      "(sysctl kernel.unprivileged_userns_clone=1)" >&2
    exit 69
  }
  exec unshare "${how[@]}" bash "$0" --inside "$@"
fi
folder=$2
shift 2
for small in full wide; do
  mount -t tmpfs -o size=64m filterd-test "$folder/$small"
done
mount --bind "$folder/fixed" "$folder/fixed"
mount -o remount,bind,ro "$folder/fixed"
setpriv --bounding-set=-dac_override,-dac_read_search "$@" &
command=$!
trap 'kill "$command"' TERM
wait "$command" || true
wait "$command" || true # The first one is ended by the signal.
cp --sparse=always "$folder"/full/* "$folder/kept/"
