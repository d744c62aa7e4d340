// The page of `attenta view` in a browser: node browser_test.mjs ATTENTA GOLDEN. Ends with 77 where there is no browser.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {pathToFileURL} from 'node:url';
import {findBrowser, Page} from './browser.mjs';

const [attenta, golden] = process.argv.slice(2), browser = findBrowser();
if (!browser) {
  console.log('no Chromium');
  process.exit(77);
}
const folder = mkdtempSync(join(tmpdir(), 'attenta_view_'));
const questCase = join(golden, 'sparse/quest/several_queries.safetensors');
const prompt = 'let kavo=4821\nlet begi=1760\nget kavo=';
let page;

before(async () => { page = await Page.open(browser); });
after(async () => {
  await page.close();
  rmSync(folder, {recursive: true});
});

/** Opens the page that the program writes for these arguments. */
async function show(...args) {
  const out = join(folder, 'page.html');
  execFileSync(attenta, ['view', ...args, '--out', out]);
  page.errors = [];
  page.requests = [];
  await page.size(1400, 1000);
  await page.prefer('light');
  await page.go(pathToFileURL(out).href);
}
const showModel = () => show('--prompt', prompt, '--policy', 'h2o', '--budget', '8', '--prefill', '9',
                             '--selection', 'quest:page_size=4:top_pages=2');

/** Moves the mouse to the middle of a tile. */
async function hover(row, col) {
  const [x, y] = await page.run((r, c) => {
    const box = document.getElementById('cursor').getBoundingClientRect();
    return [box.left + margin.left + (c + 0.5) * cell.width, box.top + margin.top + (r + 0.5) * cell.height];
  }, row, col);
  await page.hover(x, y);
}

/** The colour of a tile's upper left quarter, where no line of the cursor is. */
const colour = (row, col) => page.run((r, c) => {
  const ratio = window.devicePixelRatio, x = margin.left + (c + 0.3) * cell.width, y = margin.top + (r + 0.3) * cell.height;
  return [...document.getElementById('map').getContext('2d').getImageData(x * ratio, y * ratio, 1, 1).data].join();
}, row, col);

const choose = (id, value) => page.run((i, v) => {
  const select = document.getElementById(i);
  select.value = v;
  select.dispatchEvent(new Event('change'));
}, id, value);

const selected = () => page.run(() => document.querySelector('[aria-selected="true"]').getAttribute('aria-label'));
const focused = () => page.run(() => document.activeElement.id || document.activeElement.className);

/** Tensors of F32, [H, T, D], of a .safetensors file. */
function tensor(path, name) {
  const bytes = readFileSync(path), length = Number(bytes.readBigUInt64LE(0));
  const {shape, data_offsets: [begin, end]} = JSON.parse(bytes.toString('utf8', 8, 8 + length))[name];
  const numbers = [];
  for (let at = 8 + length + begin; at < 8 + length + end; at += 4) numbers.push(bytes.readFloatLE(at));
  const [heads, tokens, dim] = shape;
  return {heads, tokens, dim, row: (h, t) => numbers.slice((h * tokens + t) * dim, (h * tokens + t + 1) * dim)};
}

/** Causal softmax attention of a head, from its definition. */
function weights(q, k, head) {
  const offset = k.tokens - q.tokens;
  return Array.from({length: q.tokens}, (_, i) => {
    const scores = Array.from({length: k.tokens}, (_, j) => {
      const a = q.row(head, i), b = k.row(Math.floor(head * k.heads / q.heads), j);
      return j > i + offset ? -Infinity : a.reduce((sum, x, c) => sum + x * b[c], 0) / Math.sqrt(q.dim);
    });
    const top = Math.max(...scores), e = scores.map(s => Math.exp(s - top)), sum = e.reduce((x, y) => x + y);
    return e.map(x => x / sum);
  });
}

/** Three digits of a weight that the page has in float16. */
function assertShown(text, wanted) {
  assert.match(text, /^[0-9.e-]+$/);
  assert.ok(Math.abs(Number(text) - wanted) <= 6e-3 * wanted + 1e-7, `${text} is not ${wanted}`);
}

test('the overview has a cell for each layer and head', async () => {
  await showModel();
  const counts = await page.run(() => [...document.querySelectorAll('#overview [role="row"]')].map(
    row => row.querySelectorAll('[role="gridcell"]').length));
  assert.deepEqual(counts, [4, 4, 4]);
  assert.equal(await page.text('facts'), `3 layers of 4 heads, ${prompt.length} queries × ${prompt.length} keys`);
});

test('arrow keys choose a head', async () => {
  await showModel();
  await page.run(() => document.querySelector('.head').focus());
  for (const [key, title] of [['ArrowRight', 'Layer 0, head 1'], ['ArrowDown', 'Layer 1, head 1'], ['End', 'Layer 1, head 3'],
                              ['ArrowRight', 'Layer 1, head 3'], ['ArrowLeft', 'Layer 1, head 2'], ['ArrowUp', 'Layer 0, head 2'],
                              ['ArrowUp', 'Layer 0, head 2'], ['Home', 'Layer 0, head 0'], ['p', 'Layer 0, head 0'],
                              ['n', 'Layer 0, head 1']]) {
    await page.press(key);
    assert.equal(await page.text('head-title'), title, key);
    assert.ok((await selected()).startsWith(title.toLowerCase()), key);
    assert.equal(await page.run(() => document.activeElement.getAttribute('aria-selected')), 'true', key);
  }
});

test('a click chooses a head', async () => {
  await showModel();
  await page.run(() => document.querySelectorAll('.head')[6].click());
  assert.equal(await page.text('head-title'), 'Layer 1, head 2');
});

