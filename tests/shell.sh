# Helpers of the shell tests. A test sources this file, calls `begin`, makes checks that each print
# a line `ok` or `FAIL`, and calls `finish`, whose status says whether all went well.

# begin PROGRAM: $fovea is the program; work in a scratch folder, away from the user's own files.
begin() {
    case $1 in
    /*) fovea=$1 ;;
    *) fovea=$PWD/$1 ;;
    esac
    failures=0
    patience=120
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM PIPE
    cd "$work" || exit 1
    mkdir data nets
    export FOVEA_DATA="$work/data" FOVEA_NETS="$work/nets" HOME="$work"
}

finish() {
    echo
    if [ $failures -gt 0 ]; then
        echo "$failures checks failed"
        exit 1
    fi
    echo "all checks passed"
    exit 0
}

# skip REASON: ends the test; 77 is Meson's status for that.
skip() {
    echo "skipped: $1"
    exit 77
}

# verdict STATUS NAME [FILE]...: the line of a check, and below a failure what the files say.
verdict() {
    if [ "$1" -eq 0 ]; then
        echo "ok    $2"
    else
        echo "FAIL  $2"
        shift 2
        [ $# -gt 0 ] && tail -n 20 "$@" | cut -c 1-300 | sed 's/^/      | /'
        failures=$((failures + 1))
    fi
}

# expect STATUS PATTERN ARGUMENT...: fovea ends with STATUS, and what it prints on standard output
# (status 0) or standard error has PATTERN in it; nothing is asked of it where PATTERN is empty.
# It may take $patience seconds.
expect() {
    wanted=$1
    pattern=$2
    shift 2
    timeout $patience "$fovea" "$@" >out 2>err </dev/null
    status=$?
    [ "$wanted" -eq 0 ] && where=out || where=err
    [ "$status" -eq "$wanted" ] && { [ -z "$pattern" ] || grep -Eq -e "$pattern" "$where"; }
    verdict $? "fovea $* -> $wanted (is $status), $pattern" out err
}

that() { # a command that must succeed
    "$@" >report 2>&1
    verdict $? "$*" report
}

that_not() { # a command that must fail
    if "$@" >report 2>&1; then false; else true; fi
    verdict $? "not $*" report
}

said() { # a pattern in what the command of the last `that` or `that_not` printed
    grep -Eq -e "$1" report
    verdict $? "it said $1" report
}

# interrupt SIGNAL STATUS LOG ARGUMENT...: sends the signal as soon as the run has added a row to
# its log.csv; it must save, say how to go on, and end with STATUS.
interrupt() {
    signal=$1
    wanted=$2
    log=$3
    shift 3
    [ -e "$log" ] && rows=$(wc -l <"$log") || rows=1
    "$fovea" "$@" >out 2>err </dev/null &
    process=$!
    tries=0
    until [ -e "$log" ] && [ "$(wc -l <"$log")" -gt "$rows" ] || [ $tries -gt 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    kill -s "$signal" $process
    wait $process
    status=$?
    [ "$status" -eq "$wanted" ] &&
        grep -Eq 'interrupted at step [0-9]+: saved; resume with: .*train .* --resume$' err &&
        [ "$(grep -o -e '--resume' err | wc -l)" -eq 1 ]
    verdict $? "SIG$signal -> $wanted (is $status)" out err
}

# make_split FOLDER PREFIX COUNT SIZE: square pictures, bright on the left (class 0) or on the right
# (class 1), over a faint pattern of their own.
make_split() {
    mkdir -p "$1"
    python3 - "$@" <<'END'
import struct, sys
start = "/".join(sys.argv[1:3])
count, size = int(sys.argv[3]), int(sys.argv[4])
with open(start + "-images-idx3-ubyte", "wb") as file:
    file.write(struct.pack(">4i", 0x803, count, size, size))
    for i in range(count):
        file.write(bytes(
            (100 + i % 128) * ((x >= size // 2) == i % 2) + (i * 7 + y * 5 + x * 3) % 28
            for y in range(size) for x in range(size)))
with open(start + "-labels-idx1-ubyte", "wb") as file:
    file.write(struct.pack(">2i", 0x801, count) + bytes(i % 2 for i in range(count)))
END
}
