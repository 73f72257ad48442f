#!/bin/sh
# Tests the manual pages: mandoc finds no fault in them, and fovea.net(5) has a heading for every
# layer and an entry for every key. Called by meson: test.sh GENERATE fovea.1 fovea.net.5. Exits
# with 77 (skipped) where mandoc is missing.
set -eu
if ! command -v mandoc >/dev/null; then
    echo "skipped: mandoc is missing"
    exit 77
fi
mandoc -Tlint -Wwarning "$2" "$3"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" >"$folder/names"
mandoc -Tascii "$3" >"$folder/struck" # bold is a letter, a backspace and the letter again
sed "s/.$(printf '\b')//g" "$folder/struck" >"$folder/page"

# Headings begin in column 1, those of subsections in column 4, entries of lists in column 6.
awk '
FILENAME == ARGV[1] { names[$0]; count++; next }
/^[^ ]/ { section = $0; found[section] }
/^   [^ ]/ { section = $1; found[section] }
/^     [^ ]/ { found[section " " $1] }
END {
    for (name in names)
        if (!(name in found)) {
            print "fovea.net(5) lacks: " name
            missing++
        }
    print count - missing " of " count + 0 " names found"
    exit missing > 0 || count == 0
}' "$folder/names" "$folder/page"
