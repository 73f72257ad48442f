#!/bin/sh
# Files of Keras by the command: models whose outputs Keras computed (tests/golden/keras), export and
# back, and bad files of every kind: an error, never a crash or a hang of the command, and nothing
# left behind.
# usage: tests/keras.sh path/to/fovea path/to/golden/keras
set -u
. "$(dirname "$0")/shell.sh"
golden=$(cd "${2:?usage: keras.sh path/to/fovea path/to/golden/keras}" && pwd)
begin "${1:?usage: keras.sh path/to/fovea path/to/golden/keras}"
[ -x "$(dirname "$fovea")/fovea-keras" ] || skip "this build has no Keras files"
mkdir temporary
# Under a sanitizer, too, a crash is to end the program by its signal.
export ASAN_OPTIONS="${ASAN_OPTIONS:-abort_on_error=1}:abort_on_error=1:handle_segv=0"
export TMPDIR="$work/temporary"

nothing_left() {
    left=$(ls -A temporary; find . -name '*.tmp')
    [ -z "$left" ]
    verdict $? "nothing is left behind $left"
}

# same BOUND FILE WANTED: arrays of float32, up to BOUND of the largest value.
same() {
    python3 - "$@" <<'END'
import ast, struct, sys
def read(path):
    data = open(path, "rb").read()
    size = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:10 + size].decode())
    values = data[10 + size:]
    return header["shape"], struct.unpack(f"<{len(values) // 4}f", values)
(_, found), (_, wanted) = read(sys.argv[2]), read(sys.argv[3])
largest = max(abs(w) for w in wanted)
assert len(found) == len(wanted), (len(found), len(wanted))
worst = max(abs(f - w) for f, w in zip(found, wanted)) / largest
print(worst)
assert worst <= float(sys.argv[1])
END
}