test('arrow keys move in the map, too', async () => {
  await showModel();
  await page.run(() => document.querySelector('.head').focus());
  await page.press('Enter');
  assert.equal(await focused(), 'cursor');
  for (const key of ['ArrowUp', 'ArrowRight', 'ArrowRight']) await page.press(key);
  assert.equal(await page.text('where-query'), `${prompt.length - 2} “o”`);
  assert.equal(await page.text('where-key'), '2 “t”');
  await page.press('ArrowRight', 8);
  assert.equal(await page.text('where-key'), '12 “1”');
  await page.press('Escape');
  assert.equal(await focused(), 'head');
});

test('a tile shows its query, its key and their weight', async () => {
  await show(questCase);
  const q = tensor(questCase, 'in.q'), k = tensor(questCase, 'in.k');
  for (let head = 0; head < q.heads; ++head) {
    await page.run(h => document.querySelectorAll('.head')[h].click(), head);
    const a = weights(q, k, head);
    for (const [i, j] of [[0, 0], [7, 20], [11, 57], [3, 49], [5, 33]]) {
      await hover(i, j);
      assert.equal(await page.text('where-query'), String(i + k.tokens - q.tokens));
      assert.equal(await page.text('where-key'), String(j));
      assertShown(await page.text('where-weight'), a[i][j]);
    }
    await hover(0, 57);
    assert.equal(await page.text('where-weight'), '0', 'a later key');
    assert.equal(await page.text('where-kept'), '–', 'a later key');
    const entropy = a.flat().reduce((sum, w) => sum - (w > 0 ? w * Math.log(w) : 0), 0) / q.tokens;
    assertShown((await page.text('entropy')).replace(' nats', ''), entropy);
    const sink = a.reduce((sum, row) => sum + row[0], 0) / q.tokens;
    assert.ok(Math.abs(parseFloat(await page.text('sink')) - 100 * sink) <= 0.051, 'one decimal');
  }
});

test('pooled tiles show the largest and the mean weight', async () => {
  await show(questCase, '--pool', '6');
  const a = weights(tensor(questCase, 'in.q'), tensor(questCase, 'in.k'), 0);
  await hover(2, 3);
  const pairs = [4, 5].flatMap(i => a[i].slice(30, 40));
  const [, max, mean] = (await page.text('where-weight')).match(/^max (.*), mean (.*)$/);
  assertShown(max, Math.max(...pairs));
  assertShown(mean, pairs.reduce((x, y) => x + y) / pairs.length);
  assert.equal(await page.text('where-key'), '30–39');
  const largest = Number(await page.text('legend-high'));
  assertShown(String(largest), Math.max(...a.flat()));
  await page.press('m');
  assert.equal(await page.run(() => document.getElementById('value').value), 'mean');
  assert.ok(Number(await page.text('legend-high')) < largest);
});

test('an overlay can be taken off and changed', async () => {
  await showModel();
  const last = prompt.length - 1;
  // A token that the policy dropped and that weighs something.
  await page.run(() => document.querySelectorAll('.head')[8].click());
  const col = await page.run(row => {
    const head = data.heads[8], kept = tiles(head, 0), mean = tiles(head, 'mean');
    return [...Array(cols).keys()].find(c => kept[row * cols + c] === 0 && mean[row * cols + c] > 0);
  }, last);
  await hover(last, col);
  assert.equal(await page.text('where-kept'), 'no');
  assert.equal(await page.text('kept-name'), 'weight that h2o keeps');
  const tinted = await colour(last, col);
  await choose('overlay', '-1');
  assert.notEqual(await colour(last, col), tinted);
  for (const id of ['where-kept-row', 'kept-number', 'swatch-label'])
    assert.equal(await page.run(i => document.getElementById(i).hidden, id), true, id);
  for (const [name, shown] of [['h2o', true], ['quest', true], ['', false]]) {
    await page.press('o');
    assert.equal(await page.run(() => document.getElementById('kept-number').hidden), !shown);
    if (shown) assert.equal(await page.text('kept-name'), `weight that ${name} keeps`);
  }
});

test('light and dark follow the system, and the choice', async () => {
  await showModel();
  const looks = async () => [await page.run(() => getComputedStyle(document.body).backgroundColor),
                             await page.run(() => getComputedStyle(document.body).color), await colour(0, 0), await colour(0, 5)];
  const light = await looks();
  await page.prefer('dark');
  await page.run(() => new Promise(requestAnimationFrame));
  const dark = await looks();
  light.forEach((look, i) => assert.notEqual(look, dark[i]));
  await choose('theme', 'light');
  assert.deepEqual(await looks(), light);
  await page.prefer('light');
  await choose('theme', 'dark');
  assert.deepEqual(await looks(), dark);
  await choose('theme', '');
  assert.deepEqual(await looks(), light);
});

test('the page fits wide and narrow windows', async () => {
  await showModel();
  for (const width of [1400, 900, 420]) {
    await page.size(width, 900);
    await page.run(() => new Promise(requestAnimationFrame));
    assert.ok(await page.run(() => document.documentElement.scrollWidth <= window.innerWidth), `${width} pixels`);
  }
});

test('nothing is an error, and nothing is fetched', async () => {
  await showModel();
  for (const key of ['m', 'l', 'o', 't', 't', 'l']) await page.press(key);
  await hover(3, 2);
  assert.deepEqual(page.errors, []);
  assert.deepEqual(page.requests, [pathToFileURL(join(folder, 'page.html')).href]);
});
