#!/bin/sh
# The lecture's two programs learn MNIST as well as the lecture said, and LeNet-5 as the paper.
# Takes many minutes.
# usage: tests/accuracy.sh path/to/fovea   (with MNIST in $FOVEA_DATA)
set -u
. "$(dirname "$0")/shell.sh"
[ -n "${FOVEA_DATA:-}" ] || skip "FOVEA_DATA is not set"
[ -d "$FOVEA_DATA/mnist" ] || skip "no mnist in $FOVEA_DATA"
data=$(cd "$FOVEA_DATA" && pwd)
begin "${1:?usage: accuracy.sh path/to/fovea}"
export FOVEA_DATA="$data"
patience=7200

between() { # VALUE LOW HIGH WHAT
    echo "$1 $2 $3" | awk '$1 !~ /^[0-9]+(\.[0-9]+)?$/ || $1 < $2 || $1 > $3 { exit 1 }'
    verdict $? "$4: $1, allowed is $2 to $3"
}

accuracy() { # of the last run, from the last line that it printed
    tail -n 1 out | sed -n 's/^test accuracy \([0-9.]*\) .*/\1/p'
}

# Keras, 12 epochs: the lecture's figure is 0.9909.
all=
for seed in 1 2 3; do
    expect 0 '^test accuracy' train lecture-keras --data mnist --seed $seed --out keras-$seed
    between "$(accuracy)" 0.9890 1 "lecture-keras, seed $seed"
    all="$all $(accuracy)"
done
between "$(echo "$all" | awk '{ printf "%.4f", ($1 + $2 + $3) / 3 }')" 0.9900 1 "their mean"

# The paper has 0.9905 after 20 passes, and without distortions of the training set.
expect 0 '^test accuracy' train lenet5 --data mnist --seed 1 --out lenet5
between "$(accuracy)" 0.9850 1 "lenet5, seed 1"
expect 0 '^test accuracy' train lenet5-modern --data mnist --seed 1 --out lenet5-modern
between "$(accuracy)" 0.9880 1 "lenet5-modern, seed 1"

# TensorFlow, 1,562 steps from weights of sigma 1: the lecture's first losses were 20,155 and 7,833.
expect 0 '^test accuracy' train lecture-tensorflow --data mnist --seed 1 --out tensorflow
steps=tensorflow/steps.csv
that test "$(sed -n '1p;2s/,[0-9.]*,[0-9.]*$//p;$s/,[0-9.]*,[0-9.]*$//p' $steps | tr '\n' ' ')" = \
    'step,samples,loss,accuracy 10,1280 1560,199680 '
between "$(sed -n 2p $steps | cut -d , -f 3)" 10000 45000 "lecture-tensorflow, first logged loss"
between "$(accuracy)" 0.96 1 "lecture-tensorflow"

finish