# runs NAME MODEL: its outputs are Keras', by all algorithms and by --exact.
runs() {
    for exact in "" --exact; do
        [ -z "$exact" ] && bound=1e-4 || bound=1e-5
        rm -rf outputs
        "$fovea" run "$2" --input "$golden/$1.x.npy" --output-dir outputs $exact >report 2>&1 &&
            same $bound outputs/*.npy "$golden/$1.y.npy" >report 2>&1
        verdict $? "$2 $exact: the outputs of Keras" report
    done
}

# ---- In and out ----------------------------------------------------------------------------------

for file in pictures.keras steps.keras volumes.keras nested.keras nested.h5 crossed.keras \
    crossed.h5 keras2.h5; do
    name=${file%.*}
    cp "$golden/$file" .
    runs "$name" "$file"
    [ "$name" = keras2 ] && continue
    that "$fovea" export "$file" back.keras
    that "$fovea" export "$file" again.keras
    that cmp back.keras again.keras
    runs "$name" back.keras
    for model in "$file" back.keras; do # the export has layers in Keras' order
        "$fovea" info "$model" >info && sort info >"$model.info"
    done
    cmp -s "$file.info" back.keras.info
    verdict $? "$file: the same info after export" "$file.info" back.keras.info
done
expect 1 "layer conv2d_1.activation \(hard_sigmoid\): Keras' hard_sigmoid" export keras2.h5 out.keras
that_not test -e out.keras
that python3 - back.keras <<'END'
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as file:
    assert file.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
    assert all(i.date_time == (1980, 1, 1, 0, 0, 0) for i in file.infolist())
    assert json.loads(file.read("metadata.json"))["date_saved"].startswith("1980")
    assert json.loads(file.read("config.json"))["class_name"] == "Functional"
END

# Keras numbers the weights of nets with branches by its own order of their layers.
while read -r name layers; do
    net=$name
    [ -f "$golden/$name.net" ] && net=$golden/$name.net
    # shellcheck disable=SC2086 # a list of words
    "$fovea" export "$net" order.keras >report 2>&1 && python3 - order.keras $layers >report 2>&1 <<'END'
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as file:
    layers = [layer["name"] for layer in json.loads(file.read("config.json"))["config"]["layers"]]
for place, (found, wanted) in enumerate(zip(layers, sys.argv[2:], strict=True)):
    assert found == wanted, (place, found, wanted)
END
    verdict $? "$name: the layers in Keras' order" report
done <"$golden/orders.txt"
expect 0 '' export "$golden/branches.net" branches.safetensors
expect 0 '' export branches.safetensors branches.keras
that grep -q 'note: 2 layers that no output needs' err
for file in branches.safetensors branches.keras; do
    that "$fovea" run $file --input "$golden/crossed.x.npy" --output-dir $file.outputs
done
for output in d j; do
    that same 1e-5 branches.keras.outputs/$output.npy branches.safetensors.outputs/$output.npy
done
cat >constant.net <<'END'
input  4x4x3
k: constant 4
output k
conv   2 1x1 from=input1
END
expect 1 'its output k is a constant' export constant.net constant.keras

expect 0 'samples/s' bench pictures.keras --seconds 0.01
expect 0 '^conv2d .* 112 ' info pictures.keras
expect 0 '' export pictures.keras scaled.safetensors --set picture.scale=1/255
expect 0 'input 8x7x3 scale=1/255|input 8x7x3 scale=0.0039' info scaled.safetensors
expect 1 'no layer is called .pitcure' export pictures.keras x.net --set pitcure.scale=1
expect 1 'library does not read files of Keras.*fovea export' check pictures.keras

# Class names travel in the metadata.
make_split data/sides train 48 4
make_split data/sides t10k 16 4
cat >nets/tiny.net <<'END'
input    4x4x1 scale=1/255 mean=0.5 deviation=0.25
conv     24 3x3 leaky_relu pad=1
batch_norm relu
flatten
dense    2 softmax
train    loss=cross_entropy optimizer=adam lr=0.01 batch=8 epochs=2
END
expect 0 '^test accuracy' train tiny --data sides --out trained
model=trained/model.safetensors
expect 0 '' export $model tiny.keras
for file in $model tiny.keras; do
    "$fovea" test $file --data sides >"$(basename $file).test"
    "$fovea" predict $file sides:test:0 sides:test:1 >"$(basename $file).predict"
    "$fovea" export $file "$(basename $file).net"
done
that cmp model.safetensors.test tiny.keras.test
that cmp model.safetensors.predict tiny.keras.predict
that grep -E 'optimizer=adam lr=0.01' tiny.keras.net
expect 0 '^test accuracy' train tiny.keras --data sides --out further --epochs 1
nothing_left

# ---- What cannot be, by its name -----------------------------------------------------------------

# changed NAME CODE: a copy of nested.keras, its config changed by Python.
changed() {
    python3 - nested.keras "$1" "$2" <<'END'
import json, sys, zipfile
source, target, code = sys.argv[1:]
with zipfile.ZipFile(source) as file:
    members = {name: file.read(name) for name in file.namelist()}
config = json.loads(members["config.json"])
layers = config["config"]["layers"]
inner = [l for l in layers if l["config"]["name"] == "inner"][0]["config"]["layers"]
outer = [l for l in layers if l["config"]["name"] == "outer"][0]["config"]["layers"]
dense = layers[-1]
exec(code)
if "config.json" in members:
    members["config.json"] = members.get("raw", json.dumps(config).encode())
members.pop("raw", None)
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
    for name, data in members.items():
        file.writestr(name, data)
END
}

# refuse PATTERN CODE: such a file is refused with that message.
refuse() {
    changed bad.keras "$2"
    expect 1 "bad.keras: .*$1" info bad.keras
}

refuse 'conv2d.*Conv2D.*channels_first' 'inner[1]["config"]["data_format"] = "channels_first"'
refuse 'Conv2D\).*activation crelu' 'inner[1]["config"]["activation"] = "crelu"'
refuse 'Secret.*no counterpart' 'inner[1]["class_name"] = "Secret"'
refuse 'MyPackage>Conv2D.*not Keras' 'inner[1]["registered_name"] = "MyPackage>Conv2D"'
refuse 'mine.*not Keras' 'inner[1]["module"] = "mine"'
refuse 'kernel_size is no integer' 'inner[1]["config"]["kernel_size"] = [-1, 2]'
refuse 'kernel_size has 3 numbers' 'inner[1]["config"]["kernel_size"] = [2, 2, 2]'
refuse 'filters is no integer' 'inner[1]["config"]["filters"] = 1e30'
refuse 'filters' 'del inner[1]["config"]["filters"]'
refuse 'shape \(2, 2, 2, 3\).*\(2, 2, 2, 4\)' 'inner[1]["config"]["filters"] = 4'
refuse 'the file holds at most' 'dense["config"]["units"] = 1 << 20'
refuse 'units' 'dense["config"]["units"] = 1 << 40'
refuse 'quantized|int8' 'inner[1]["config"]["dtype"] = "int8_from_float32"'
refuse 'no list of sizes|2 to 5' 'layers[0]["config"]["batch_shape"] = [None, "x", 5, 2]'
refuse '8 axes' 'layers[0]["config"]["batch_shape"] = [None] * 8'
refuse 'larger than axis' 'layers[0]["config"]["batch_shape"] = [None, 1, 1, 2]'
refuse 'no fixed size' 'layers[0]["config"]["batch_shape"] = [None, 6, 5, None]'
refuse 'circle' 'dense["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = dense["name"]'
refuse 'that there is not' 'dense["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = "x"'
refuse 'two of its layers' 'layers[1]["name"] = layers[0]["name"]'
refuse 'no outputs|output' 'config["config"]["output_layers"] = []'
refuse '0 inputs' 'config["config"]["input_layers"] = []'
refuse 'class Subclassed' 'config["class_name"] = "Subclassed"'
refuse 'no class_name' 'layers[1] = 7'
refuse 'no layers' 'inner.clear()'
refuse 'no JSON' 'members["raw"] = b"{" * 10'
refuse 'no JSON' 'members["raw"] = b"[" * 1000000'
refuse 'no JSON' 'members["raw"] = b"\xff\xfe{}"'
refuse 'models within models' 'exec("for i in range(100): config = {\"class_name\": \"Sequential\", \"config\": {\"name\": \"m\", \"layers\": [config]}}", globals())'
refuse 'no config.json' 'members.pop("config.json")'
refuse 'no model.weights.h5' 'members.pop("model.weights.h5")'
refuse 'no readable HDF5' 'members["model.weights.h5"] = b"HDF" * 1000'
refuse 'no readable HDF5' 'members["model.weights.h5"] = b""'
refuse 'bomb' 'members["model.weights.h5"] = bytes(100 << 20)'
refuse 'at most 67108864 are read' 'members["raw"] = b" " * (65 << 20)'
for file in link packed; do
    cp "$golden/$file.h5" .
done
expect 1 'link.h5: .*d \(Dense\).*leads to another place' info link.h5
expect 1 'packed.h5: .*d \(Dense\).*compressed' info packed.h5
expect 1 'missing.keras: no such file' info missing.keras
mkdir folder.keras
expect 1 'folder.keras: no such file' info folder.keras
echo text >text.keras
cp text.keras text.h5
expect 1 'text.keras: no readable .keras file' info text.keras
expect 1 'text.h5: no readable HDF5 file' info text.h5
cp nested.keras nested-keras.h5
expect 1 'nested-keras.h5: no readable HDF5 file' info nested-keras.h5
nothing_left

# ---- Damaged files -------------------------------------------------------------------------------

# attempt FILE: fovea on the damaged file: it works, or says which file is bad; at once.
attempt() {
    timeout 20 "$fovea" info "$1" >out 2>err
    status=$?
    [ $status -eq 0 ] || { [ $status -eq 1 ] && grep -q "$1" err; }
}

# damage FILE COUNT: copies of it in damaged/, cut and with a byte turned over, in COUNT places each.
damage() {
    rm -rf damaged
    mkdir damaged
    python3 - "$1" "$2" <<'END'
import sys
data, count = open(sys.argv[1], "rb").read(), int(sys.argv[2])
suffix = sys.argv[1].split(".")[1]
for i in range(count):
    at = len(data) * i // count
    open(f"damaged/cut-{i}.{suffix}", "wb").write(data[:at])
    turned = data[:at] + bytes([data[at] ^ 255]) + data[at + 1:]
    open(f"damaged/turned-{i}.{suffix}", "wb").write(turned)
END
}

# Bytes that send libhdf5 1.10 beyond its memory, and round in circles.
for at in 917 4057 13142 3856; do
    cp keras2.h5 bytes.h5
    printf '\377' | dd of=bytes.h5 bs=1 seek=$at conv=notrunc 2>/dev/null
    attempt bytes.h5 && [ $status -eq 1 ]
    verdict $? "keras2.h5 with 0xff in place $at: refused" err
done
for file in steps.keras volumes.keras keras2.h5; do
    damage $file 100
    cut=0
    turned=0
    for copy in damaged/*; do
        attempt "$copy" && good=1 || good=0
        case $copy in
        */cut*) [ $good -eq 1 ] && [ $status -eq 1 ] || cut=$((cut + 1)) ;;
        *) [ $good -eq 1 ] || turned=$((turned + 1)) ;;
        esac
    done
    verdict $cut "$file cut in 100 places: refused"
    verdict $turned "$file with a byte turned over in 100 places: refused or read"
