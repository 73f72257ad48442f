#!/bin/sh
# The command as a user meets it: exit statuses, messages and files of good and bad calls.
# usage: tests/cli.sh path/to/fovea
set -u
. "$(dirname "$0")/shell.sh"
begin "${1:?usage: cli.sh path/to/fovea}"
unset FOVEA_ALGO # the words below are those of the free choice

# ---- A data set of 4x4 pictures, and nets --------------------------------------------------------

make_split data/sides train 48 4
make_split data/sides t10k 16 4
make_split data/broken train 8 4
make_split data/broken t10k 8 4
printf '\001' >>data/broken/train-labels-idx1-ubyte

make_npy() { # file, samples (one digit): zeros of 4x4x1
    header="{'descr': '<f4', 'fortran_order': False, 'shape': ($2, 4, 4, 1), }"
    printf '\223NUMPY\001\000\166\000%-117s\n' "$header" >"$1"
    head -c $(($2 * 64)) /dev/zero >>"$1"
}

# make_arrays FROM TO SPLIT PREFIX TYPE: the pictures and labels of one split as arrays, the labels as
# 64-bit numbers; TYPE is B for bytes, f for floats.
make_arrays() {
    mkdir -p "$2"
    python3 - "$@" <<'END'
import struct, sys
source, target, split, prefix, kind = sys.argv[1:]
def write(field, shape, kind, values):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (
        {"B": "|u1", "f": "<f4", "q": "<i8"}[kind], shape)
    with open(f"{target}/{split}-{field}.npy", "wb") as file:
        file.write(b"\x93NUMPY\x01\x00\x76\x00" + head.ljust(117).encode() + b"\n")
        file.write(struct.pack(f"<{len(values)}{kind}", *values))
pictures = open(f"{source}/{prefix}-images-idx3-ubyte", "rb").read()
labels = open(f"{source}/{prefix}-labels-idx1-ubyte", "rb").read()
count, height, width = struct.unpack(">3i", pictures[4:16])
write("input", (count, height, width, 1), kind, pictures[16:])
write("label", (count,), "q", labels[8:])
write("age", (count, 1), "f", range(count))
END
}

make_arrays data/sides data/arrays train train f
make_arrays data/sides data/arrays test t10k B
make_npy three.npy 3
cp three.npy a=b.npy

cat >nets/tiny.net <<'END'
input    4x4x1 scale=1/255
conv     4 3x3 relu
flatten
dropout  0.1
dense    2 softmax
train    loss=cross_entropy optimizer=sgd lr=0.1 batch=8 epochs=3
END
cp nets/tiny.net tiny.net
sed 's/ softmax//; /^train/d' tiny.net >linear.net
sed 's/dense    2/dense    1/' tiny.net >one.net
sed 's/4x4x1/5x5x1/' tiny.net >five.net
sed 's/conv  /cnov  /' tiny.net >unknown.net
sed 's,1/255,1e30,; s/relu/relu init=constant(1e6)/' tiny.net >diverges.net
: >empty.net
printf 'input *x*x1\nconv 2 3x3\n' >any.net
cat >side.net <<'END'
input    4x4x1 scale=1/255
conv     4 3x3 relu
pooled:  global_avgpool
judge:   dense 2 softmax
         flatten from=conv1
         dropout 0.1
class:   dense 2 softmax
loss     cross_entropy of=class
loss     cross_entropy of=judge weight=0.3 auxiliary=true
train    batch=8 epochs=1
END
sed 's/^train/output pooled\ntrain/' side.net >outputs.net
cat >wide.net <<'END'
input 2000x2000x3
a_name_that_is_far_too_long_for_one_line_of_the_page: separable_conv 24 3x3 relu padding=same init=normal(0.1)
conv 24 1x1 from=input1
loss mse of=a_name_that_is_far_too_long_for_one_line_of_the_page auxiliary=true
loss mse of=conv1
END

# ---- Help, version, wrong verbs ------------------------------------------------------------------

