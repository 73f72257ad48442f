#!/bin/sh
# Bad input of every kind, by the command: a clear message, exit status 1 or 2, nothing half-written
# left behind. What tests/cli.sh says of options and operands is not repeated here.
# usage: tests/hostile.sh path/to/fovea
set -u
. "$(dirname "$0")/shell.sh"
begin "${1:?usage: hostile.sh path/to/fovea}"
trap 'umount "$work/disk" 2>/dev/null; rm -rf "$work"' EXIT

# Nothing that a run writes lies in bad/, and no temporary file anywhere.
nothing_left() {
    left=$(find bad -type f 2>/dev/null; find . -name '*.tmp')
    [ -z "$left" ] || verdict 1 "left behind: $left"
}

# refuse PATTERN ARGUMENT...: fovea fails with that message and leaves nothing.
refuse() {
    expect 1 "$@"
    nothing_left
}

# refuse_net PATTERN: training the net on standard input is refused.
refuse_net() {
    cat >bad.net
    refuse "$1" train bad.net --data sides --out bad
}

# put FILE OFFSET BYTES: overwrites bytes, written as for printf.
put() {
    printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# sums FOLDER: of the files in it, to see that none of them changed.
sums() {
    (cd "$1" && sha256sum ./*)
}

make_split data/sides train 48 4
make_split data/sides t10k 16 4
cat >nets/tiny.net <<'END'
input    4x4x1 scale=1/255
conv     24 3x3 relu
flatten
dense    2 softmax
train    loss=cross_entropy optimizer=sgd lr=0.1 momentum=0.9 batch=8 epochs=3
END
expect 0 '^test accuracy' train tiny --data sides --out good
model=good/model.safetensors

# ---- Nets ----------------------------------------------------------------------------------------

refuse_net 'bad.net:2:1: .*unknown layer .*did you mean .conv' <<'END'
input 4x4x1
cnov 4 3x3
END
refuse_net 'bad.net:2:12: .*unknown key .*did you mean .stride' <<'END'
input 4x4x1
conv 4 3x3 strid=2
END
refuse_net 'bad.net:2:21: .*stride is given twice' <<'END'
input 4x4x1
conv 4 3x3 stride=1 stride=1
END
refuse_net 'bad.net:4:12: .*lr is given twice' <<'END'
input 4x4x1
flatten
dense 2
train lr=1 lr=2
END
refuse_net 'bad.net:2:9: .*rate is 1.5; allowed is 0 to less than 1' <<'END'
input 4x4x1
dropout 1.5
END
refuse_net 'bad.net:2:6: .*filters is 0; allowed is 1' <<'END'
input 4x4x1
conv 0 3x3
END
refuse_net 'bad.net:4:10: .*lr is 1e\+30; allowed is' <<'END'
input 4x4x1
flatten
dense 2 softmax
train lr=1e30
END
refuse_net 'bad.net:2:1: .*kernel of 9 .*4x4x1' <<'END'
input 4x4x1
conv 4 9x9
END
refuse_net 'bad.net:2:1: .*dense needs a vector.*4x4x1' <<'END'
input 4x4x1
dense 2 softmax
END
refuse_net 'takes 5x5x1.*are 4x4x1' <<'END'
input 5x5x1
flatten
dense 2 softmax
END
refuse_net 'bad.net:3:1: .*weight of dense is too large' <<'END'
input 10000x1000x1
flatten
dense 16000000 softmax
END
refuse_net 'bad.net:1:1: .*no layers' </dev/null
refuse_net 'bad.net:.*no layers' <<'END'
# Nothing but a remark
END
refuse_net 'loss cross_entropy compares the output of input1' <<'END'
input 4x4x1
END
truncate -s 2G long.net
refuse 'long.net has 2147483648 bytes; at most' train long.net --data sides --out bad
refuse 'long.net' info long.net
rm long.net
head -c 1000000 /dev/zero | tr '\0' x >line.net
refuse 'line.net:1:.*1000000 bytes' train line.net --data sides --out bad
head -c 1000 /dev/urandom >noise.net
refuse 'noise.net:1:' train noise.net --data sides --out bad

# ---- Data ----------------------------------------------------------------------------------------

# damaged NAME: a copy of the set, about to be damaged.
damaged() {
    cp -r data/sides "data/$1"
    pictures=data/$1/train-images-idx3-ubyte
    labels=data/$1/train-labels-idx1-ubyte
}

# refuse_data NAME PATTERN: training on this set is refused.
refuse_data() {
    refuse "$2" train tiny --data "$1" --out bad
}

damaged magic
put $pictures 0 '\001'
refuse_data magic 'train-images.*magic number is 0x01000803'
damaged floats
put $pictures 2 '\015'
refuse_data floats 'train-images.*32-bit floats'
damaged axes
put $labels 3 '\003'
refuse_data axes 'train-labels'
damaged count
put $pictures 4 '\377\377\377\377'
refuse_data count 'train-images.*says 4294967295x4x4 .*found 768'
damaged sizes
put $pictures 4 '\377\377\377\377\377\377\377\377\377\377\377\377'
refuse_data sizes 'train-images.*more values than any memory holds|train-images.*cut off'
damaged short
put $labels 7 '\061'
refuse_data short 'train-labels.*says 49 .*found 48'
damaged fewer
put $labels 7 '\057'
truncate -s -1 $labels
refuse_data fewer 'train-labels.* 47 labels.*train-images.* 48 pictures'
damaged none
put $labels 7 '\000'
refuse_data none 'train-labels.*size 0'
damaged class
put $labels 20 '\011'
refuse_data class 'labels up to 9, but the net has 2 outputs'
damaged classes
put data/classes/t10k-labels-idx1-ubyte 20 '\377'
refuse_data classes 'labels up to 255, but the net has 2 outputs'
refuse 'labels up to 255, but the net has 2 outputs' test $model --data classes
damaged missing
rm $labels
refuse_data missing 'no labels'
damaged empty
: >$pictures
refuse_data empty 'train-images.*too short'
mkdir data/larger
make_split data/larger train 8 5
make_split data/larger t10k 8 5
refuse_data larger 'takes 4x4x1.*are 5x5x1'
refuse 'takes 4x4x1.*are 5x5x1' test $model --data larger
refuse '4x4x1' predict $model larger:test:0

damaged zipped
gzip $pictures
whole=$(wc -c <$pictures.gz)
expect 0 '^test accuracy' train tiny --data zipped --out from-gzip --epochs 1
bad=0
size=0
while [ $size -lt "$whole" ]; do
    gzip -c data/sides/train-images-idx3-ubyte | head -c $size >$pictures.gz
    timeout 60 "$fovea" train tiny --data zipped --out bad >out 2>err
    { [ $? -eq 1 ] && grep -q 'train-images-idx3-ubyte.gz' err; } || bad=$((bad + 1))
    size=$((size + 7))
done
verdict $bad "a .gz cut at every 7th of its $whole bytes: refused"
nothing_left
printf '\037\213\010\000' >$pictures.gz
head -c 1000 /dev/zero >>$pictures.gz
refuse_data zipped 'train-images-idx3-ubyte.gz'

# ---- Pictures ------------------------------------------------------------------------------------

make_picture() { # FILE WIDTH HEIGHT: a grey PNG
    python3 - "$@" <<'END'
import struct, sys, zlib
width, height = int(sys.argv[2]), int(sys.argv[3])
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
with open(sys.argv[1], "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n")
    file.write(chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)))
    file.write(chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * width) * height)))
    file.write(chunk(b"IEND", b""))
END
}

sed 's,^input .*,& resize=bilinear,' nets/tiny.net >resizes.net
printf 'input *x*x1\nconv 2 3x3\n' >any.net
for net in resizes any; do
    "$fovea" export $net.net $net.safetensors >out 2>err
done
make_picture four.png 4 4
make_picture six.png 6 5
expect 0 '^four.png: ' predict $model four.png
refuse '4x4x1.*5x6x1|5x6x1.*4x4x1' predict $model six.png
expect 0 '^six.png: ' predict resizes.safetensors six.png
expect 0 '^six.png: ' predict any.safetensors six.png
head -c 40 six.png >cut.png
refuse 'cut.png' predict resizes.safetensors cut.png
make_picture huge.png 4 4
put huge.png 16 '\177\377\377\377\177\377\377\377'
refuse 'huge.png' predict resizes.safetensors huge.png

# ---- Model files ---------------------------------------------------------------------------------

whole=$(wc -c <$model)
bad=0
size=0
while [ $size -lt "$whole" ]; do
    head -c $size $model >cut.safetensors
    timeout 60 "$fovea" predict cut.safetensors sides:test:0 >out 2>err
    status=$?
    [ $status -eq 1 ] && grep -q 'cut.safetensors' err && [ ! -s out ] || bad=$((bad + 1))
    size=$((size + 64))
done
verdict $bad "a model cut at every 64th of its $whole bytes: refused"
nothing_left
for bytes in '\000\000\000\000\000\000\000\200' '\377\377\377\377\377\377\377\377' \
    '\000\000\000\000\000\000\000\000' '\377\377\377\177\000\000\000\000'; do
    cp $model length.safetensors
    put length.safetensors 0 "$bytes"
    refuse 'length.safetensors.*header' predict length.safetensors sides:test:0
done

# ---- Resuming ------------------------------------------------------------------------------------

sums good >before
expect 1 'another net' train tiny --data sides --out good --set conv1.filters=5 --resume
expect 1 'batch size 8, but this run has 4' train tiny --data sides --out good --batch 4 --resume
expect 1 'samples 48, but this run has 40' train tiny --data sides --out good --limit 40 --resume
sums good >after
that cmp before after
cp -r good cut
head -c 1000 good/checkpoint.safetensors >cut/checkpoint.safetensors
sums cut >before
expect 1 'cut/checkpoint.safetensors' train tiny --data sides --out cut --epochs 5 --resume
cp $model cut/checkpoint.safetensors
expect 1 'cut/checkpoint.safetensors.*not a checkpoint' train tiny --data sides --out cut --resume
head -c 1000 good/checkpoint.safetensors >cut/checkpoint.safetensors
sums cut >after
that cmp before after
nothing_left

# ---- A loss that is no number --------------------------------------------------------------------

# Six layers without activations and a learning rate far too high: good for an epoch of six steps.
cat >deep.net <<'END'
input    4x4x1 scale=1/255
conv     8 3x3
conv     8 2x2
flatten
dense    8
dense    8
dense    2 softmax
train    loss=cross_entropy optimizer=sgd lr=1 batch=8 epochs=20
END
expect 1 'step (7|8|9|10|11|12): .*(dense|conv)[123] \(deep.net:[2-7]\).*learning rate' \
    train deep.net --data sides --out diverges
that_not test -e diverges/model.safetensors
that test "$(tail -n 1 diverges/log.csv | cut -d , -f 1,2)" = 1,6
cp diverges/checkpoint.safetensors kept.safetensors
expect 0 '^sides:test:0: ' predict kept.safetensors sides:test:0
expect 1 'step ' train deep.net --data sides --out diverges --resume
that cmp diverges/checkpoint.safetensors kept.safetensors
nothing_left

# ---- Folders that cannot be written --------------------------------------------------------------

: >file
for folder in file file/run /proc/fovea/run; do
    expect 1 "cannot make the folder ${folder%/run}" train tiny --data sides --out $folder
    expect 1 "${folder%/run}" predict $model sides:test:0 --out $folder
    expect 1 "${folder%/run}" export $model $folder/copy.safetensors
    expect 1 "${folder%/run}" export $model $folder/copy.npz
done
mkdir -p taken/model.safetensors
expect 1 'taken/model.safetensors is a folder' train tiny --data sides --out taken --resume
mkdir -p taken/log/log.csv
expect 1 'taken/log/log.csv is a folder' train tiny --data sides --out taken/log --resume
if [ "$(id -u)" -ne 0 ]; then
    mkdir locked
    chmod 555 locked
    expect 1 'locked.*Permission denied' train tiny --data sides --out locked/run
    expect 1 'locked.*Permission denied' train tiny --data sides --out locked
fi
nothing_left

# ---- A full disk ---------------------------------------------------------------------------------

# stopped_by PATTERN: a run in $folder, good for one epoch, cannot go on for this reason; what was
# there is untouched, and once there is room again the run ends as if nothing had been.
stopped_by() {
    grep -Eq "$1" err && [ $status -eq 1 ]
    verdict $? "training -> 1 (is $status), $1" err
    (cd $folder && sha256sum ./*.safetensors) >after
    that cmp before after
    nothing_left
    expect 0 '^test accuracy' train tiny --data sides --out $folder --resume
    that cmp $folder/model.safetensors $model
}

begin_run() { # FOLDER
    folder=$1
    expect 0 '^test accuracy' train tiny --data sides --out $folder --epochs 1
    (cd $folder && sha256sum ./*.safetensors) >before
}

# A limit of 1,024 bytes for a file: the log still fits, a checkpoint does not.
begin_run limited
(
    trap '' XFSZ # else the signal ends the program
    ulimit -f 2
    exec "$fovea" train tiny --data sides --out limited --resume
) >out 2>err </dev/null
status=$?
stopped_by 'cannot write limited/checkpoint.safetensors.*File too large'

mkdir disk
if mount -t tmpfs -o size=64k fovea disk 2>/dev/null; then
    begin_run disk/run
    for room in 0 4096; do # with none, the log cannot be written; with a little, the checkpoint
        cat /dev/zero >disk/ballast 2>/dev/null
        truncate -s -$room disk/ballast
        "$fovea" train tiny --data sides --out disk/run --resume >out 2>err </dev/null
        status=$?
        rm disk/ballast
        [ $room -eq 0 ] && what=log.csv || what=checkpoint.safetensors
        stopped_by "cannot write disk/run/$what.*No space left"
        rm -r disk/run
        begin_run disk/run
    done
    mount -o remount,ro disk
    expect 1 'disk.*Read-only file system' train tiny --data sides --out disk/new
    expect 1 'disk/run.*Read-only file system' train tiny --data sides --out disk/run --resume
    expect 1 'disk/copy.npz.*Read-only file system' export $model disk/copy.npz
    umount disk
else
    echo "      no full disk: mount is not permitted here"
fi

# ---- No memory -----------------------------------------------------------------------------------

# Address space of so many kilobytes, from too little to enough: the run fails or it does not.
cat >nets/middle.net <<'END'
input    4x4x1 scale=1/255
conv     64 3x3 relu padding=same
conv     64 3x3 relu padding=same
flatten
dense    1024 relu
dense    2 softmax
train    loss=cross_entropy optimizer=adam batch=32 epochs=1
END
if (ulimit -v 16000 && exec "$fovea" version) >out 2>err; then
    last=1
    for kilobytes in $(seq 16000 2000 60000) 80000 120000 200000 400000; do
        rm -rf tight
        (
            ulimit -v $kilobytes
            exec "$fovea" train middle --data sides --out tight --threads 2
        ) >out 2>err </dev/null
        status=$?
        case $status in
        0) "$fovea" info tight/model.safetensors >out 2>err ;;
        1) grep -Eq 'out of memory|cannot (be )?start' err ;;
        *) false ;;
        esac || verdict 1 "$kilobytes kB of memory (is $status)" err
        nothing_left
        last=$status
    done
    verdict $last "with enough memory it works"
    (ulimit -v 200000 && exec "$fovea" train tiny --data sides --out bad --threads 512) >out 2>err
    status=$?
    [ $status -eq 1 ] && grep -q 'thread [0-9]* of 512 cannot be started' err
    verdict $? "more threads than memory -> 1 (is $status)" err
    nothing_left
else
    echo "      no small memory: this build needs a large address space"
fi

finish
