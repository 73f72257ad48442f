#!/usr/bin/env python3
"""Do the tests notice faults? Draws one-line faults by a seed from src/kernels, src/layers and
src/train, builds the tree with each of them, one at a time, and runs the tests until one fails.

    python3 tests/mutate.py [--seed 1] [--count 100] [--skip 0] [--jobs 2] [--work FOLDER] [--list]

A fault is a whole number off by one, a flipped sign or comparison, or a dropped term. Not drawn:
comments, texts, preprocessor lines, the lengths of arrays (one more is no fault), and constants that
only set the size of a block of work (they are marked `speed only` in the source: results do not
depend on them). A fault that does not compile is no fault and is drawn anew, and so are the changes
that equivalent.txt lists, which cannot change a result. Each job has a copy of the tree of its own.
Survivors are listed.
"""
import argparse
import filecmp
import glob
import os
import random
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOMS = ("kernels", "layers", "train")
TIMEOUT = 600  # seconds for one test: an endless loop is noticed too
# CMOCKA_TEST_ABORT: a test program ends at its first failure.

# The tests that are likely to notice a fault in a file run first; then come all others.
FIRST = [
    (r"kernels/(product|vec)", "product"),
    (r"kernels/(activate|vecmath)", "activate layers_activation"),
    (r"kernels/(normalize|noise)|layers/(.*norm.*|lrn|dropout|gaussian|l2)", "layers_norm golden"),
    (r"kernels/pool|layers/(.*pool|subsample)", "layers_pool golden"),
    (r"kernels/(winograd|depthwise)|layers/(conv|depth|separable|local)", "layers_conv golden"),
    (r"kernels/update|train/(update|optimizer|trainer)", "update optimizer optimizer_oracle golden fit"),
    (r"kernels/(bits|elementwise|philox)", "layers_dense layers_activation layers_norm"),
    (r"layers/(activation|prelu)", "layers_activation"),
    (r"layers/(dense|rbf|input)", "layers_dense layers_weights"),
    (r"layers/(.*shape.*|box|concat|crop|depth|join|pad|permute|slice|upsample|flatten)", "layers_shape"),
    (r"train/(loss|judged|objective|through)", "loss golden"),
    (r"train/(metric|evaluate)", "metric loss"),
    (r"train/schedule", "schedule optimizer_oracle"),
    (r"train/(fit|checkpoint|log)", "fit"),
]


# They look at no file of these rooms.
APART = r"^(base|file|idx|picture|pool|random|safetensors|reference.*|man)$"


def first_tests(path):
    return [name for pattern, names in FIRST if re.search(pattern, path) for name in names.split()]


def strip(line, inside):
    """The line with comments and strings blanked; whether a comment goes on after it."""
    out, i, quote = "", 0, None
    while i < len(line):
        c, two = line[i], line[i:i + 2]
        if inside:
            if two == "*/":
                inside, out, i = False, out + "  ", i + 2
                continue
            out += " "
        elif quote:
            if c == "\\":
                out, i = out + "  ", i + 2
                continue
            quote = None if c == quote else quote
            out += " "
        elif two == "/*":
            inside, out, i = True, out + "  ", i + 2
            continue
        elif two == "//":
            return out + " " * (len(line) - i), inside
        elif c in "\"'":
            quote = c
            out += " "
        else:
            out += c
        i += 1
    return out, inside


ARRAY = re.compile(r"^\s*(?:(?:static|const|extern)\s+)*\w+\s+\*?\w+\[|(?:const )?\w+ \*?\w+\[\d+\][,)]")


def faults_of(code):
    """(column, length, replacement, what) for each fault that this line of code can have."""
    found = []
    declares = ARRAY.search(code) and not code.lstrip().startswith("return")
    for m in re.finditer(r"(?<![\w.])(\d+)(?![\w.]|\s*\*/)", code):
        if declares and code[m.start() - 1] == "[" and "=" not in code[:m.start()]:
            continue
        found.append((m.start(), len(m.group()), str(int(m.group()) + 1), "off by one"))
    flips = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
    for m in re.finditer(r" (<=|>=|==|!=|<|>) ", code):
        found.append((m.start(1), len(m.group(1)), flips[m.group(1)], "comparison"))
    signs = {"+": "-", "-": "+", "+=": "-=", "-=": "+="}
    for m in re.finditer(r" (\+=|-=|\+|-) ", code):
        found.append((m.start(1), len(m.group(1)), signs[m.group(1)], "sign"))
    for m in re.finditer(r" (\+|-|&&|\|\||\*) ([\w.\->\[\]]+(\([^()]*\))?)(?=[;,) ])", code):
        found.append((m.start(), len(m.group()), "", "dropped term"))
    return found


