#!/usr/bin/env python3
"""Compares attenta with its peers from one run of attenta-bench:

    attenta-bench --benchmark_filter=^attend/ --benchmark_out=out.json
    bench/compare.py out.json [--svg picture.svg] [--cpu]

prints a Markdown table of all works that somebody else computed too. A ratio is the peer's time over ours.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from compare_svg import picture

OURS = "attenta"
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


class Damaged(Exception):
    """A file that is not what attenta-bench writes."""


@dataclass
class Result:
    """One implementation at one work; seconds is None where it failed."""

    seconds: float | None = None
    of_roof: float = 0.0
    gflops: float = 0.0
    gbytes: float = 0.0
    error: str = ""


@dataclass
class Comparison:
    context: dict[str, str]
    peak: float  # GFLOP/s and GB/s at the start of the run
    stream: float
    peers: list[str]
    works: dict[str, dict[str, Result]]  # work: implementation: result; ours and one more at least


def describe(parts):
    """What a name without its implementation says, in words."""
    dtype, layout, mask = parts[:3]
    size = dict(p.split(":") for p in parts[3:] if ":" in p)
    heads = f"{size['Hq']}/{size['Hkv']} heads, D {size['D']}"
    if "Dv" in size:
        heads += f" and {size['Dv']}"
    if size["Tq"] == "1":
        work = f"decode, {heads}, {size['Tk']} keys"
    else:
        tokens = size["Tk"] if size["Tq"] == size["Tk"] else f"{size['Tq']} of {size['Tk']}"
        work = f"{mask}, {heads}, {tokens} tokens"
    work += f", {dtype} {layout}"
    if size["threads"] != "1":
        work += f", {size['threads']} threads"
    return work + ", warm" if parts[-1] == "warm" else work


def result(runs, clock):
    """The median of a benchmark's repetitions, by the clock real_time or cpu_time."""
    errors = [r.get("error_message", "failed") for r in runs if r.get("error_occurred")]
    if errors:
        return Result(error=errors[0])
    median = {}
    for key in ("real_time", clock, "of_roof", "gflops", "gbytes"):
        median[key] = statistics.median(r[key] for r in runs)
        if not median[key] > 0:
            raise ValueError(f"{key} is {median[key]}")
    faster = median["real_time"] / median[clock]
    rates = {key: median[key] * faster for key in ("of_roof", "gflops", "gbytes")}
    return Result(median[clock] * SECONDS[runs[0]["time_unit"]], **rates)


def read(path, clock):
    try:
        data = json.loads(path.read_text())
        runs = defaultdict(list)
        for b in data["benchmarks"]:
            if b.get("run_type", "iteration") == "iteration" and b["name"].startswith("attend/"):
                runs[b.get("run_name", b["name"])].append(b)
        works = defaultdict(dict)
        for name, repetitions in runs.items():
            _, implementation, *work = name.split("/")
            works[describe(work)][implementation] = result(repetitions, clock)
        return compared(data["context"], works)
    except OSError as e:
        raise Damaged(e.strerror) from e
    except json.JSONDecodeError as e:
        raise Damaged(f"not JSON: {e}") from e
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise Damaged(f"not written by attenta-bench: {type(e).__name__} {e}") from e


def compared(context, works):
    shared = {w: r for w, r in works.items() if len(r) > 1 and r.get(OURS, Result()).seconds}
    if not shared:
        raise Damaged(f"no work that both {OURS} and somebody else computed")
    peers = sorted({i for r in shared.values() for i in r} - {OURS})
    return Comparison(context, float(context["fma_peak_gflops"]), float(context["stream_gbytes"]), peers, shared)


def time(seconds):
    unit, factor = next((u, f) for u, f in (("s", 1), ("ms", 1e3), ("µs", 1e6)) if seconds * f >= 1 or u == "µs")
    return f"{seconds * factor:.3g} {unit}" if seconds * factor < 100 else f"{seconds * factor:.0f} {unit}"


def table(comparison):
    rows = [["work", "of roof", OURS, *comparison.peers], ["---"] * (3 + len(comparison.peers))]
    for work, results in comparison.works.items():
        ours = results[OURS]
        row = [work, f"{ours.of_roof:.2f}", time(ours.seconds)]
        for peer in comparison.peers:
            theirs = results.get(peer)
            if theirs is None:
                row.append("")
            elif theirs.seconds is None:
                row.append("failed")
            else:
                row.append(f"{time(theirs.seconds)} ({theirs.seconds / ours.seconds:.1f}×)")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def notes(comparison):
    """What the figures were measured on and with, and who failed."""
    context = comparison.context
    machine = [context[k] for k in ("processor", "isa") if k in context]
    lines = [", ".join(machine + [context[p] for p in comparison.peers if p in context])]
    for work, results in comparison.works.items():
        lines += [f"failed: {work}: {r.error}" for r in results.values() if r.error]
    return "\n".join(line for line in lines if line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="what attenta-bench --benchmark_out=FILE wrote")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw the roofline and the ratios")
    parser.add_argument("--cpu", action="store_true", help="by CPU time, mean of the runs, where the machine is busy")
    arguments = parser.parse_args()
    try:
        comparison = read(arguments.file, "cpu_time" if arguments.cpu else "real_time")
    except Damaged as e:
        print(f"compare.py: {arguments.file}: {e}", file=sys.stderr)
        return 2
    print(table(comparison))
    print(f"\n{notes(comparison)}")
    if arguments.svg:
        arguments.svg.write_text(picture(comparison, OURS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
