// The device's side in a browser or in node: the operations of edge_se/device/agent/server.py that a page can do.

import {PROTOCOL} from "./frames.mjs";
import {resolution} from "./clock.mjs";
import {tensor} from "./pixels.mjs";

const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98,
  11]; // a module with one SIMD instruction
const RUNTIMES = {"onnxruntime-web": "wasm", "onnxruntime-web-webgpu": "webgpu"};
const KEPT = 128 << 20; // bytes of images that the page keeps: the older ones are sent again
const SAME = "use the same version on both sides";
const NO_WEBGPU = "no WebGPU here: the browser has none, or the page is neither https nor localhost";
const NO_THREADS = "the page has no SharedArrayBuffer, without which onnxruntime-web runs on one thread";
const SECURE = "use --threads 1, or open the page at localhost: browsers give threads to https and localhost alone";

class Refusal extends Error {
  constructor(kind, what, fix = "") {
    super(what);
    Object.assign(this, {kind, fix});
  }
}

/** What a worker is asked, as promises. */
class Worker {
  constructor(started) {
    this.started = started;
    this.waiting = new Map();
    this.count = 0;
    this.ended = null; // why it answers nothing more
    started.onmessage = ({data: {id, error, ...told}}) => {
      const {resolve, reject} = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(new Refusal(error.kind, error.what, error.fix));
      else resolve(told);
    };
    started.onerror = event => {
      this.ended = new Refusal("runtime", `the worker of the model ended (${event.message ?? "no word"})`,
        "close other pages there, and run it again");
      for (const {reject} of this.waiting.values()) reject(this.ended);
      this.waiting.clear();
    };
  }

  ask(op, request) {
    return new Promise((resolve, reject) => {
      if (this.ended) throw this.ended;
      const id = this.count++;
      this.waiting.set(id, {resolve, reject});
      this.started.postMessage({id, op, ...request});
    });
  }
}

/**
 * Answers one request after the other. `place` is what differs: facts() and state() of the browser or of node, the
 * address of the runtime's folder, and spawn(), which starts session.mjs.
 */
export class Agent {
  constructor(place) {
    this.place = place;
    this.received = new Map(); // models and images by hash, the older first: {content, kind, whole}
    this.sessions = new Map();
  }

  /** (header, payload) -> [answer, payload]; never throws. */
  async answer(header, payload) {
    const operation = OPERATIONS[header.op];
    try {
      if (!operation) throw new Refusal("protocol", `unknown request '${header.op}'`, SAME);
      const {payload: content, ...told} = await operation.call(this, header, payload);
      return [{...told, ok: true}, new Uint8Array(content ?? 0)];
    } catch (error) {
      const what = error instanceof Refusal ? error.message : String(error.stack ?? error);
      return [{ok: false, error: {kind: error.kind ?? "bug", what, fix: error.fix ?? ""}}];
    }
  }

  /** Ends every worker at once. */
  end() {
    for (const worker of this.sessions.values()) worker.started.terminate();
    this.sessions.clear();
    this.received.clear();
  }

  /** Room for so many bytes of images. */
  make(bytes) {
    const images = [...this.received].filter(([, {kind}]) => kind === "images");
    let kept = images.reduce((sum, [, {content}]) => sum + content.length, bytes);
    for (const [sha256, {content}] of bytes ? images : []) {
      if (kept <= KEPT) break;
      this.received.delete(sha256);
      kept -= content.length;
    }
  }

  session(header) {
    const worker = this.sessions.get(header.session);
    if (!worker) throw new Refusal("protocol", `no session '${header.session}'`);
    return worker;
  }
}