expect 0 '^fovea [0-9]+\.' --version
expect 0 '^instruction set: ' version
expect 0 '^usage: fovea VERB' help
expect 0 '^usage: fovea VERB' --help
for verb in train test predict run info bench check data export convert version help; do
    expect 0 "^usage: fovea $verb" help $verb
    expect 0 "^usage: fovea $verb" $verb --help
done
expect 2 'usage: fovea VERB'
expect 2 'unknown verb trian; did you mean train' trian
expect 2 'unknown verb xyzzyx' xyzzyx
expect 2 'unknown option --threads' --threads 2
expect 2 'unknown verb trian; did you mean train' help trian
expect 2 'unexpected operand' help train test
for verb in show view; do
    expect 2 'not in this version' $verb
done
"$fovea" help >out 2>err
that_not grep -Eq '^ *(show|view) ' out
FOVEA_ISA=v9 expect 1 'v9' version

# ---- Options and operands ------------------------------------------------------------------------

expect 2 'too few operands' train
expect 2 "unexpected operand 'b'" train a b
expect 2 'unknown option --epoch .did you mean --epochs' train tiny --epoch 3
expect 2 'unknown option --zzz' train tiny --zzz
expect 2 'unknown option -x' train tiny -x
expect 2 'needs a value' train tiny --epochs
expect 2 'takes no value' train tiny --resume=yes
for value in 0 -1 x 1.5 '' 99999999999999999999; do
    expect 2 '--threads must be' train tiny --threads "$value"
    expect 2 '--epochs must be' train tiny --epochs "$value"
    expect 2 '--batch must be' train tiny --batch="$value"
    expect 2 '--limit must be' train tiny --limit "$value"
    expect 2 '--top must be' predict m.safetensors f --top "$value"
done
for value in -1 x 1.5 '' 18446744073709551616; do
    expect 2 '--seed must be' train tiny --seed "$value"
done
for value in 0 -1 x nan inf '' 1e400; do
    expect 2 '--lr must be' train tiny --lr "$value"
    expect 2 '--seconds must be' bench tiny --seconds "$value"
done
expect 2 'empty' train tiny --data ''
that_not test -e runs

# ---- info ----------------------------------------------------------------------------------------

expect 0 '^conv1 .*conv 4 3x3 relu .*2x2x4 +40 +144 +64$' info tiny
expect 0 '^dropout1 .*dropout 0.1 .*16 +0 +0$' info tiny # a view at inference
expect 0 '^total +74 +176 +136$' info tiny.net
expect 0 '^Memory for computation: 34 activations of a sample x 4 bytes = 0.1 KiB\.$' info tiny
expect 0 '^Memory for parameters:  74 parameters x 4 bytes = 0.3 KiB\.$' info tiny
expect 0 '^Memory for computation: not known' info any.net
that_not grep -q 'in training' out
expect 0 '"parameters": 74, "macs": 176, "activations": 34, "training": \{"parameters": 74, "macs": 176\}' info --json tiny
expect 0 '"name": "conv1", .*"activations": 16, "training_only": false\}' info --json tiny
expect 0 '^judge\* +dense 2 softmax +2 +10 +8 +8$' info side.net
expect 0 '^total +74 +176 +' info side.net
expect 0 '^in training +with layers marked \* +84 +184$' info side.net
expect 0 '"parameters": 74, "macs": 176, .*"training": \{"parameters": 84, "macs": 184\}' info --json side.net
expect 0 '"name": "judge", .*"training_only": true\}' info --json side.net
expect 0 '^a_name_\.\.\.he_page\* +separable_conv 24 3x3 +.*' info wide.net
that_not grep -Eq '.{101}' out
expect 0 '"memory": \{"inference": \{"weights": [0-9]+, "packed"' info tiny --json --batch 7
expect 0 '^total +[0-9,]+ +[0-9,]+$' info tiny --memory --batch=8 --threads 3
expect 0 '^conv1: +conv +4 3x3 relu stride=1 .*padding=valid .*bias_init=constant' info tiny --resolved
expect 2 'does not go with' info tiny --resolved --json
expect 0 '"memory": \{"inference": null, "training": null\}.*"output": \[null, null, 1\]' info any.net --json
expect 1 'sizes vary' info any.net --memory
printf 'input 5\ndense 3 softplus\n' >lossless.net
expect 0 'Training needs a loss that fits the last layer: cross_entropy' info lossless.net --memory
expect 0 '"training": null' info lossless.net --json
expect 1 'nosuch' info nosuch
expect 1 "unknown.net:2:1: .*did you mean .conv" info unknown.net
expect 1 'empty.net' info empty.net
"$fovea" info tiny --resolved >resolved.net 2>err
"$fovea" info resolved.net --resolved >again.net 2>err
that cmp resolved.net again.net

