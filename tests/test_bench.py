#!/usr/bin/env python3
"""bench/run's report, from figures whose ratios can be reckoned in the head; and its list of cases.

    test_bench.py FOLDER    the project's root
"""
import json
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop())
sys.path.insert(0, str(ROOT / "bench"))
sys.dont_write_bytecode = True
import measure  # noqa: E402
import report  # noqa: E402
from peers_clock import Clock  # noqa: E402


def cells(text, first):
    """The cells of each line of a table whose first cell this is."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] == first]


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.figures = json.loads((ROOT / "tests/golden/bench.json").read_text())
        cls.text = report.render(cls.figures)

    def test_training_speed(self):
        # 3 GFLOP in 20 ms of 2 x 100 GFLOP/s; the peer of the smaller net, and the one that failed,
        # are not compared.
        self.assertEqual(cells(self.text, "small, batch 10")[0], [
            "small, batch 10", "9.50, 20.0", "50.0, 60.0", "PyTorch", "**3.00**", "75%", "25%",
            "1.95"])

    def test_training_memory(self):
        self.assertEqual(cells(self.text, "small, batch 10")[1], [
            "small, batch 10", "32 MB", "912 MB", "512 MB, Keras on TensorFlow", "16.0", "12 MB",
            "20 MB", "500 MB", "25.0"])

    def test_configurations(self):
        self.assertEqual(cells(self.text, "PyTorch"), [["PyTorch", "60.0, 912 MB"]])
        self.assertEqual(cells(self.text, "PyTorch, compiled"),
                         [["PyTorch, compiled", "gave up compiling"]])
        self.assertIn("| Keras on TensorFlow, XLA | 1.00*, 1 MB |", self.text)
        self.assertIn("half of it; not compared", self.text)

    def test_start(self):
        self.assertEqual(cells(self.text, "small"), [
            ["small", "1,200, 1,500", "900, 1,000", "MNN", "**0.67**"],
            ["small", "100 MB", "150 MB", "150 MB, MNN", "1.5"]])

    def test_machines(self):
        first, second = self.text.split("Measured on ")[1:]
        self.assertIn("A processor, 2 cores, 8 GiB, Linux; fovea 1.2.3, instruction set v3; 2 threads;"
                      " torch 2.0, keras 3.0.", first)
        self.assertIn("- commit abc1234, 2026-01-02, 4 rounds of 6 s: train/small/10", first)
        self.assertIn("instruction set v4; 4 threads; MNN 1.0. The most that a thread did in "
                      "multiply-adds: 150.0 GFLOP/s.", second)
        self.assertIn("- commit def5678, 2026-01-03, 2 rounds of 6 s: start/small", second)

    def test_nothing(self):
        self.assertEqual(report.render({"cases": {}}), "Nothing has been measured yet.")

    def test_only_what_is_between_the_marks_changes(self):
        document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        new = report.replace_tables(document, "new")
        self.assertEqual(new, f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n")
        self.assertEqual(report.replace_tables(new, "new"), new)
        for bad in ("no marks", f"{report.BEGIN}\n", f"{report.END}\n{report.BEGIN}\n"):
            self.assertRaises(ValueError, report.replace_tables, bad, "new")

    def test_the_document_has_the_marks(self):
        document = (ROOT / "docs/performance.md").read_text()
        self.assertIn("new figures", report.replace_tables(document, "new figures"))


class Rounds(unittest.TestCase):
    @staticmethod
    def choose(*peers):
        rows = [{"name": name, "program": program,
                 "runs": [{"median_ms": time}] if time else []} for name, program, time in peers]
        return [row["name"] for row in measure.choose_finalists(rows)]

    def test_a_close_peer_of_another_program_goes_before_the_second(self):
        peers = [("fovea", "fovea", 1), ("a", "A", 100), ("b", "A", 110), ("c", "C", 0)]
        self.assertEqual(self.choose(*peers, ("d", "D", 120)), ["a", "d"])
        self.assertEqual(self.choose(*peers, ("d", "D", 130)), ["a", "b"])
        self.assertEqual(self.choose(*peers[:2]), ["a"])

    def test_at_least_three_steps_after_two(self):
        clock, ticks = Clock(0), 1
        while clock.tick():
            ticks += 1
        self.assertGreaterEqual(ticks, 2 + 3)
        self.assertEqual(clock.figures()["steps"], 3)
        self.assertEqual(clock.figures(5)["steps"], 15)


class Command(unittest.TestCase):
    def run_it(self, *words):
        return subprocess.run([sys.executable, "-B", ROOT / "bench/run", *words], text=True,
                              capture_output=True, check=False)

    def test_list(self):
        names = self.run_it("--list").stdout.splitlines()
        self.assertEqual(len(names), 8 + 12 + 1)
        self.assertIn("train/vgg16/8", names)
        self.assertEqual(self.run_it("--list", "--case", "*/resnet50*").stdout.splitlines(),
                         ["train/resnet50/16", "inference/resnet50/1", "inference/resnet50/16",
                          "start/resnet50"])

    def test_unknown_case(self):
        result = self.run_it("--case", "nonsense")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no case is called nonsense", result.stderr)


if __name__ == "__main__":
    unittest.main()
