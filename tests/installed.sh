#!/bin/sh
# What `meson install` puts down is all that is needed: programs in C and C++ are built against the
# header and the library alone, and the installed command finds its nets and its checker.
# usage: tests/installed.sh BUILD_DIR SOURCE_DIR
set -u
. "$(dirname "$0")/shell.sh"
build=$(cd "${1:?usage: installed.sh BUILD_DIR SOURCE_DIR}" && pwd) || exit 1
source=$(cd "${2:?usage: installed.sh BUILD_DIR SOURCE_DIR}" && pwd) || exit 1
begin "$build/fovea"
if nm -D "$build/fovea" | grep -Eq '__(asan|tsan|ubsan)_'; then
    skip "a build with sanitizers is not made to be installed"
fi

# ---- The files -----------------------------------------------------------------------------------

that meson install -C "$build" --no-rebuild --destdir "$work/root"
pc=$(find root -name fovea.pc)
that test -s "$pc"
export PKG_CONFIG_PATH="$work/${pc%/*}"
prefix=$(pkg-config --variable=prefix fovea)
export PKG_CONFIG_SYSROOT_DIR="$work/root"
installed=$work/root$prefix
libraries=$work/${pc%/pkgconfig/fovea.pc}
that test "$(pkg-config --modversion fovea)" = "$("$fovea" --version | sed -n '1s/fovea //p')"
for net in "$source"/nets/*.net; do
    that cmp "$net" "$installed/share/fovea/nets/${net##*/}"
done
for page in man1/fovea.1 man5/fovea.net.5; do
    that test -s "$installed/share/man/$page"
done

# ---- The symbols ---------------------------------------------------------------------------------

nm -D --defined-only "$libraries/libfovea.so" | awk '{ print $3 }' | sort >exported
sed -n '/^FV_API/,/;/p' "$installed/include/fovea.h" | grep -o 'fv_[a-z0-9_]*(' | tr -d '(' |
    sort -u >declared
that diff declared exported # the shared library exports what the header declares, no more, no less
nm --defined-only "$libraries/libfovea.a" 2>/dev/null |
    awk '$2 ~ /[A-TV-Z]/ && $3 !~ /^fv_/ { print $3 }' >foreign
that test ! -s foreign # the static library takes no name that a program might use

# ---- Programs in C and C++ -----------------------------------------------------------------------

make_split data/sides train 300 28
make_split data/sides t10k 100 28
cp "$source"/examples/first.* .
warnings='-O1 -Wall -Wextra -Wpedantic -Wno-missing-field-initializers -Werror'
flags=$(pkg-config --cflags fovea)
shared=$(pkg-config --libs fovea)
# The static library with shared ones of others, whose own static parts need not be here.
# shellcheck disable=SC2046 # a list of words
static="$(pkg-config --libs-only-L fovea) -l:libfovea.a $(pkg-config --libs \
    $(pkg-config --print-requires-private fovea)) $(sed -n 's/^Libs.private: //p' "$libraries/pkgconfig/fovea.pc")"
export LD_LIBRARY_PATH="$libraries"

# build_program LINKAGE COMPILER WORDS...: makes the program `first`.
build_program() {
    linkage=$1
    shift
    # shellcheck disable=SC2086,SC2046 # lists of words
    "$@" $warnings $flags $([ "$linkage" = shared ] && echo "$shared" || echo "$static") -o first \
        >out 2>err
    verdict $? "$* ($linkage)" err
    [ "$linkage" = shared ] && libraries_wanted=1 || libraries_wanted=0
    that test "$(ldd first | grep -c 'libfovea.so')" -eq $libraries_wanted
}

for linkage in shared static; do
    build_program $linkage "${CC:-cc}" -std=c17 first.c
    rm -f read.safetensors built.safetensors
    that ./first first.net sides
    said '^read.safetensors: accuracy 1.0000, loss [0-9.]+$'
    that cmp read.safetensors built.safetensors # the net as text and as calls is one net
    that_not ./first first.net nosuch
    said 'nosuch'
    if command -v "${CXX:-c++}" >c++; then
        build_program $linkage "${CXX:-c++}" -std=c++20 first.cpp
        that ./first
        said '^class 9: 0\.[0-9]+$'
    else
        echo "      no C++ compiler: first.cpp is not tried"
    fi
done
# The program that the README prints.
awk '/^```$/ { inside = 0 } inside; /^```c$/ && !seen { inside = seen = 1 }' "$source/README.md" >readme.c
build_program shared "${CC:-cc}" -std=c17 readme.c
expect 0 'samples 100$' test read.safetensors --data sides

# ---- The command ---------------------------------------------------------------------------------

# It looks for nets and for its checker where they were put.
unset FOVEA_NETS
fovea=$installed/bin/fovea
expect 1 "looked in $prefix/share/fovea/nets" info nosuch
that test -x "$installed/libexec/fovea/fovea-check"
case $("$fovea" --version) in
*hdf5*) that test -x "$installed/libexec/fovea/fovea-keras" ;;
esac

# At its own place, with the source's nets out of sight, where a namespace of mounts is permitted.
mkdir nowhere
cat >mounted.sh <<'END'
mount --bind "$installed" "$prefix" && mount --bind nowhere "$source/nets" && cd / || exit 1
"$prefix/bin/fovea" info lecture-keras && "$prefix/bin/fovea" check "$work/small.net"
END
printf 'input 4x4x1\nconv 2 3x3 tanh\nflatten\ndense 2 softmax\n' >small.net
export installed prefix source work
if [ -d "$prefix" ] && [ ! -e "$prefix/bin/sh" ] && unshare -rm true 2>/dev/null; then
    that unshare -rm sh mounted.sh
    said '^total +1,199,882'
    said 'small.net: the gradients match'
else
    echo "      the installed command is not tried at its place: no namespace of mounts here"
fi

finish