done
nothing_left

# ---- The program dies, hangs, is interrupted, or is not there ------------------------------------

mkdir other
cp "$fovea" other/
fovea=$work/other/fovea
fake() {
    printf '#!/bin/sh\n%s\n' "$1" >other/fovea-keras
    chmod +x other/fovea-keras
}

fake 'echo "free(): invalid pointer"; echo half >"$3"; kill -SEGV $$'
expect 1 'crashed on nested.h5: it is damaged or hostile' info nested.h5
that_not grep -q invalid err
fake 'kill -XCPU $$'
expect 1 'did not come to an end with nested.h5' info nested.h5
fake 'echo "note: something"; exit 1'
expect 1 'fovea info: note: something' info nested.h5
fake 'exit 0'
expect 1 'model.safetensors' info nested.h5
fake 'echo half >"$3.tmp"; exec sleep 60'
for signal in INT TERM HUP; do
    "$fovea" info nested.h5 >out 2>err &
    process=$!
    tries=0
    until [ -n "$(find temporary -name '*.tmp')" ] || [ $tries -gt 200 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    kill -s $signal $process
    wait $process
    [ $? -gt 0 ]
    verdict $? "SIG$signal while a file is read ends fovea"
    nothing_left
done
rm other/fovea-keras
[ -x /usr/local/libexec/fovea/fovea-keras ] ||
    expect 1 'nested.h5: this build has no Keras files' info nested.h5
TMPDIR=/nowhere expect 1 'cannot make a folder' info nested.h5
nothing_left
finish
