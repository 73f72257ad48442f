#!/bin/sh
# `fovea check` on every net of tests/nets, which between them hold every layer type and every loss
# that the manual lists. Arguments: the fovea program, the program that lists the manual's names.
set -eu
fovea=$1
names=$2
here=$(cd "$(dirname "$0")" && pwd)
failed=0
for net in "$here"/nets/*.net; do
    if "$fovea" check "$net" >check.log 2>&1; then
        printf 'ok    %-18s %s\n' "$(basename "$net")" "$(grep -c ' ok$' check.log) weights"
    else
        echo "FAIL  $net"
        grep -v ' ok$' check.log
        failed=$((failed + 1))
    fi
done
rm -f check.log
for name in $("$names" | grep -v "[ A-Z]"); do
    grep -qE "(^| )$name( |$)" "$here"/nets/*.net || {
        echo "FAIL  no net of tests/nets has $name"
        failed=$((failed + 1))
    }
done
[ "$failed" -eq 0 ]
