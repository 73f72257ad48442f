#!/bin/sh
# A build for another architecture, run by an emulator: generic kernels, no optional parts.
# usage: tests/foreign.sh BUILD_DIR LAUNCHER...   (such as qemu-aarch64 -L /usr/aarch64-linux-gnu)
set -u
. "$(dirname "$0")/shell.sh"
build=$(cd "${1:?usage: foreign.sh BUILD_DIR LAUNCHER...}" && pwd) || exit 1
shift
begin "$build/fovea"

# The programs, as commands that start the emulator.
for program in fovea fovea-check; do
    echo "exec $* '$build/$program' \"\$@\"" | sed '1i #!/bin/sh' >$program
    chmod +x $program
done
fovea=$work/fovea

make_split data/sides train 48 8
make_split data/sides t10k 16 8
cat >small.net <<'END'
input    8x8x1 scale=1/255
conv     4 3x3 relu
conv     6 3x3 tanh padding=same
maxpool  2x2
dropout  0.25
flatten
dense    5 sigmoid
dense    2 softmax
train    loss=cross_entropy optimizer=adam batch=8 epochs=2
END

expect 0 '^instruction set: generic$' --version
expect 0 '^total +1,199,882 ' info lecture-keras
expect 0 '^total +3,274,634 ' info lecture-tensorflow
expect 0 '^total .*[0-9]$' info small.net --memory
that ./fovea-check small.net
said '^small.net: the gradients match'
expect 0 '^\{"median_ms": [0-9.e-]+, ' bench small.net --seconds 0.2 --json
expect 0 '^\{"median_ms": [0-9.e-]+, ' bench small.net --seconds 0.2 --json --train

# A run trains, but without jansson it can keep nothing: a clear message, and no file left behind.
expect 1 'this build has no model files: build fovea with -Djson=enabled' \
    train small.net --data sides --out run
that_not test -e run/model.safetensors
that_not test -e run/checkpoint.safetensors
expect 1 'no model files' export small.net small.safetensors
gzip data/sides/t10k-images-idx3-ubyte
expect 1 't10k-images-idx3-ubyte.gz is gzipped, and this build reads no gzip files' \
    train small.net --data sides --out run2

finish