const OPERATIONS = {
  hello(header) {
    if (header.protocol !== PROTOCOL)
      throw new Refusal("protocol", `the host speaks protocol ${header.protocol}, this page ${PROTOCOL}`, SAME);
    return {protocol: PROTOCOL};
  },

  async describe() {
    const {env} = await import(this.place.runtime + "ort.wasm.bundle.min.mjs");
    const version = env.versions.web ?? env.versions.common, wasm = {version};
    if (!simd()) wasm.reason = "this browser has no SIMD in WebAssembly";
    const webgpu = {version, automatic: false};
    if (!navigator.gpu) webgpu.reason = NO_WEBGPU;
    const {browser, ...facts} = await this.place.facts();
    return {device: {
      jetson: false, l4t: null, machine: "wasm32", cpu: null, gpu: null, power_sources: [],
      cores: navigator.hardwareConcurrency ?? null,
      flags: [...(simd() ? ["simd128"] : []), ...(threads() ? ["threads"] : [])],
      memory: navigator.deviceMemory ? navigator.deviceMemory * 2 ** 30 : null,
      runtimes: {"onnxruntime-web": wasm, "onnxruntime-web-webgpu": webgpu}, ...facts,
      browser: {...browser, simd: simd(), shared_array_buffer: threads(),
        cross_origin_isolated: globalThis.crossOriginIsolated ?? null,
        secure_context: globalThis.isSecureContext ?? null, clock_resolution_ms: resolution()}}};
  },

  state() {
    return {state: {power_mode: null, clocks_locked: null, governors: {}, clocks_hz: {}, temps_c: {}, throttle: {},
      jetson: false, browser: true, ...this.place.state()}};
  },

  idle() {
    return {power: []};
  },

  has(header) {
    return {has: this.received.get(header.sha256)?.whole ?? false};
  },

  async put(header, payload) {
    if (header.offset === 0) {
      this.make(header.kind === "images" ? header.total : 0);
      this.received.set(header.sha256, {content: new Uint8Array(header.total), kind: header.kind, whole: false});
    }
    const file = this.received.get(header.sha256);
    file.content.set(payload, header.offset);
    if (header.offset + payload.length < header.total) return {};
    const arrived = await sha256(file.content);
    if (arrived !== null && arrived !== header.sha256)
      throw new Refusal("protocol", "a file arrived altered", "run it again");
    file.whole = true;
    return {};
  },

  async open(header) {
    const count = header.threads || (threads() ? navigator.hardwareConcurrency : 1); // 0: all that it may have
    if (count > 1 && !threads()) throw new Refusal("runtime", NO_THREADS, SECURE);
    const worker = new Worker(this.place.spawn());
    this.sessions.get(header.session)?.started.terminate();
    this.sessions.set(header.session, worker);
    const asWritten = (header.rules ?? []).some(rule => rule.runtime === header.runtime && rule.as_written);
    return worker.ask("open", {runtime: this.place.runtime, provider: RUNTIMES[header.runtime], threads: count,
      asWritten, content: this.received.get(header.sha256).content});
  },

  async answer(header) {
    const worker = this.session(header), {content} = this.received.get(header.sha256), {batch, fixed} = header;
    const [images, ...image] = header.shape, size = image.reduce((product, side) => product * side, 1);
    let logits = null;
    for (let start = 0; start < images; start += batch) {
      const count = Math.min(batch, images - start), filled = fixed ? batch : count;
      const pixels = new Uint8Array(filled * size);
      pixels.set(content.subarray(start * size, (start + count) * size));
      for (let missing = count; missing < filled; missing++)
        pixels.copyWithin(missing * size, (count - 1) * size, count * size);
      const {values, shape, dtype} = tensor(pixels, [filled, ...image], header.preprocessing);
      const {payload, shape: [, classes]} = await worker.ask("run", {images: values.buffer, shape, dtype});
      logits ??= new Float32Array(images * classes);
      logits.set(new Float32Array(payload, 0, count * classes), start * classes);
    }
    return {shape: [images, logits.length / images], payload: logits.buffer};
  },

  run(header, payload) {
    return this.session(header).ask("run", images(header, payload));
  },

  time(header, payload) {
    const {min_duration, min_runs, warmup} = header;
    return this.session(header).ask("time", {...images(header, payload), min_duration, min_runs, warmup});
  },

  close(header) {
    this.sessions.get(header.session)?.started.terminate();
    this.sessions.delete(header.session);
    return {};
  },

  bye() {
    this.end();
    return {};
  },
};

function images(header, payload) {
  return {images: payload.slice().buffer, shape: header.shape, dtype: header.dtype};
}

function simd() {
  return WebAssembly.validate(new Uint8Array(SIMD));
}

function threads() {
  return typeof SharedArrayBuffer !== "undefined";
}

/** Hexadecimal; null on a page that is neither https nor localhost, where browsers compute none. */
async function sha256(content) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return [...digest].map(byte => byte.toString(16).padStart(2, "0")).join("");
}