# ---- data ----------------------------------------------------------------------------------------

expect 0 '^fashion-mnist: ' data
expect 0 '^cifar10: ' data
expect 1 'unknown data set mnits; did you mean mnist' data mnits
mkdir data/mnist
expect 0 "found in .*data/mnist" data mnist
rmdir data/mnist

# ---- train ---------------------------------------------------------------------------------------

expect 0 '^test accuracy [01]\.[0-9]{4}  loss [0-9.]+$' train tiny --data sides --seed 1
cp err messages
that test "$(wc -l <out)" -eq 1
that grep -Eq '^epoch 3/3  loss .*  accuracy .*  val_loss .*  val_accuracy .* samples/s  .* s$' messages
that grep -q 'model: runs/tiny/model.safetensors' messages
that test -s runs/tiny/checkpoint.safetensors
that grep -q '^epoch,step,loss,accuracy,val_loss,val_accuracy,seconds,samples_per_second' runs/tiny/log.csv
that test "$(wc -l <runs/tiny/log.csv)" -eq 4
cp runs/tiny/model.safetensors first.safetensors
expect 1 'already holds a run.*--resume.*--out' train tiny --data sides --seed 1
expect 0 '^test accuracy' train tiny --data sides --seed 1 --resume
that cmp runs/tiny/model.safetensors first.safetensors
expect 0 '^test accuracy' train --data=sides --threads 3 --seed=1 --out deep/down/three tiny.net
that cmp deep/down/three/model.safetensors first.safetensors
expect 0 '^test accuracy' train tiny --data data/sides --seed 2 --out other --resume
that_not cmp -s other/model.safetensors first.safetensors
expect 0 '^test accuracy' train tiny --data sides:train --limit 10 --epochs 2 --batch 4 --lr 0.01 --out limited
that test "$(tail -n 1 limited/log.csv | cut -d, -f1,2)" = 2,6
expect 0 '^test accuracy' train --set conv1.filters=3 --set train.epochs=1 tiny --data sides --out set
that test "$(wc -l <set/log.csv)" -eq 2
expect 0 '^test accuracy' train tiny --data arrays --seed 1 --out deep/arrays # the same set as floats
that cmp deep/arrays/model.safetensors first.safetensors
cp -r data/arrays data/both
cp data/sides/train-labels-idx1-ubyte data/both
expect 1 "two data sets for 'train': .*train-labels-idx1-ubyte and .*train-input.npy" train tiny --data both --out bad
rm data/both/train-label*
expect 1 "needs the target 'label', but the data has only age" train tiny --data both --out bad
mkdir data/notest
cp data/arrays/train-* data/notest
expect 1 "no pictures for 'test'.*test-input.npy" train tiny --data notest --out bad
cp -r data/arrays data/badval
cp data/arrays/test-label.npy data/badval/val-label.npy
expect 1 'val-label.npy is there, but not .*val-input.npy' train tiny --data badval --out bad
expect 1 'conv1' train tiny --data sides --out bad --set conv1.filter=3
sed '1i param filters=4' tiny.net | sed 's/conv     4/conv {filters}/' >nets/wide.net
printf 'use wide filters=5\ntrain epochs=1\n' >nets/user.net
expect 0 '^test accuracy' train wide --data sides --seed 1 --out wide
that cmp wide/model.safetensors first.safetensors # the same net
expect 0 '^test accuracy' train user --data sides --set filters=3 --out user
that cmp user/model.safetensors set/model.safetensors
expect 1 'unknown parameter "filter" .did you mean "filters"' train wide --data sides --out bad --set filter=3
expect 1 'unknown parameter' train user --data sides --out bad --set depth=3

