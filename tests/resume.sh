#!/bin/sh
# The same bits: a run gives the same model file for any number of threads, and however often it is
# killed or interrupted and resumed.
# usage: tests/resume.sh path/to/fovea
set -u
. "$(dirname "$0")/shell.sh"
begin "${1:?usage: resume.sh path/to/fovea}"

make_split data/sides train 400 12
make_split data/sides t10k 100 12
cat >nets/small.net <<'END'
input    12x12x1 scale=1/255
conv     16 3x3 relu
conv     24 3x3 relu
maxpool  2x2
dropout  0.25
flatten
dense    64 relu
dropout  0.5
dense    2 softmax
train    loss=cross_entropy optimizer=adadelta lr=1.0 rho=0.95 batch=32 epochs=3
END

milliseconds() {
    echo $(($(date +%s%N) / 1000000))
}

sum() { # of a run's model file
    sha256sum "$1/model.safetensors" | cut -d ' ' -f 1
}

same_sum() { # FOLDER WHAT
    [ "$(sum "$1")" = "$undisturbed" ]
    verdict $? "$2: the same model file"
}

# Long enough for kills to land inside; a slow build (with sanitizers) is spared.
start=$(milliseconds)
expect 0 '^test accuracy' train small --data sides --out trial --threads 1
[ $(($(milliseconds) - start)) -lt 1000 ] && epochs=60 || epochs=20
sed -i "s/epochs=3/epochs=$epochs/" nets/small.net

# ---- Undisturbed, and with other numbers of threads ----------------------------------------------

start=$(milliseconds)
expect 0 '^test accuracy' train small --data sides --seed 5 --out one --threads 1
duration=$(($(milliseconds) - start))
undisturbed=$(sum one)
echo "      the run takes $duration ms"
for threads in 2 3 64; do
    expect 0 '^test accuracy' train small --data sides --seed 5 --out $threads --threads $threads
    same_sum $threads "$threads threads"
done
expect 0 '^test accuracy' train small --data sides --seed 6 --out other
[ "$(sum other)" != "$undisturbed" ]
verdict $? "another seed: another model file"

# ---- Killed at ten moments and resumed -----------------------------------------------------------

# Each delay is a share of the run, in percent. A run that ends before its kill starts afresh.
killed=0
for share in 7 3 11 9 2 13 8 5 10 6 4 12 3; do
    delay=$((duration * share / 100))
    seconds=$((delay / 1000)).$(printf %03d $((delay % 1000)))
    timeout -s KILL "$seconds" "$fovea" train small --data sides --seed 5 --out killed --threads 2 \
        --resume >out 2>err </dev/null
    status=$?
    case $status in
    137) killed=$((killed + 1)) ;;
    0)
        same_sum killed "after $killed kills"
        rm -r killed
        ;;
    *) verdict 1 "resumed after kill $killed (is $status)" err ;;
    esac
    [ $killed -eq 10 ] && break
done
[ $killed -eq 10 ]
verdict $? "ten kills with -9 inside the run (are $killed)"
rows=$(wc -l <killed/log.csv)
[ "$rows" -gt 1 ] && [ "$rows" -le $epochs ]
verdict $? "they came between the first and the last epoch ($((rows - 1)) of $epochs are logged)"
expect 0 '^test accuracy' train small --data sides --seed 5 --out killed --threads 3 --resume
same_sum killed "killed and resumed"
cut -d , -f 1-6 one/log.csv >wanted.csv
cut -d , -f 1-6 killed/log.csv >logged.csv
that cmp wanted.csv logged.csv

# ---- Interrupted and resumed ---------------------------------------------------------------------

interrupt INT 130 stopped/log.csv train small --data sides --seed 5 --out stopped
interrupt TERM 143 stopped/log.csv train small --data sides --seed 5 --out stopped --resume
expect 0 '^test accuracy' train small --data sides --seed 5 --out stopped --resume
same_sum stopped "interrupted and resumed"
that_not ls stopped/*.tmp
expect 0 '^test accuracy' train small --data sides --seed 5 --out stopped --resume
same_sum stopped "resumed when finished"

# ---- With all that a checkpoint must remember ----------------------------------------------------

sed "s/optimizer=.*/optimizer=nadam batch=32 epochs=$epochs/" nets/small.net >nets/more.net
cat >>nets/more.net <<'END'
train    accumulate=3 ema=0.95 schedule=cosine warmup=10 weight_decay=0.01
train    global_clip_norm=1 l2=1e-4 restore_best=true early_stopping=1000
END
expect 0 '^test accuracy' train more --data sides --seed 5 --out more --threads 1
undisturbed=$(sum more)
interrupt INT 130 more-stopped/log.csv train more --data sides --seed 5 --out more-stopped
interrupt TERM 143 more-stopped/log.csv train more --data sides --seed 5 --out more-stopped --resume
expect 0 '^test accuracy' train more --data sides --seed 5 --out more-stopped --threads 3 --resume
same_sum more-stopped "averaged, accumulated and scheduled, stopped and resumed"
for file in more more-stopped; do
    cut -d , -f 1-6,9 $file/log.csv >$file.csv
done
that cmp more.csv more-stopped.csv

finish