def equivalents(root):
    """Changes that are no faults, see equivalent.txt."""
    lines = open(os.path.join(root, "tests", "equivalent.txt")).read().split("\n")
    return {line for line in lines if " -> " in line and not line.lstrip().startswith("#")}


def all_faults(root):
    faults = []
    for room in ROOMS:
        for path in sorted(glob.glob(os.path.join(root, "src", room, "*.[ch]"))):
            inside = macro = False
            for number, line in enumerate(open(path).read().split("\n")):
                started_inside = inside
                code, inside = strip(line, inside)
                skip = macro or code.lstrip().startswith("#") or "speed only" in line
                macro = line.endswith("\\") and (macro or code.lstrip().startswith("#"))
                if skip or (started_inside and not code.strip()):
                    continue
                for column, length, new, what in faults_of(code):
                    changed = line[:column] + new + line[column + length:]
                    faults.append((os.path.relpath(path, root), number, line, changed, what))
    return faults


def run(command, folder, timeout=TIMEOUT):
    try:
        return subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=timeout,
                              env=dict(os.environ, CMOCKA_TEST_ABORT="1")).returncode
    except subprocess.TimeoutExpired:
        return -1


def prepare(root, folder):
    """A copy of the tree, as it is now, that is built."""
    files = subprocess.run(["git", "ls-files"], cwd=root, check=True, capture_output=True,
                           text=True).stdout.split("\n")
    for name in filter(None, files):
        here, there = os.path.join(root, name), os.path.join(folder, name)
        if not os.path.exists(there) or not filecmp.cmp(here, there, shallow=False):
            os.makedirs(os.path.dirname(there), exist_ok=True)
            shutil.copy(here, there)
    if not os.path.exists(os.path.join(folder, "build")) and run(["meson", "setup", "build"], folder):
        sys.exit("meson setup fails in " + folder)
    if run(["ninja", "-C", "build"], folder, 3600):
        sys.exit("the tree does not build in " + folder)


def test_names(folder):
    listed = subprocess.run(["meson", "test", "-C", "build", "--list"], cwd=folder, capture_output=True,
                            text=True).stdout
    return [line.split(" / ")[-1].strip() for line in listed.split("\n") if line and "ninja" not in line]


def try_fault(folder, fault):
    """"no fault", the name of the test that fails, or None: it survives."""
    path, number, line, changed, what = fault
    full = os.path.join(folder, path)
    text = open(full).read()
    lines = text.split("\n")
    assert lines[number] == line
    lines[number] = changed
    try:
        open(full, "w").write("\n".join(lines))
        names = test_names(folder)
        first = [n for n in first_tests(path) if n in names]
        for name in first:  # only what this test needs is built
            if run(["ninja", "-C", "build", "-j1", "tests/test_" + name], folder, 3600):
                return "no fault"
            if run(["meson", "test", "-C", "build", "--no-rebuild", name], folder):
                return name
        if run(["ninja", "-C", "build", "-j1"], folder, 3600):
            return "no fault"
        for name in names:
            if name not in first and not re.match(APART, name) and run(["meson", "test", "-C", "build", "--no-rebuild", name],
                                         folder):
                return name
        return None
    finally:
        open(full, "w").write(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--skip", type=int, default=0, help="faults to leave out, to go on with a run")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", default="build-mutants")
    parser.add_argument("--list", action="store_true", help="only print the faults")
    options = parser.parse_args()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    faults = all_faults(root)
    random.Random(options.seed).shuffle(faults)
    known = equivalents(root)
    faults = [fault for fault in faults[options.skip:]
              if fault[2].strip() + " -> " + fault[3].strip() not in known]
    print("%d faults are possible" % len(faults), flush=True)
    if options.list:
        for path, number, line, changed, what in faults[:options.count]:
            print("%s:%d: %s\n  - %s\n  + %s" % (path, number + 1, what, line.strip(), changed.strip()))
        return
    folders = [os.path.abspath("%s/%d" % (options.work, job)) for job in range(options.jobs)]
    for folder in folders:
        prepare(root, folder)
    waiting, caught, survivors = iter(faults), [], []

    def work(folder):
        for fault in waiting:  # one iterator for all jobs
            if len(caught) + len(survivors) >= options.count:
                return
            result = try_fault(folder, fault)
            if result == "no fault":
                continue
            path, number, line, changed, what = fault
            place = "%s:%d: %s: %s -> %s" % (path, number + 1, what, line.strip(), changed.strip())
            (caught if result else survivors).append(place)
            print("%3d %s %s" % (len(caught) + len(survivors),
                                 "caught by " + result if result else "SURVIVES", place), flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, folders))
    print("%d of %d caught; survivors:" % (len(caught), len(caught) + len(survivors)))
    for place in survivors:
        print("  " + place)


if __name__ == "__main__":
    main()
