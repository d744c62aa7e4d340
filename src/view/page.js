'use strict';
// The heads of a page: an overview of all of them, one of them large. Weights come as float16 in base64, tile by tile; they
// are decoded when a head is first drawn.

const $ = id => document.getElementById(id);
const data = JSON.parse($('data').textContent);
const {rows, cols} = data, exact = data.tileQueries === 1 && data.tileKeys === 1;
const state = {head: 0, value: exact ? 'mean' : 'max', scale: 'log', overlay: data.overlays.length ? 0 : -1, cell: null};
const decades = 4;  // of the logarithmic scale

// Numbers -------------------------------------------------------------------------------------------------------------

const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));

function halves(text) {
  const b = bytes(text), values = new Float32Array(b.length / 2);
  for (let i = 0; i < values.length; ++i) {
    const bits = b[2 * i] | b[2 * i + 1] << 8, exponent = bits >> 10 & 31, fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
    values[i] = bits & 0x8000 ? -size : size;
  }
  return values;
}

/** A head's tiles by name (max, mean) or, by number, what an overlay keeps of them. */
function tiles(head, name) {
  head.decoded ??= {};
  if (typeof name === 'number') return head.decoded[name] ??= bytes(head.kept[name].tiles);
  return head.decoded[name] ??= halves(head[name] ?? head.mean);
}

function largest(head, name) {
  head.largest ??= {};
  return head.largest[name] ??= tiles(head, name).reduce((most, x) => Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most, 0);
}

function digits(x) {
  if (x === null || Number.isNaN(x)) return 'not a number';
  return x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(2).replace(/\.?0+e/, 'e') : String(Number(x.toPrecision(3)));
}
const percent = x => x === null ? 'not a number' : (100 * x).toFixed(1) + ' %';

// Tokens --------------------------------------------------------------------------------------------------------------

