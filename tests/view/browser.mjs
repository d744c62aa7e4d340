// A headless Chromium by its DevTools protocol, through the pipes that it offers for that: no library is needed.
import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {delimiter, join} from 'node:path';
import {accessSync, constants} from 'node:fs';

/** The browser's path, or undefined. */
export function findBrowser() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'chrome'];
  const paths = (process.env.PATH ?? '').split(delimiter).flatMap(folder => names.map(name => join(folder, name)));
  return [process.env.CHROMIUM, ...paths].filter(Boolean).find(path => {
    try { accessSync(path, constants.X_OK); return true; } catch { return false; }
  });
}

/** One page of a browser of its own. */
export class Page {
  errors = [];    // what the console shows as such
  requests = [];  // addresses
  #browser; #profile; #session; #last = 0; #unread = '';
  #answers = new Map(); #waiting = new Map();

  static async open(path) {
    const page = new Page();
    page.#profile = mkdtempSync(join(tmpdir(), 'attenta_browser_'));
    page.#browser = spawn(path, ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-extensions',
                                 '--disable-background-networking', '--disable-component-update',
                                 '--remote-debugging-pipe', `--user-data-dir=${page.#profile}`],
                          {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
    page.#browser.on('exit', () => page.#answers.forEach(({reject}) => reject(new Error('the browser has ended'))));
    page.#browser.stdio[3].on('error', () => {});
    page.#browser.stdio[4].setEncoding('utf8').on('data', text => page.#read(text));
    const {targetId} = await page.send('Target.createTarget', {url: 'about:blank'});
    page.#session = (await page.send('Target.attachToTarget', {targetId, flatten: true})).sessionId;
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(domain + '.enable');
    return page;
  }

  async close() {
    const ended = new Promise(resolve => this.#browser.on('exit', resolve));
    this.#answers.clear();
    this.#browser.kill();
    await ended;
    rmSync(this.#profile, {recursive: true, force: true, maxRetries: 5});
  }

  send(method, params = {}) {
    const id = ++this.#last;
    this.#browser.stdio[3].write(JSON.stringify({id, method, params, sessionId: this.#session}) + '\0');
    return new Promise((resolve, reject) => this.#answers.set(id, {resolve, reject, method}));
  }

  /** The next event of that name. */
  event(name) { return new Promise(resolve => this.#waiting.set(name, resolve)); }

  async go(url) {
    const loaded = this.event('Page.loadEventFired');
    await this.send('Page.navigate', {url});
    await loaded;
  }

  /** The value of a function that runs in the page. */
  async run(f, ...args) {
    const expression = `(${f})(...${JSON.stringify(args)})`;
    const {result, exceptionDetails} = await this.send('Runtime.evaluate', {expression, returnByValue: true, awaitPromise: true});
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  text(id) { return this.run(i => document.getElementById(i).textContent, id); }
  hover(x, y) { return this.send('Input.dispatchMouseEvent', {type: 'mouseMoved', x, y}); }
  size(width, height) {
    return this.send('Emulation.setDeviceMetricsOverride', {width, height, deviceScaleFactor: 1, mobile: false});
  }
  prefer(scheme) {
    return this.send('Emulation.setEmulatedMedia', {features: [{name: 'prefers-color-scheme', value: scheme}]});
  }
  async press(key, modifiers = 0) {
    const text = key.length === 1 ? {text: key} : key === 'Enter' ? {text: '\r'} : {};
    await this.send('Input.dispatchKeyEvent', {type: 'keyDown', key, modifiers, ...text});
    await this.send('Input.dispatchKeyEvent', {type: 'keyUp', key, modifiers});
  }

  #read(text) {
    const messages = (this.#unread + text).split('\0');
    this.#unread = messages.pop();
    for (const message of messages.map(m => JSON.parse(m))) {
      const answer = this.#answers.get(message.id);
      this.#answers.delete(message.id);
      if (message.error) answer?.reject(new Error(`${answer.method}: ${message.error.message}`));
      else if (answer) answer.resolve(message.result);
      else this.#note(message.method, message.params);
    }
  }

  #note(method, params) {
    if (method === 'Runtime.exceptionThrown') this.errors.push(params.exceptionDetails.exception?.description);
    if (method === 'Runtime.consoleAPICalled' && params.type === 'error') this.errors.push(JSON.stringify(params.args));
    if (method === 'Log.entryAdded' && params.entry.level === 'error') this.errors.push(params.entry.text);
    if (method === 'Network.requestWillBeSent') this.requests.push(params.request.url);
    this.#waiting.get(method)?.(params);
    this.#waiting.delete(method);
  }
}
