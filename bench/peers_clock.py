"""The clock of the peers' training steps and inference runs, and how a worker is called."""
import json
import os
import sys
import time


class Clock:
    """Times steps: two to ten of warm-up (two seconds), then at least three, for some seconds. The
    first step, in which frameworks compile and allocate, does not count."""

    def __init__(self, seconds):
        self.seconds, self.measured, self.times = seconds, 0, []
        self.warm_up, self.warmed = 0, 0
        self.last = time.perf_counter()

    def tick(self):
        """Ends a step. True: go on."""
        now = time.perf_counter()
        passed, self.last = now - self.last, now
        if self.warm_up < 2 or (self.warm_up < 10 and self.warmed < 2):
            self.warm_up += 1
            self.warmed += passed if self.warm_up > 1 else 0
        else:
            self.times.append(passed)
            self.measured += passed
        return len(self.times) < 3 or self.measured < self.seconds

    def figures(self, steps=1):
        """Milliseconds of a step where each time is of so many."""
        times = sorted(1000 * passed / steps for passed in self.times)
        return {"median_ms": times[len(times) // 2], "min_ms": times[0], "steps": len(times) * steps}


def answer(functions):
    """Runs the function that the first argument names, with the job in the second, and prints what
    it answers to standard output, which libraries' own messages are kept out of."""
    output = os.dup(1)
    os.dup2(2, 1)
    text = json.dumps(functions[sys.argv[1]](json.loads(sys.argv[2])))
    os.write(output, text.encode())