/** Tokens [first, last) as text, at most `most` characters; empty where tokens have no names. */
function text(first, last, most) {
  let joined = '';
  for (let i = Math.max(first, 0); i < Math.min(last, data.tokens.length); ++i) {
    const next = joined + data.tokens[i] + (/^#\d/.test(data.tokens[i]) ? ' ' : '');
    if ([...next].length > most) return joined + '…';
    joined = next;
  }
  return joined;
}

/** Of an axis: the numbers of its tiles' first and last tokens, and where they stand in the text. */
const queries = {count: data.queries, tile: data.tileQueries, tiles: rows, shift: data.firstPosition};
const keys = {count: data.keys, tile: data.tileKeys, tiles: cols, shift: 0};
const range = (axis, i, n = 1) => [i * axis.tile, Math.min((i + n) * axis.tile, axis.count)];

function described(axis, tile) {
  const [first, last] = range(axis, tile), words = text(first + axis.shift, last + axis.shift, 24);
  const number = last - first > 1 ? `${first + axis.shift}–${last + axis.shift - 1}` : `${first + axis.shift}`;
  return words ? `${number} “${words}”` : number;
}

// Colours -------------------------------------------------------------------------------------------------------------

const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
let colours;

function readColours() {
  const stops = style('--ramp').split(/\s+/).map(rgb), ramp = [];
  for (let i = 0; i < 256; ++i) {
    const at = i / 255 * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    ramp.push(stops[low].map((c, n) => c + (stops[low + 1][n] - c) * (at - low)));
  }
  colours = {ramp, nan: rgb(style('--nan')), dropped: rgb(style('--dropped')), text: style('--text'),
             muted: style('--muted'), line: style('--line'), focus: style('--focus')};
}

/** Where a weight stands on the ramp, 0 to 1. */
function height(x, top) {
  if (!Number.isFinite(x)) return 1;
  const part = top > 0 ? Math.abs(x) / top : 0;
  if (state.scale === 'linear' || part === 0) return part;
  return Math.max(0, 1 + Math.log10(part) / decades);
}

/** Writes a pixel: the weight's colour, tinted as far as the overlay drops it. */
function paint(pixels, at, x, top, kept) {
  let colour = Number.isNaN(x) ? colours.nan : colours.ramp[Math.round(255 * Math.min(1, height(x, top)))];
  if (kept < 255) {
    const tint = 0.5 * (1 - kept / 255);
    colour = colour.map((c, n) => c + (colours.dropped[n] - c) * tint);
  }
  pixels.set([...colour, 255], 4 * at);
}

/** A head in height × width pixels, each of which shows the largest of its tiles. */
function image(head, height, width) {
  const values = tiles(head, state.value), top = largest(head, state.value);
  const kept = state.overlay < 0 ? null : tiles(head, state.overlay);
  const picture = new ImageData(width, height);
  for (let y = 0; y < height; ++y)
    for (let x = 0; x < width; ++x) {
      let best = Math.floor(y * rows / height) * cols + Math.floor(x * cols / width);
      for (let r = Math.floor(y * rows / height); r < Math.ceil((y + 1) * rows / height); ++r)
        for (let c = Math.floor(x * cols / width); c < Math.ceil((x + 1) * cols / width); ++c)
          if (Math.abs(values[r * cols + c]) > Math.abs(values[best])) best = r * cols + c;
      paint(picture.data, y * width + x, values[best], top, kept ? kept[best] : 255);
    }
  return picture;
}

// Overview ------------------------------------------------------------------------------------------------------------

const thumb = Math.max(40, Math.min(88, Math.floor(720 / data.headsPerLayer)));

function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function buildOverview() {
  $('overview').style.setProperty('--thumb', thumb + 'px');
  data.layers.forEach((layer, l) => {
    const row = element('div', {role: 'row'}, element('div', {role: 'rowheader'}, `layer ${layer}`));
    for (let h = 0; h < data.headsPerLayer; ++h) {
      const index = l * data.headsPerLayer + h, head = data.heads[index];
      const numbers = `entropy ${digits(head.entropy)}, sink mass ${percent(head.sink)}, distance ${digits(head.distance)}`;
      const canvas = element('canvas', {width: Math.min(cols, 64), height: Math.min(rows, 64)});
      const button = element('button', {type: 'button', class: 'head', role: 'gridcell', tabindex: -1, title: numbers,
                                        'aria-label': `layer ${layer}, head ${head.head}, ${numbers}`}, canvas);
      button.addEventListener('click', () => choose(index, true));
      head.button = button;
      row.append(button);
    }
    $('overview').append(row);
  });
  $('overview').addEventListener('keydown', moveInOverview);
}

function moveInOverview(event) {
  const n = data.headsPerLayer, column = state.head % n;
  const to = {ArrowLeft: column > 0 ? -1 : 0, ArrowRight: column < n - 1 ? 1 : 0, ArrowUp: -n, ArrowDown: n,
              Home: -column, End: n - 1 - column}[event.key];
  if (event.key === 'Enter') $('cursor').focus();
  else if (to === undefined) return;
  else if (data.heads[state.head + to]) choose(state.head + to, true);
  event.preventDefault();
}

function drawOverview() {
  for (const head of data.heads) {
    const canvas = head.button.firstChild;
    canvas.getContext('2d').putImageData(image(head, canvas.height, canvas.width), 0, 0);
  }
}

// One head ------------------------------------------------------------------------------------------------------------

const margin = {left: 128, bottom: 128, top: 4, right: 4}, font = '11px ui-monospace, "DejaVu Sans Mono", monospace';
const cell = {width: 1, height: 1};  // pixels of a tile
const least = 16;                    // pixels of a tile's short side where a head is a narrow strip

function scaled(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = width + 'px';
  canvas.style.height = height + 'px';
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  return context;
}

/** Tiles are squares, unless a head is so narrow that nothing would be seen. */
function setCell() {
  const across = ($('plot').clientWidth - margin.left - margin.right) / cols, down = Math.max(340, window.innerHeight - 420) / rows;
  const side = Math.max(Math.min(across, down, 40), 0.5);
  cell.width = cols * 4 < rows ? Math.max(side, Math.min(across, least)) : side;
  cell.height = rows * 4 < cols ? Math.max(side, Math.min(down, least)) : side;
}

/** Tokens along an axis, as many as there is room for: each label is the text up to the next one. */
function labels(axis, size) {
  const step = Math.ceil(13 / size), found = [];
  for (let i = 0; i < axis.tiles; i += step) {
    const [first, last] = range(axis, i, step);
    const words = text(first + axis.shift, last + axis.shift, 11);
    found.push({middle: (i + 0.5) * size, number: String(first + axis.shift), words});
  }
  return found;
}

/** Writes a label that ends at x, y. */
function writeLabel(context, x, y, turn, label) {
  context.save();
  context.translate(x, y);
  context.rotate(turn);
  context.fillStyle = colours.text;
  context.fillText(label.words, 0, 0);
  context.fillStyle = colours.muted;
  context.fillText(label.number, label.words ? -context.measureText(label.words).width - 6 : 0, 0);
  context.restore();
}

function drawMap() {
  const head = data.heads[state.head], letter = 6.7;
  const longest = all => Math.max(...all.map(l => l.number.length + (l.words ? [...l.words].length + 1 : 0)));
  let beside, below;
  margin.left = margin.bottom = 128;
  // What labels leave free is for the tiles; labels of larger tiles are no longer.
  for (let pass = 0; pass < 2; ++pass) {
    setCell();
    beside = labels(queries, cell.height);
    below = labels(keys, cell.width);
    margin.left = Math.min(margin.left, longest(beside) * letter + 10);
    margin.bottom = Math.min(margin.bottom, longest(below) * letter + 10);
  }

  const width = cell.width * cols, height = cell.height * rows;
  const full = [width + margin.left + margin.right, height + margin.top + margin.bottom];
  const context = scaled($('map'), ...full);
  scaled($('cursor'), ...full);

  const picture = new OffscreenCanvas(cols, rows);
  picture.getContext('2d').putImageData(image(head, rows, cols), 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, margin.left, margin.top, width, height);
  context.strokeStyle = colours.line;
  context.strokeRect(margin.left - 0.5, margin.top - 0.5, width + 1, height + 1);

  context.font = font;
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  for (const label of beside) writeLabel(context, margin.left - 6, margin.top + label.middle, 0, label);
  for (const label of below)
    writeLabel(context, margin.left + label.middle, margin.top + height + 6, -Math.PI / 2, label);
}

function drawLegend() {
  const top = largest(data.heads[state.head], state.value);
  const stops = style('--ramp').split(/\s+/).join(', ');
  $('ramp').style.background = `linear-gradient(to right, ${stops})`;
  $('legend-low').textContent = state.scale === 'linear' ? '0' : '≤ ' + digits(top * 10 ** -decades);
  $('legend-high').textContent = digits(top);
  const overlay = data.overlays[state.overlay];
  $('swatch-label').hidden = !overlay;
  $('swatch-text').textContent = overlay ? `dropped by ${overlay.name} (${overlay.detail})` : '';
}

function showNumbers() {
  const head = data.heads[state.head], overlay = data.overlays[state.overlay];
  $('head-title').textContent = `Layer ${head.layer}, head ${head.head}`;
  $('entropy').textContent = digits(head.entropy) + ' nats';
  $('sink').textContent = percent(head.sink);
  $('distance').textContent = digits(head.distance) + ' tokens';
  const name = text(head.strongest, head.strongest + 1, 24);
  $('strongest').textContent = `${head.strongest}${name ? ` “${name}”` : ''}: ${percent(head.received)}`;
  $('kept-number').hidden = !overlay;
  $('kept-name').textContent = overlay ? `weight that ${overlay.name} keeps` : '';
  $('kept-mass').textContent = overlay ? percent(head.kept[state.overlay].mass) : '';
  $('cursor').setAttribute('aria-label', `Weights of layer ${head.layer}, head ${head.head}`);
  data.heads.forEach((other, i) => {
    other.button.setAttribute('aria-selected', i === state.head);
    other.button.tabIndex = i === state.head ? 0 : -1;
  });
}

// A tile --------------------------------------------------------------------------------------------------------------

function pointTo(row, col) {
  const inside = row >= 0 && row < rows && col >= 0 && col < cols;
  state.cell = inside ? {row, col} : null;
  showTile();
}

function showTile() {
  const context = $('cursor').getContext('2d'), head = data.heads[state.head];
  context.clearRect(0, 0, $('cursor').width, $('cursor').height);
  $('where-kept-row').hidden = state.overlay < 0;
  if (!state.cell) {
    for (const part of ['query', 'key', 'weight', 'kept']) $('where-' + part).textContent = '–';
    return;
  }
  const {row, col} = state.cell, tile = row * cols + col;
  $('where-query').textContent = described(queries, row);
  $('where-key').textContent = described(keys, col);
  const mean = digits(tiles(head, 'mean')[tile]);
  $('where-weight').textContent = exact ? mean : `max ${digits(tiles(head, 'max')[tile])}, mean ${mean}`;
  if (state.overlay >= 0) {
    // Where nothing weighs, nothing is dropped.
    const kept = tiles(head, state.overlay)[tile], all = tiles(head, 'mean')[tile] === 0 ? '–' : 'yes';
    $('where-kept').textContent = kept === 255 ? all : kept === 0 ? 'no' : `${Math.round(kept / 2.55)} % of the pairs`;
  }
  const {width, height} = cell, x = margin.left + col * width, y = margin.top + row * height;
  context.strokeStyle = colours.focus;
  context.globalAlpha = 0.45;
  context.strokeRect(margin.left, y, cols * width, height);
  context.strokeRect(x, margin.top, width, rows * height);
  context.globalAlpha = 1;
  context.lineWidth = 2;
  context.strokeRect(x - 1, y - 1, width + 2, height + 2);
  context.lineWidth = 1;
}

function moveInMap(event) {
  const by = event.shiftKey ? 10 : 1;
  const step = {ArrowLeft: [0, -by], ArrowRight: [0, by], ArrowUp: [-by, 0], ArrowDown: [by, 0],
                Home: [0, -cols], End: [0, cols], PageUp: [-rows, 0], PageDown: [rows, 0]}[event.key];
  if (event.key === 'Escape') data.heads[state.head].button.focus();
  else if (!step) return;
  else {
    const from = state.cell ?? {row: rows - 1, col: 0}, clamp = (x, n) => Math.max(0, Math.min(n - 1, x));
    pointTo(clamp(from.row + step[0], rows), clamp(from.col + step[1], cols));
  }
  event.preventDefault();
}

// The page ------------------------------------------------------------------------------------------------------------

function choose(index, focus) {
  state.head = index;
  drawHead();
  if (focus) data.heads[index].button.focus();
}

function drawHead() {
  showNumbers();
  drawMap();
  drawLegend();
  showTile();
}

function drawAll() {
  readColours();
  drawOverview();
  drawHead();
}

const controls = {
  value: x => state.value = x,
  scale: x => state.scale = x,
  overlay: x => state.overlay = Number(x),
  theme: x => x ? document.documentElement.dataset.theme = x : delete document.documentElement.dataset.theme,
};

function nextOption(id) {
  const select = $(id);
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event('change'));
}

