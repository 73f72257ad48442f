# Sourced by ./demo and ./check: installs what is missing (Debian packages) and builds in build/.

build_packages="gcc libc6-dev meson ninja-build pkg-config zlib1g-dev libpng-dev libjpeg62-turbo-dev libzip-dev libjansson-dev nanopb libnanopb-dev libonnx-dev libhdf5-dev"

# Installs the packages given that are not there; without root, prints the line to run and stops.
need_packages() {
    missing=
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
            missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "Some Debian packages are missing. Install them, then run this again:"
        echo "  sudo apt-get install -y --no-install-recommends$missing"
        exit 1
    fi
    echo "Installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || exit 1
    # shellcheck disable=SC2086 # a list of words
    apt-get install -y -qq --no-install-recommends $missing >/dev/null || exit 1
}

# Builds into build/; the first word goes to meson as -Dtests=.
build_here() {
    if [ ! -f build/build.ninja ]; then
        echo "Configuring build/"
        meson setup build "-Dtests=$1" >/dev/null || exit 1
    else
        meson configure build "-Dtests=$1" >/dev/null || exit 1
    fi
    echo "Compiling into build/"
    ninja -C build >build/compile.log 2>&1 || { tail -n 40 build/compile.log; exit 1; }
}
