"""bench/compare.py, run as its users run it, on results that are made up here."""

import json
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

COMPARE = Path(__file__).parent.parent.parent / "bench" / "compare.py"
PREFILL = "f32/nhd/causal/Hq:8/Hkv:2/D:128/Tq:4096/Tk:4096/threads:1"
DECODE = "f16/hnd/causal/Hq:32/Hkv:8/D:128/Tq:1/Tk:1024/threads:1/warm"
ONLY_OURS = "f32/nhd/full/Hq:8/Hkv:8/D:64/Tq:2048/Tk:2048/threads:2"


def benchmark(implementation, work, microseconds, **fields):
    name = f"attend/{implementation}/{work}"
    counters = {"of_peak": 0.5, "of_stream": 0.1, "of_roof": 0.5, "gflops": 100.0, "gbytes": 4.0}
    timing = {"iterations": 5, "real_time": microseconds, "cpu_time": microseconds, "time_unit": "us"}
    return {"name": name, "run_name": name, "run_type": "iteration", **timing, **counters, **fields}


def sample():
    failed = {"name": f"attend/openblas/{PREFILL}", "error_occurred": True, "error_message": "openblas: differs <by> 1"}
    return {
        "context": {"fma_peak_gflops": "200.0", "stream_gbytes": "40.0", "processor": "Abacus", "ggml": "ggml 1.2"},
        "benchmarks": [
            benchmark("attenta", PREFILL, 200e3),
            benchmark("ggml", PREFILL, 500e3),
            failed,
            benchmark("attenta", DECODE, 90.0),
            benchmark("attenta", DECODE, 100.0),
            benchmark("attenta", DECODE, 900.0),
            benchmark("attenta", DECODE, 1e6, run_type="aggregate"),
            benchmark("ggml", DECODE, 650.0),
            benchmark("attenta", ONLY_OURS, 1000.0),
            {"name": "overhead/plan_run", "real_time": 80.0, "time_unit": "ns"},
        ],
    }


class Compare(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "out.json"

    def compare(self, *arguments):
        command = [sys.executable, "-B", str(COMPARE), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, encoding="utf-8")

    def run_on(self, content, *arguments):
        self.file.write_text(content if isinstance(content, str) else json.dumps(content))
        return self.compare(self.file, *arguments)

    def refused(self, content):
        done = self.run_on(content)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith(f"compare.py: {self.file}: "), done.stderr)
        return done.stderr

    def test_prints_every_shared_work_once(self):
        done = self.run_on(sample())
        self.assertEqual(done.returncode, 0, done.stderr)
        table = done.stdout.split("\n\n")[0].splitlines()
        self.assertEqual(table, [
            "| work | of roof | attenta | ggml | openblas |",
            "| --- | --- | --- | --- | --- |",
            "| causal, 8/2 heads, D 128, 4096 tokens, f32 nhd | 0.50 | 200 ms | 500 ms (2.5×) | failed |",
            "| decode, 32/8 heads, D 128, 1024 keys, f16 hnd, warm | 0.50 | 100 µs | 650 µs (6.5×) |  |",
        ])

    def test_compares_by_cpu_time_where_asked(self):
        busy = sample()
        busy["benchmarks"][0].update(cpu_time=125e3)
        done = self.run_on(busy, "--cpu")
        self.assertIn("4096 tokens, f32 nhd | 0.80 | 125 ms | 500 ms (4.0×) |", done.stdout)

    def test_says_what_it_was_measured_with_and_who_failed(self):
        notes = self.run_on(sample()).stdout.split("\n\n")[1].splitlines()
        self.assertEqual(notes, [
            "Abacus, ggml 1.2",
            "failed: causal, 8/2 heads, D 128, 4096 tokens, f32 nhd: openblas: differs <by> 1",
        ])

    def test_draws_what_it_prints(self):
        svg = self.folder / "picture.svg"
        done = self.run_on(sample(), "--svg", svg)
        self.assertEqual(done.returncode, 0, done.stderr)
        root = xml.parse(svg).getroot()
        drawn = lambda tag: root.findall(f"{{http://www.w3.org/2000/svg}}{tag}")
        texts = [t.text for t in drawn("text")]
        self.assertEqual(len(drawn("circle")), 2)
        self.assertEqual([t for t in texts if t.endswith("×")], ["2.5×", "6.5×"])
        self.assertIn("2  decode, 32/8 heads, D 128, 1024 keys, f16 hnd, warm", texts)

    def test_refuses_what_attenta_bench_did_not_write(self):
        self.assertIn("not JSON", self.refused(json.dumps(sample())[:-20]))
        self.assertIn("not written by attenta-bench", self.refused([]))
        for spoil in (
            lambda s: s.pop("benchmarks"),
            lambda s: s.pop("context"),
            lambda s: s["context"].pop("stream_gbytes"),
            lambda s: s["benchmarks"][0].pop("real_time"),
            lambda s: s["benchmarks"][0].update(real_time="soon"),
            lambda s: s["benchmarks"][0].update(gflops=0),
            lambda s: s["benchmarks"][0].update(time_unit="h"),
            lambda s: s["benchmarks"][0].update(name="attend/attenta/f32", run_name="attend/attenta/f32"),
        ):
            spoiled = sample()
            spoil(spoiled)
            self.assertIn("not written by attenta-bench", self.refused(spoiled))

    def test_refuses_a_run_without_peers(self):
        alone = sample()
        alone["benchmarks"] = [b for b in alone["benchmarks"] if "/attenta/" in b["name"]]
        self.assertIn("no work that both attenta and somebody else computed", self.refused(alone))

    def test_refuses_a_missing_file(self):
        done = self.compare("nowhere.json")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, "compare.py: nowhere.json: No such file or directory\n")


if __name__ == "__main__":
    unittest.main()