function shortcut(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === 'SELECT') return;
  const id = {m: exact ? null : 'value', l: 'scale', o: 'overlay', t: 'theme'}[event.key.toLowerCase()];
  const step = {n: 1, p: -1}[event.key.toLowerCase()];
  if (id) nextOption(id);
  else if (step && data.heads[state.head + step]) choose(state.head + step, event.target.className === 'head');
}

function start() {
  const of = (n, one, more = one + 's') => `${n} ${n === 1 ? one : more}`;
  $('facts').textContent = `${of(data.layers.length, 'layer')} of ${of(data.headsPerLayer, 'head')}, ` +
    `${of(data.queries, 'query', 'queries')} × ${of(data.keys, 'key')}` +
    (exact ? '' : `, pooled into tiles of ${data.tileQueries} × ${data.tileKeys}`);
  $('note').textContent = data.note;
  $('note').hidden = !data.note;
  $('where-query-name').textContent = data.tileQueries === 1 ? 'query' : 'queries';
  $('where-key-name').textContent = data.tileKeys === 1 ? 'key' : 'keys';
  $('value-control').hidden = exact;
  $('overlay-control').hidden = data.overlays.length === 0;
  const named = name => data.overlays.filter(o => o.name === name).length;
  data.overlays.forEach((o, i) =>
    $('overlay').append(element('option', {value: i}, named(o.name) > 1 ? `${o.name} (${o.detail})` : o.name)));
  $('overlay').value = state.overlay;
  for (const [id, set] of Object.entries(controls))
    $(id).addEventListener('change', () => { set($(id).value); drawAll(); });

  buildOverview();
  drawAll();
  $('cursor').addEventListener('pointermove', event => {
    const box = $('cursor').getBoundingClientRect();
    pointTo(Math.floor((event.clientY - box.top - margin.top) / cell.height),
            Math.floor((event.clientX - box.left - margin.left) / cell.width));
  });
  $('cursor').addEventListener('keydown', moveInMap);
  document.addEventListener('keydown', shortcut);
  window.addEventListener('resize', drawHead);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
}

start();
