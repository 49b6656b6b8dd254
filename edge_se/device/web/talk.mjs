// The conversation with the program that measures, over HTTP: requests are fetched and answers sent back. Both are
// counted, so that one that was lost on the way is fetched or sent again.

import {decoded, encoded} from "./frames.mjs";

const PATIENCE_MS = 45000; // without an answer from the host; it waits a little longer for the page
const PAUSE_MS = 500;

export class Ended extends Error {}

/**
 * Joins with the address's token and answers until the host says bye. `kept` remembers the key that the host gives:
 * {get(), set(key)}. Ended with the reason when it is over before.
 */
export async function talk(base, token, agent, kept, tell) {
  for (;;) {
    const joined = await asked(`${base}/join`, {method: "POST", body: JSON.stringify({token, key: kept.get()})});
    if (joined.status === 410) throw new Ended("This address was used by another page. Start the measurement again.");
    if (!joined.ok) throw new Ended("This address is not valid. Start the measurement again.");
    const {key} = await joined.json();
    kept.set(key);
    tell("Measuring. Keep this page in front and the screen on.");
    if (await answering(base, key, agent)) return;
    agent.end(); // the host gave this page up while it slept, and takes it back
  }
}

/** True after the host's bye, false when the host no longer knows this connection. */
async function answering(base, key, agent) {
  const headers = {Authorization: `Bearer ${key}`}, waiting = [];
  let busy = null, answered = 0, over = null;
  const work = async () => {
    while (waiting.length && over === null) {
      const [header, payload] = waiting.shift();
      const frame = encoded(...await agent.answer(header, payload));
      const sent = await asked(`${base}/answer/${answered}`, {method: "POST", headers, body: frame});
      answered += 1;
      if (header.op === "bye") over = true;
      else if (!sent.ok) over = false;
    }
    busy = null;
  };
  for (let got = 0; over === null;) {
    const response = await asked(`${base}/next/${got}`, {method: "POST", headers});
    if (over !== null) break;
    if (response.status === 204) continue;
    if (!response.ok) {
      await busy;
      return over ?? false;
    }
    const [header, payload] = decoded(await response.arrayBuffer());
    got += 1;
    if (header.op === "abort") {
      agent.end();
      throw new Ended("The measurement was stopped.");
    }
    if (header.op === "ping") continue;
    waiting.push([header, payload]);
    busy ??= work();
    if (header.op === "bye") await busy;
  }
  return over;
}

/** `fetch` that tries again while the network is away. */
async function asked(url, options) {
  for (const end = Date.now() + PATIENCE_MS; ;) {
    try {
      return await fetch(url, {...options, cache: "no-store"});
    } catch {
      if (Date.now() > end) throw new Ended("The program that measures has ended, or the network is away.");
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS));
    }
  }
}
