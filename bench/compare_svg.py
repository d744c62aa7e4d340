"""The picture of compare.py: the roofline with our results, and the peers' times over ours. Plain SVG, for light and
dark pages, without fonts of its own."""

import math
from xml.sax.saxutils import escape

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b79f00", "#7f7f7f"]  # told apart by the colour-blind too
BAR, GAP, TOP = 11, 10, 70
LABELS_AT, BARS_AT, BARS_END, WIDTH = 520, 815, 1080, 1140
STYLE = """
  text { font: 12px sans-serif; fill: #222 }
  .title { font-weight: bold; font-size: 14px }
  .small { font-size: 10px }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .axis { stroke: #888; fill: none }
  .grid { stroke: #888; opacity: 0.25 }
  .point { fill: #222 }
  .roof, .warm { stroke: #222; stroke-width: 2; fill: none }
  @media (prefers-color-scheme: dark) {
    text, .point { fill: #ddd }
    .roof, .warm { stroke: #ddd }
  }"""


class Scale:
    """A logarithmic axis between two places on the page."""

    def __init__(self, low, high, begin, end):
        self.low, self.high, self.begin, self.end = low, high, begin, end

    def __call__(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    def ticks(self):
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = (m * 10.0**d for d in decades for m in (1, 2, 5))
        return [v for v in values if self.low * 0.999 <= v <= self.high * 1.001]


def text(x, y, content, css=""):
    return f'<text x="{x}" y="{y}" class="{css}">{escape(str(content))}</text>'


def line(x1, y1, x2, y2, css):
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{css}"/>'


def around(values, factor=1.5):
    return min(values) / factor, max(values) * factor


def roofline(comparison, ours, height):
    """Our results, numbered like the rows on the right, under the limits measured at the start of the run."""
    results = [r[ours] for r in comparison.works.values()]
    peak, stream = comparison.peak, comparison.stream
    intensity = [r.gflops / r.gbytes for r in results]
    x = Scale(*around(intensity + [peak / stream]), 60, 470)
    y = Scale(*around([r.gflops for r in results] + [peak]), height - 50, TOP)
    out = [text(60, 28, "Roofline, attenta (circle: data in cache)", "title")]
    for v in x.ticks():
        out += [line(x(v), y.begin, x(v), y.end, "grid"), text(x(v), y.begin + 16, f"{v:g}", "middle")]
    for v in y.ticks():
        out += [line(x.begin, y(v), x.end, y(v), "grid"), text(x.begin - 6, y(v) + 4, f"{v:g}", "end")]
    out += [text(265, y.begin + 36, "flops per byte", "middle"), text(20, TOP - 14, "GFLOP/s")]
    slope_from = max(x.low, y.low / stream)
    corners = [(slope_from, stream * slope_from), (peak / stream, peak), (x.high, peak)]
    out.append('<polyline class="roof" points="' + " ".join(f"{x(a)},{y(b)}" for a, b in corners) + '"/>')
    for number, (work, i, r) in enumerate(zip(comparison.works, intensity, results), 1):
        css = "warm" if work.endswith("warm") else "point"
        out += [f'<circle cx="{x(i)}" cy="{y(r.gflops)}" r="4" class="{css}"/>']
        left = number % 2 == 0  # neighbours often lie close
        out += [text(x(i) + (-7 if left else 7), y(r.gflops) + 4, number, "small end" if left else "small")]
    return out


def ratios(comparison, ours, height):
    times = {w: {p: r[p].seconds / r[ours].seconds for p in comparison.peers if p in r and r[p].seconds}
             for w, r in comparison.works.items()}
    every = [ratio for row in times.values() for ratio in row.values()] or [1.0]
    x = Scale(min(1.0, *every), max(2.0, *every), BARS_AT, BARS_END)
    out = [text(LABELS_AT, 28, "Peers' time over ours", "title")]
    for i, peer in enumerate(comparison.peers):
        at = LABELS_AT + 100 * i
        out += [f'<rect x="{at}" y="40" width="10" height="10" fill="{COLOURS[i % len(COLOURS)]}"/>']
        out += [text(at + 15, 50, peer)]
    y = TOP
    for number, (work, row) in enumerate(times.items(), 1):
        out.append(text(LABELS_AT, y + BAR, f"{number}  {work}", "small"))
        for peer, ratio in row.items():
            begin, end = sorted((x(1), x(ratio)))
            colour = COLOURS[comparison.peers.index(peer) % len(COLOURS)]
            out += [f'<rect x="{begin}" y="{y}" width="{end - begin:.1f}" height="{BAR - 2}" fill="{colour}"/>']
            out += [text(end + 4, y + BAR - 2, f"{ratio:.1f}×", "small")]
            y += BAR
        y += GAP + BAR * (not row)
    out.append(line(x(1), TOP - 6, x(1), height - 20, "axis"))
    return out


def picture(comparison, ours):
    bars = sum(max(1, len(r) - 1) * BAR + GAP for r in comparison.works.values())
    height = max(420, TOP + bars + 30)
    body = roofline(comparison, ours, 420) + ratios(comparison, ours, height)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f"<style>{STYLE}\n</style>", *body, "</svg>\n"])