# ---- Transfer ------------------------------------------------------------------------------------

expect 0 '^test accuracy' train tiny --data sides --init first.safetensors --freeze 'conv*' --out frozen
that grep -q '^1 layer frozen: conv' err
that grep -q '^weights of first.safetensors$' err
"$fovea" export frozen/model.safetensors frozen.npz
"$fovea" export first.safetensors first.npz
same_array() { # whether two archives have the same array
    python3 -c 'import sys, zipfile
a, b, name = sys.argv[1:]
sys.exit(zipfile.ZipFile(a).read(name) != zipfile.ZipFile(b).read(name))' "$@"
}
that same_array frozen.npz first.npz conv1.weight.npy
that_not same_array frozen.npz first.npz dense1.weight.npy
expect 1 'no weights to train' train tiny --data sides --freeze '*' --out bad
expect 0 '^test accuracy' train wide --set filters=3 --data sides --init first.safetensors --out started
that grep -q 'conv1.weight is \[3, 1, 3, 3\], in the model \[4, 1, 3, 3\]' err
expect 1 'matches no layer with weights; those are: conv1, dense1' train tiny --data sides --freeze cnov1 --out bad
printf 'input 4x4x1\nflatten\nx: dense 2 softmax\n' >other.net
expect 1 'nothing to start from' train tiny --data sides --init other.net --out bad
expect 1 'nosuch' train tiny --data sides --init nosuch.safetensors --out bad

# ---- Bad calls -----------------------------------------------------------------------------------

expect 1 'nosuch' train nosuch --data sides --out bad
expect 1 "nosuch" train tiny --data nosuch --out bad
expect 1 'labels' train tiny --data broken --out bad
expect 1 '5x5x1' train five.net --data sides --out bad
expect 1 'labels up to 1, but the net has 1 outputs' train one.net --data sides --out bad
that_not test -e bad/model.safetensors
that_not test -e bad/log.csv
: >file
expect 1 'file' train tiny --data sides --out file/run
expect 1 'step 1: .*(layer|loss)' train diverges.net --data sides --out diverges

if script -qec true /dev/null </dev/null >out 2>err; then # on a terminal: a line that is rewritten
    script -qec "'$fovea' train tiny --data sides --out terminal" typescript </dev/null >out 2>err
    tr '\r' '\n' <typescript >lines
    that grep -Eq '^epoch 1/3( \[.*\])? [ 0-9]+%  loss .*  accuracy .* samples/s  .*s left' lines
    that grep -q '^epoch 3/3  loss .*  accuracy .*  val_loss ' lines
else
    echo "      the progress line is not tried: no terminal can be made here"
fi

# ---- Interrupted and resumed ---------------------------------------------------------------------

interrupt INT 130 long/log.csv train tiny --data sides --epochs 100000 --out long
interrupt TERM 143 long/log.csv train tiny --data sides --epochs 100000 --out long --resume
expect 1 'another net' train tiny --data sides --set conv1.filters=5 --epochs 100000 --out long --resume
expect 1 'seed' train tiny --data sides --seed 9 --epochs 100000 --out long --resume

# ---- test and predict ----------------------------------------------------------------------------

