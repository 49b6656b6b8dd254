// One model in onnxruntime-web, in a worker of its own: the number of threads and the memory are a worker's.
// Messages: {id, op, ...} -> {id, ...answer} or {id, error: {kind, what, fix}}.

import {resolution, runsOfASample, settled, TICKS, warmedUp} from "./clock.mjs";

const inNode = typeof self === "undefined";
const port = inNode ? (await import("node:worker_threads")).parentPort : self;
const memories = [];
WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
  construct(made, given) {
    const memory = Reflect.construct(made, given);
    memories.push(memory);
    return memory;
  },
});
const PROVIDERS = {
  // With threads, the build for browsers fetches a script, and fetch of node reads no files.
  wasm: inNode ? "ort.node.min.mjs" : "ort.wasm.bundle.min.mjs",
  webgpu: "ort.webgpu.bundle.min.mjs",
};
const TYPES = {"<f4": ["float32", Float32Array], "|u1": ["uint8", Uint8Array]};
let ort, session, tick;
const runs = new Map(); // of a sample, by batch size: the same in every turn

function refusal(kind, what, fix) {
  return Object.assign(new Error(what), {kind, fix});
}

/** The refusal where the library itself does not load, whatever the model. */
function broken(error) {
  return refusal("runtime", `onnxruntime-web does not start (${error.message ?? error})`,
    "run it again; if it stays so, `npm install onnxruntime-web` anew");
}

async function open({runtime, provider, threads, content, asWritten}) {
  try {
    ort = await import(runtime + PROVIDERS[provider]);
  } catch (error) {
    throw broken(error);
  }
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const settings = {intra_op: {allow_spinning: threads === 1 ? "1" : "0"}};
  if (provider !== "wasm") settings.disable_cpu_ep_fallback = "1"; // else a part of the graph would run in wasm unseen
  try {
    session = await ort.InferenceSession.create(content, {
      executionProviders: [provider], graphOptimizationLevel: asWritten ? "disabled" : "all", logSeverityLevel: 3,
      extra: {session: settings}});
  } catch (error) {
    const why = error.message ?? String(error);
    if (provider === "wasm" && why.startsWith("no available backend")) throw broken(error);
    const fix = provider === "wasm" ? "export again" : "use --backend onnxruntime-web";
    throw refusal("model", `onnxruntime-web cannot load it with ${provider} alone (${why})`, fix);
  }
  if (ort.env.wasm.numThreads !== threads)
    throw refusal("runtime", `onnxruntime-web runs on ${ort.env.wasm.numThreads} threads, not on ${threads}`,
      "use --threads 1");
  tick = resolution();
  return {tells: {provider, threads, ...memory()}};
}

function memory() {
  const bytes = memories.reduce((sum, one) => sum + one.buffer.byteLength, 0);
  return bytes ? {peak_memory_bytes: bytes} : {}; // WebAssembly's memory grows and never shrinks
}

/** A call without arguments that runs `images` and gives its logits. */
function call({images, shape, dtype}) {
  const [type, Values] = TYPES[dtype];
  const feeds = {[session.inputNames[0]]: new ort.Tensor(type, new Values(images), shape)};
  const output = session.outputNames[0];
  return async () => (await session.run(feeds, [output]))[output];
}

async function run(request) {
  const logits = await call(request)();
  return {shape: [...logits.dims], payload: Float32Array.from(await logits.getData()).buffer};
}

async function time(request) {
  const own = call(request), batch = request.shape[0];
  const mean = await warmedUp(own, Math.max(1000 * request.warmup, TICKS * tick));
  if (!runs.has(batch)) runs.set(batch, runsOfASample(tick, mean));
  const {samples, window, runs: enough} = await settled(
    own, tick, runs.get(batch), request.min_duration, request.min_runs);
  runs.set(batch, enough);
  const nanoseconds = BigInt64Array.from(samples, one => BigInt(Math.round(1e6 * one)));
  return {window_s: window, power: [], payload: nanoseconds.buffer,
    tells: {clock_resolution_ms: tick, runs_per_sample: runs.get(batch), ...memory()}};
}

const operations = {open, run, time};

async function answer({id, op, ...request}) {
  try {
    const told = await operations[op](request);
    port.postMessage({id, ...told}, told.payload ? [told.payload] : []);
  } catch (error) {
    const memoryless = error instanceof RangeError || /out of memory|bad_alloc/i.test(error.message ?? "");
    port.postMessage({id, error: memoryless
      ? {kind: "memory", what: "the page is out of memory", fix: "use a smaller --batch, or close other pages"}
      : {kind: error.kind ?? "bug", what: error.kind ? error.message : String(error.stack ?? error),
        fix: error.fix ?? ""}});
  }
}

if (port.on) port.on("message", answer);
else port.onmessage = event => answer(event.data);
