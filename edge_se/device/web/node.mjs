// The same agent in node: node node.mjs ADDRESS FOLDER, a page's address and the folder of onnxruntime-web's files.

import os from "node:os";
import {pathToFileURL} from "node:url";
import {Worker} from "node:worker_threads";

import {Agent} from "./agent.mjs";
import {talk} from "./talk.mjs";

const [address, folder] = process.argv.slice(2);
const {origin, pathname} = new URL(address);
globalThis.navigator ??= {hardwareConcurrency: os.availableParallelism()}; // node 20 has none

function spawn() {
  const worker = new Worker(new URL("session.mjs", import.meta.url));
  worker.on("message", data => worker.onmessage({data}));
  worker.on("error", error => worker.onerror(error));
  return worker;
}

function facts() {
  const cpu = os.cpus()[0]?.model, {node: version, v8} = process.versions;
  return {name: `node on ${cpu ?? process.arch}`, cpu, system: `${os.type()} ${os.release()}`, memory: os.totalmem(),
    browser: {name: "node", version, user_agent: `node ${version}, V8 ${v8}`}};
}

let key = null;
const agent = new Agent({facts, spawn, runtime: `${pathToFileURL(folder)}/`, state: () => ({hidden: false})});
await talk(origin, pathname.slice(1), agent, {get: () => key, set: given => { key = given; }}, () => {});
process.exit(0); // workers of threads would keep it alive