model=runs/tiny/model.safetensors
expect 0 '^test accuracy [01]\.[0-9]{4}  loss [0-9.]+  samples 16$' test $model --data sides
expect 0 'samples 48$' test $model --data sides:train
expect 0 '^\{"accuracy": [0-9.e-]+, "loss": [0-9.e-]+, "samples": 16\}$' test $model --data sides --json
expect 0 '^test accuracy' test $model other/model.safetensors --data sides --threads 1
for sets in sides,arrays sides:train,arrays:train; do # the same numbers of both kinds
    "$fovea" test $model other/model.safetensors --data ${sets%,*} >one 2>err
    "$fovea" test $model other/model.safetensors --data ${sets#*,} >another 2>err
    that cmp one another
    that grep -q '^test accuracy' one
done
expect 0 '^test accuracy' test $model --data arrays
expect 2 'data is missing' test $model
expect 2 'has no trained weights' test tiny.net --data sides
expect 1 'nosuch.safetensors' test nosuch.safetensors --data sides
head -c 100 $model >cut.safetensors
expect 1 'cut.safetensors' test cut.safetensors --data sides

expect 0 '^sides:test:1: [01] [0-9.]+, [01] [0-9.]+$' predict $model sides:test:1
expect 0 '^arrays:train:1: [01] [0-9.]+, [01] [0-9.]+$' predict $model arrays:train:1
expect 0 '^sides:test:0: [01] [0-9.]+$' predict $model other/model.safetensors sides:test:0 --top 1
expect 0 '^\[\{"file": "sides:test:0", "outputs": \{"dense1": \{"kind": "classes", "classes": \[\{"index": [01], "name": "[01]", "probability": [0-9.e-]+\}, ' \
    predict --json $model sides:test:0
expect 1 'nosuch.png' predict $model nosuch.png sides:test:0 --out predictions
that grep -q '^sides:test:0: ' out
that grep -q '^\[{"file": "sides:test:0".*\]$' predictions/predictions.json
that test "$(ls predictions)" = predictions.json
expect 1 '16|index|sample' predict $model sides:test:16
expect 1 'file' predict $model sides:test:0 --out file/predictions
expect 2 'has no trained weights' predict tiny.net sides:test:0
expect 2 'no file' predict $model $model
expect 2 'too few operands' predict $model
"$fovea" export linear.net linear.safetensors >out 2>err
expect 0 '^sides:test:0: [-0-9.e]+ [-0-9.e]+$' predict linear.safetensors sides:test:0
expect 0 '"kind": "values", "values": \[[-0-9.e]+, [-0-9.e]+\], "shape": \[2\]' predict linear.safetensors sides:test:0 --json

expect 0 '^test accuracy' train outputs.net --data sides --seed 1 --out outputs
that grep -q '84 parameters\|74 parameters' err
expect 0 '^sides:test:0 pooled: [0-9.e-]+ [0-9.e-]+ [0-9.e-]+ [0-9.e-]+$' predict outputs/model.safetensors sides:test:0
that grep -Eq '^sides:test:0 class: [01] [0-9.]+, [01] [0-9.]+$' out
that test "$(wc -l <out)" -eq 2
expect 0 '"outputs": \{"pooled": \{"kind": "values", .*"shape": \[4\]\}, "class": \{"kind": "classes", "classes": \[' predict outputs/model.safetensors outputs/model.safetensors sides:test:0 --json
cp out ensemble
expect 0 '"outputs"' predict outputs/model.safetensors sides:test:0 --json
that cmp out ensemble # an ensemble of equals
expect 1 'do not fit together: .*outputs/model.safetensors has 2 outputs, .*tiny/model.safetensors has 1' predict outputs/model.safetensors $model sides:test:0

# ---- run -----------------------------------------------------------------------------------------

expect 0 '' run $model --input three.npy --output-dir taps
that test "$(ls taps)" = dense1.npy
that grep -aq "'shape': (3, 2)" taps/dense1.npy
expect 0 '' run $model --input=input1=three.npy --output conv1 --output conv1.pre --output-dir taps/two
that test "$(ls taps/two | tr '\n' ' ')" = 'conv1.npy conv1.pre.npy '
that grep -aq "'shape': (3, 2, 2, 4)" taps/two/conv1.pre.npy
expect 0 '' run $model --input ./a=b.npy --output-dir taps/three
expect 0 '' run outputs/model.safetensors --input three.npy --output-dir taps/outputs
that test "$(ls taps/outputs | tr '\n' ' ')" = 'class.npy pooled.npy '
that grep -aq "'shape': (3, 4)" taps/outputs/pooled.npy
expect 0 '' run outputs/model.safetensors --input three.npy --output judge --output-dir taps/judge
that test "$(ls taps/judge)" = judge.npy
expect 2 'input is missing' run $model --output-dir none
expect 2 'output-dir is missing' run $model --input three.npy
expect 2 'no input x; its input is input1' run $model --input x=three.npy --output-dir none
expect 2 'one input' run $model --input three.npy --input three.npy --output-dir none
expect 2 'both be written' run $model --input three.npy --output conv1 --output conv1 --output-dir none
expect 1 'nosuch' run $model --input three.npy --output nosuch --output-dir none
expect 1 'nosuch.npy' run $model --input nosuch.npy --output-dir none
expect 1 '3x4x4x1.*Nx5x5x1' run five.net --input three.npy --output-dir none
that_not test -e none
expect 1 'file' run $model --input three.npy --output-dir file/taps

# ---- export, bench, check ------------------------------------------------------------------------

expect 0 '' export $model copy.safetensors
that cmp copy.safetensors $model
expect 0 '' export $model weights.npz
that test -s weights.npz
if "$fovea" version | grep -q onnx; then
    expect 0 '' export $model model.onnx
    that test -s model.onnx
fi
expect 0 '' export $model text.net
expect 0 '^total +74' info text.net
expect 1 'xyz' export $model weights.xyz
expect 1 'nosuch' export $model nosuch/copy.safetensors
expect 1 'nosuch.safetensors' export nosuch.safetensors copy.npz
expect 2 'too few operands' export $model

expect 0 '' convert tiny weights.npz converted.safetensors
expect 0 '' convert tiny $model converted.npz
that cmp converted.npz weights.npz
"$fovea" export converted.safetensors again.npz
that cmp again.npz weights.npz
expect 1 'weights.npz: tensor .*conv1.weight.* is \[4, 1, 3, 3\] in the file, the net.s conv1.weight is \[5, 1, 3, 3\]' convert user weights.npz bad.npz
expect 1 'nosuch.npz' convert tiny nosuch.npz bad.npz
expect 1 'end in .safetensors or .npz' convert tiny three.npy bad.npz
expect 2 'too few operands' convert tiny weights.npz
that_not test -e bad.npz

keys='^\{"median_ms": [0-9.e-]+, "min_ms": [0-9.e-]+, "samples_per_second": [0-9.e+]+, "gflops": [0-9.e-]+'
expect 0 "$keys\}$" bench tiny --seconds 0.05 --json
expect 0 "$keys\}$" bench tiny --seconds 0.05 --json --train --threads 1
expect 0 "$keys, \"peak_gflops\": [0-9.e+]+, \"layers\": \[\{\"name\": \"input1\", \"type\": \"input\", \"algorithm\": \"\", \"thread_ms\": " bench $model --seconds 0.05 --json --layers
expect 0 'samples/s' bench tiny --seconds 0.05 --batch 16
expect 0 '^conv1  .*  products  ' bench tiny --seconds 0.05 --layers --exact
printf 'input 28x28x64\nconv 64 3x3\nbatch_norm relu\nflatten\ndense 3\n' >norm.net
expect 0 '^batch_norm1  .*  folded  ' bench norm.net --seconds 0.05 --layers
expect 0 '^conv1  .*  winograd 4x4  ' bench norm.net --seconds 0.05 --layers
expect 0 '^flatten1  .*  view  ' bench norm.net --seconds 0.05 --layers
that_not grep -Eq '.{101}' out
expect 0 '^conv1  .*  products  .*%( +[0-9.]+){3}$' bench tiny --train --seconds 0.05 --layers --exact
expect 0 '"packing_ms": [0-9.e-]+, "forward_ms": [0-9.e-]+, "backward_ms": ' bench tiny --train --seconds 0.05 --layers --json
expect 1 'nosuch' bench nosuch --seconds 0.05
expect 1 'sizes vary' bench any.net

expect 0 '.' check tiny
expect 1 'nosuch' check nosuch

that_not sh -c "'$fovea' info tiny >/dev/full"

finish
