"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.mechanisms.map((m, index) => ({...m, index, last: m.times[m.times.length - 1] || {}}));
const families = [...new Set(rows.map(r => r.family))];
const hidden = new Set();
let phase = "prefill", filter = "", sorting = {column: 0, down: false}, marked = null;

// ---- words and numbers

const colour = family => `var(--c${families.indexOf(family) % 10})`;
const digits = x => x === 0 ? "0" : Math.abs(x) >= 100 ? x.toFixed(0) : Math.abs(x) >= 1e-3 ? String(+x.toPrecision(3))
                                                                                          : x.toExponential(1);
const scaled = (x, units, step) => {
  let i = 0;
  while (x >= step && i + 1 < units.length) x /= step, ++i;
  return `${digits(x)} ${units[i]}`;
};
const time = us => us === null || us === undefined ? "–" : us < 1 ? scaled(us * 1e3, ["ns"], 1e3) : scaled(us, ["µs", "ms", "s"], 1e3);
const bytes = n => n === null || n === undefined ? "–" : scaled(n, ["B", "KiB", "MiB", "GiB"], 1024);
const number = x => x === null || x === undefined ? "–" : digits(x);
const percent = x => x === null || x === undefined ? "–" : `${(100 * x).toFixed(1)} %`;
const kept = r => r.bytes_per_token !== null ? `${digits(r.bytes_per_token)} B/token`
                : r.bytes_fixed !== null ? `${bytes(r.bytes_fixed)} in all` : "–";
const microseconds = (t, which) => which === "prefill" ? (t.prefill_ms === null ? null : t.prefill_ms * 1e3) : t.decode_us;

function element(parent, name, attributes = {}, text) {
  const svg = parent instanceof SVGElement || name === "svg";
  const e = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  parent.append(e);
  return e;
}

// ---- a plot on two logarithmic axes

const large = {width: 640, height: 430, left: 62, right: 14, top: 28, bottom: 46};
const small = {width: 420, height: 290, left: 56, right: 14, top: 28, bottom: 42};

function range(values, floor = 0) {
  const known = values.filter(v => v !== null && v !== undefined && v > floor);
  if (!known.length) return null;
  const low = Math.min(...known), high = Math.max(...known);
  return high / low < 2 ? [low / 1.5, high * 1.5] : [low / 1.15, high * 1.15];
}

function axis([low, high], from, to) {
  const a = Math.log(low), b = Math.log(high);
  const at = v => from + (Math.log(Math.max(v, low)) - a) / (b - a) * (to - from);
  const decades = Math.log10(high / low), ticks = [];
  const steps = decades > 7 ? [[1], 2] : decades > 2.4 ? [[1], 1] : decades > 1.2 ? [[1, 2, 5], 1] : [[1, 1.5, 2, 3, 4, 5, 7], 1];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += steps[1])
    for (const m of steps[0]) {
      const v = +(m * 10 ** e).toPrecision(2);
      if (v >= low && v <= high) ticks.push(v);
    }
  return Object.assign(at, {ticks});
}

