"""Prints "PASSED FAILED" of a Meson test log (one JSON object a line)."""
import json
import sys

results = [json.loads(line)["result"] for line in open(sys.argv[1]) if line.strip()]
passed = sum(result in ("OK", "EXPECTEDFAIL") for result in results)
skipped = sum(result == "SKIP" for result in results)
print(passed, len(results) - passed - skipped if results else 1)
