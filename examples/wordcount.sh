#!/bin/sh
# An `exec` worker: counts the words of its payload.
#
#     gear-supervisor work wordcount -- examples/wordcount.sh
#     printf 'to be or not' | gearman -f wordcount
#
# One process per job: the payload is stdin, the result stdout, anything for the log stderr. Lines
# like 1/2 on fd 3 are progress. Exit 0 completes the job, any other status fails it, and 75 gives
# it back for another try.
set -eu

echo "counting for ${GEAR_HANDLE:-nobody}" >&2

# Run by hand there is no fd 3; then nobody wants to know.
{ echo 0/1 >&3; } 2>/dev/null || true

count=$(wc -w)
printf '%s\n' "$((count))"