class Plot {
  constructor(parent, x, y, size = large) {
    if (!x.range || !y.range) {
      element(parent, "p", {}, "Nothing to draw of what is shown.");
      return;
    }
    this.size = size;
    const {width, height, left, bottom, top} = size, right = x.room || size.right;
    this.svg = element(parent, "svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${y.title} against ${x.title}`});
    this.x = axis(x.range, left, width - right);
    this.y = axis(y.range, height - bottom, top);
    this.edge = width - right;
    for (const v of x.ticks || this.x.ticks) {
      element(this.svg, "line", {class: "grid", x1: this.x(v), x2: this.x(v), y1: top, y2: height - bottom});
      const text = x.format(v), most = width - 3.4 * text.length;
      element(this.svg, "text", {x: Math.min(this.x(v), most), y: height - bottom + 16, "text-anchor": "middle"}, text);
    }
    for (const v of y.ticks || this.y.ticks) {
      element(this.svg, "line", {class: "grid", x1: left, x2: this.edge, y1: this.y(v), y2: this.y(v)});
      element(this.svg, "text", {x: left - 7, y: this.y(v) + 4, "text-anchor": "end"}, y.format(v));
    }
    element(this.svg, "rect", {class: "frame", x: left, y: top, width: this.edge - left, height: height - bottom - top});
    element(this.svg, "text", {class: "title", x: (left + this.edge) / 2, y: height - 8, "text-anchor": "middle"}, x.title);
    element(this.svg, "text", {class: "title", x: 8, y: 15}, y.title);
    this.limit = x.room ? width : this.edge;
    this.points = [];
    this.boxes = [];
    this.svg.addEventListener("pointermove", event => this.hover(event));
    this.svg.addEventListener("pointerleave", () => mark(null));
  }

  point(row, x, y, group) {
    const g = group || element(this.svg, "g", {class: "mark", "data-rows": row.index, style: `--family: ${colour(row.family)}`});
    element(g, "circle", {cx: this.x(x), cy: this.y(y), r: group ? 2.6 : 4.5});
    this.points.push({row, x: this.x(x), y: this.y(y)});
  }

  /// Of all `same` rows.
  line(same, points) {
    const indices = same.map(r => r.index).join(" ");
    const g = element(this.svg, "g", {class: "mark", "data-rows": indices, style: `--family: ${colour(same[0].family)}`});
    element(g, "path", {d: points.map(([x, y], i) => `${i ? "L" : "M"}${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`).join("")});
    for (const [x, y] of points) this.point(same[0], x, y, g);
  }

  free(box) {
    return this.boxes.every(b => box.x1 < b.x0 || box.x0 > b.x1 || box.y1 < b.y0 || box.y0 > b.y1);
  }

  /// Where there is room; places are [dx, dy, anchor].
  label(rowsOfIt, text, x, y, places) {
    const width = 6.1 * text.length, {left, top, height, bottom} = this.size;
    for (const [dx, dy, anchor] of places) {
      const x0 = x + dx - (anchor === "end" ? width : anchor === "middle" ? width / 2 : 0);
      const box = {x0, x1: x0 + width, y0: y + dy - 10, y1: y + dy + 3};
      if (x0 < left || box.x1 > this.limit || box.y0 < top || box.y1 > height - bottom || !this.free(box)) continue;
      element(this.svg, "text", {class: "label", x: x + dx, y: y + dy, "text-anchor": anchor, "data-rows": rowsOfIt.map(r => r.index).join(" "),
                                 style: `--family: ${colour(rowsOfIt[0].family)}`}, text);
      this.boxes.push(box);
      return;
    }
  }

  /// The names of as many points as have room, those that come first before the others.
  labelPoints(points) {
    for (const p of points) this.boxes.push({x0: p.x - 4, x1: p.x + 4, y0: p.y - 4, y1: p.y + 4});
    for (const p of points)
      this.label([p.row], p.row.name, p.x, p.y, [[8, 4, "start"], [-8, 4, "end"], [0, -9, "middle"], [0, 17, "middle"]]);
  }

  hover(event) {
    const box = this.svg.getBoundingClientRect(), factor = this.size.width / box.width;
    const x = (event.clientX - box.left) * factor, y = (event.clientY - box.top) * factor;
    let best = null, least = 26;
    for (const p of this.points) {
      const distance = Math.hypot(p.x - x, p.y - y);
      if (distance < least) least = distance, best = p;
    }
    mark(best && best.row, event);
  }
}

// ---- the plots

/// The emptied place of a plot.
function place(id) {
  const e = document.getElementById(id);
  e.replaceChildren();
  return e;
}

const shown = () => rows.filter(r => !hidden.has(r.family) && `${r.family}/${r.name}`.includes(filter));

/// Those that nothing is both faster and nearer than, fastest first; then the others.
function frontierFirst(points) {
  const by = [...points].sort((a, b) => a.time - b.time || a.error - b.error), front = [];
  for (const p of by)
    if (!front.length || p.error < front[front.length - 1].error) front.push(p);
  return {front, all: [...front, ...by.filter(p => !front.includes(p))]};
}

function drawError() {
  const least = 1e-6, all = [];
  for (const row of shown()) {
    const t = microseconds(row.last, phase), error = row[phase].error;
    if (t > 0 && error !== null) all.push({row, time: t, error: Math.max(error, least)});
  }
  document.getElementById("error-note").textContent =
      `Of those that approximate softmax: ${phase === "prefill" ? "the whole context at once" : "one more token, and the error of the last queries"}. ` +
      "The line joins those that nothing is both faster and nearer than.";
  const errors = all.map(p => p.error);
  const plot = new Plot(place("error"), {range: range(all.map(p => p.time)), format: time, title: `time of ${phase === "prefill" ? "the prefill" : "a decode step"}`},
                        {range: all.length ? [least / 1.6, Math.max(1, ...errors) * 1.6] : null, title: "error",
                         format: v => v <= least ? "exact" : v >= 1e-2 ? digits(v) : v.toExponential(0)});
  if (!plot.svg) return;
  const {front, all: ordered} = frontierFirst(all);
  let path = "";
  for (const [i, p] of front.entries()) path += i ? `H${plot.x(p.time)}V${plot.y(p.error)}` : `M${plot.x(p.time)} ${plot.y(p.error)}`;
  element(plot.svg, "path", {class: "guide", d: path});
  for (const p of ordered) plot.point(p.row, p.time, p.error);
  plot.labelPoints(ordered.map(p => ({row: p.row, x: plot.x(p.time), y: plot.y(p.error)})));
}

function powersOf4([low, high]) {
  const ticks = [];
  for (let v = 1; v <= high; v *= 4)
    if (v >= low) ticks.push(v);
  return ticks;
}

/// The points of a row at each context.
const pointsOf = (row, value) => row.times.map(t => [t.context, value(t)]).filter(p => p[1] > 0);

/// Lines of rows, equal ones as one; the axes have room for those of `all`.
function drawLines(parent, list, all, value, y, title, size = large) {
  const lines = new Map();
  for (const row of list) {
    const points = pointsOf(row, value);
    if (!points.length) continue;
    const key = JSON.stringify(points.map(([x, v]) => [x, v.toPrecision(4)]));
    if (!lines.has(key)) lines.set(key, {rows: [], points});
    lines.get(key).rows.push(row);
  }
  const points = all.flatMap(row => pointsOf(row, value)), values = range(points.map(p => p[1]));
  const contexts = [...new Set(points.map(p => p[0]))].sort((a, b) => a - b);
  const plot = new Plot(parent, {range: range(contexts), ticks: contexts, format: String, title: "tokens of context", room: 150},
                        {range: values, ticks: y === bytes && values && powersOf4(values), format: y, title}, size);
  if (!plot.svg) return;
  for (const l of lines.values()) plot.line(l.rows, l.points);
  // Softmax and the shared lines get their names first.
  const weight = l => l.rows.length + (l.rows.some(r => r.name === "softmax") ? 1000 : 0);
  for (const l of [...lines.values()].sort((a, b) => weight(b) - weight(a))) {
    const [x, v] = l.points[l.points.length - 1];
    const first = l.rows.find(r => r.name === "softmax") || l.rows[0];
    const text = first.name + (l.rows.length > 1 ? ` and ${l.rows.length - 1} more` : "");
    plot.label([first, ...l.rows.filter(r => r !== first)], text, Math.max(plot.x(x), plot.edge - 8), plot.y(v), [[14, 4, "start"]]);
  }
}

/// A plot for each family, all on the same axes; softmax stands in each of them.
function drawGrowth() {
  document.getElementById("growth-note").textContent =
      (phase === "prefill" ? "Time of the prefill over its tokens" : "Time of a decode step behind a context of so many tokens") +
      ", family by family on the same axes, exact softmax in each.";
  const value = t => phase === "prefill" ? (t.prefill_ms === null ? null : t.prefill_ms * 1e3 / t.context) : t.decode_us;
  const all = shown().filter(r => pointsOf(r, value).length), softmax = all.filter(r => r.family === "softmax" && r.name === "softmax");
  const parent = place("growth"), present = families.filter(f => all.some(r => r.family === f));
  const lines = (to, list, size) => drawLines(to, list, all, value, time, "time of a token", size);
  if (present.length < 2) return lines(element(parent, "div"), all, large);
  for (const family of present) {
    const figure = element(parent, "figure", {style: `--family: ${colour(family)}`});
    element(figure, "figcaption", {}, family);
    const list = all.filter(r => r.family === family);
    lines(figure, [...softmax.filter(r => r.family !== family), ...list], small);
  }
}

function drawRoofline(which) {
  const all = [];
  for (const row of shown()) {
    const w = row[which];
    if (w.gflops > 0 && w.bytes > 0) all.push({row, intensity: w.flops / w.bytes, rate: w.gflops});
  }
  const {gflops: peak, gbytes: stream} = data.machine, ridge = peak / stream;
  const x = range([...all.map(p => p.intensity), ridge / 4, ridge * 4]);
  const plot = new Plot(place(`roofline-${which}`), {range: x, format: digits, title: "operations per byte"},
                        {range: all.length ? range([...all.map(p => p.rate), peak, x[0] * stream]) : null, format: digits, title: "Gflop/s"});
  if (!plot.svg) return;
  const at = (v, w) => `${plot.x(v).toFixed(1)} ${plot.y(w).toFixed(1)}`;
  element(plot.svg, "path", {class: "roof", d: `M${at(x[0], x[0] * stream)}L${at(ridge, peak)}L${at(x[1], peak)}`});
  element(plot.svg, "text", {x: plot.edge - 6, y: plot.y(peak) + 15, "text-anchor": "end"}, `${digits(peak)} Gflop/s`);
  element(plot.svg, "text", {x: plot.x(ridge * 0.6) + 8, y: plot.y(peak * 0.6) + 12}, `${digits(stream)} GB/s`);
  for (const p of all) plot.point(p.row, p.intensity, p.rate);
  const fastest = [...all].sort((a, b) => b.rate - a.rate);
  plot.labelPoints([...fastest.filter(p => p.row.name === "softmax"), ...fastest.filter(p => p.row.name !== "softmax")].map(
      p => ({row: p.row, x: plot.x(p.intensity), y: plot.y(p.rate)})));
}

// ---- the table

const columns = [
  {title: "mechanism", key: r => r.index},
  {title: "prefill", key: r => microseconds(r.last, "prefill"), text: time},
  {title: "decode", key: r => r.last.decode_us, text: time},
  {title: "kept", key: r => r.last.kept_bytes, text: (_, r) => kept(r)},
  {title: "error, prefill", key: r => r.prefill.error, text: number},
  {title: "error, decode", key: r => r.decode.error, text: number},
  {title: "mass, prefill", key: r => r.prefill.mass, text: percent},
  {title: "mass, decode", key: r => r.decode.mass, text: percent},
  {title: "what is missing", key: r => r.reason},
];

function drawHeader() {
  const header = document.getElementById("columns");
  columns.forEach((column, i) => {
    const button = element(element(header, "th", {scope: "col"}), "button", {type: "button"}, column.title);
    button.addEventListener("click", () => {
      sorting = {column: i, down: sorting.column === i && !sorting.down};
      drawTable();
    });
  });
}

function drawTable() {
  const {key} = columns[sorting.column], list = shown();
  list.sort((a, b) => {
    const [x, y] = [key(a) ?? null, key(b) ?? null];
    if (x === null || y === null) return (x === null) - (y === null);
    return (x < y ? -1 : x > y ? 1 : 0) * (sorting.down ? -1 : 1);
  });
  [...document.getElementById("columns").children].forEach(
      (th, i) => th.setAttribute("aria-sort", i !== sorting.column ? "none" : sorting.down ? "descending" : "ascending"));
  const body = document.getElementById("rows");
  body.replaceChildren();
  for (const r of list) {
    const tr = element(body, "tr", {"data-rows": r.index, style: `--family: ${colour(r.family)}`});
    const name = element(tr, "td", {title: `${r.source}\n${r.cost}\n${JSON.stringify(r.parameters)}`});
    element(name, "i");
    element(name, "span", {}, `${r.family}/`);
    element(name, "b", {}, r.name);
    element(name, "small", {}, r.summary);
    for (const column of columns.slice(1, -1)) {
      const value = column.key(r), text = column.text(value, r);
      element(tr, "td", text === "–" ? {class: "none"} : {}, text);
    }
    element(tr, "td", {}, r.reason || "");
    tr.addEventListener("pointerenter", () => mark(r));
    tr.addEventListener("pointerleave", () => mark(null));
  }
  document.getElementById("count").textContent = `${list.length} of ${rows.length}`;
}

// ---- one row in all plots

function mark(row, event) {
  const tip = document.getElementById("tip");
  tip.hidden = !row || !event;
  if (!tip.hidden) {
    if (row !== marked) fillTip(tip, row);
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 16, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - box.height - 8))}px`;
  }
  if (row === marked) return;
  marked = row;
  for (const svg of document.querySelectorAll("svg")) svg.classList.toggle("hover", row !== null);
  for (const e of document.querySelectorAll("[data-rows]"))
    e.classList.toggle("on", row !== null && e.dataset.rows.split(" ").includes(String(row.index)));
}

function fillTip(tip, r) {
  tip.replaceChildren();
  tip.style.setProperty("--family", colour(r.family));
  element(tip, "b", {}, `${r.family}/${r.name}`);
  element(tip, "p", {}, r.summary);
  const list = element(tip, "dl");
  for (const column of columns.slice(1, -1)) {
    const text = column.text(column.key(r), r);
    if (text === "–") continue;
    element(list, "dt", {}, column.title);
    element(list, "dd", {}, text);
  }
}

// ---- what is shown

function draw() {
  drawError();
  drawLines(place("memory"), shown(), shown(), t => t.kept_bytes, bytes, "bytes kept");
  drawGrowth();
  for (const which of ["prefill", "decode"]) drawRoofline(which);
  drawTable();
}

function drawFacts() {
  const {machine: m, shape: s} = data;
  document.getElementById("source").textContent = data.source;
  const facts = [["query heads", s.query_heads], ["K/V heads", s.kv_heads], ["width", s.dim === s.value_dim ? s.dim : `${s.dim}, values ${s.value_dim}`],
                 ["context", s.context], ["budget", s.budget], ["processor", `${m.processor}, ${m.isa}, ${m.threads} thread${m.threads > 1 ? "s" : ""}`],
                 ["peak", `${digits(m.gflops)} Gflop/s`], ["memory", `${digits(m.gbytes)} GB/s`], ["cheapest call", time(m.call_overhead_us)]];
  for (const [name, value] of facts) {
    const item = element(document.getElementById("facts"), "li");
    element(item, "span", {}, `${name} `);
    element(item, "b", {}, String(value));
  }
}

function listen() {
  for (const family of families) {
    const button = element(document.getElementById("families"), "button",
                           {type: "button", "aria-pressed": "true", style: `--family: ${colour(family)}`}, family);
    button.addEventListener("click", () => {
      if (!hidden.delete(family)) hidden.add(family);
      button.setAttribute("aria-pressed", String(!hidden.has(family)));
      draw();
    });
  }
  for (const button of document.querySelectorAll("[data-phase]"))
    button.addEventListener("click", () => {
      phase = button.dataset.phase;
      for (const b of document.querySelectorAll("[data-phase]")) b.setAttribute("aria-pressed", String(b === button));
      draw();
    });
  document.getElementById("filter").addEventListener("input", event => {
    filter = event.target.value.trim();
    draw();
  });
}

drawFacts();
drawHeader();
listen();
draw();
