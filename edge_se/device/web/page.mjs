// A browser's page: what it is, whether it was in front, and the agent's conversation.

import {Agent} from "./agent.mjs";
import {talk} from "./talk.mjs";

const [, token] = location.pathname.split("/"), KEY = "edge-se-key";
const said = document.getElementById("said");
let hidden = document.hidden; // at any time since the page was loaded

function tell(text) {
  said.textContent = text;
}

/** Name without the version, the version, and the system: user agents name every browser that they are like. */
async function facts() {
  const brands = navigator.userAgentData?.brands.filter(one => !/not.?a.?brand/i.test(one.brand)) ?? [];
  const brand = brands.find(one => one.brand !== "Chromium") ?? brands[0];
  const agent = navigator.userAgent;
  const [, name, version] = brand ? [null, brand.brand, brand.version]
    : agent.match(/(Firefox|FxiOS|CriOS|Edg|Chrome)\/([\d.]+)/) ?? agent.match(/()Version\/([\d.]+).*Safari/) ?? [];
  const hints = await navigator.userAgentData?.getHighEntropyValues(["model", "platformVersion", "architecture"]);
  const system = hints?.platform || agent.match(/iPhone|iPad|Android|Windows|Mac OS X|Linux/)?.[0] || "unknown system";
  const place = hints?.model || [system, hints?.architecture].filter(Boolean).join(" ");
  return {name: `${name || "Safari"} on ${place}`, system: [system, hints?.platformVersion].filter(Boolean).join(" "),
    browser: {name: name || "Safari", version: version ?? null, user_agent: agent}};
}

document.addEventListener("visibilitychange", () => {
  hidden ||= document.hidden;
});
window.addEventListener("pagehide", () => {
  const key = sessionStorage.getItem(KEY);
  if (key) fetch("/gone", {method: "POST", keepalive: true, headers: {Authorization: `Bearer ${key}`}});
});
try {
  await navigator.wakeLock?.request("screen");
} catch {
  // a battery that is low, or a page that is neither https nor localhost: the user is asked to keep the screen on
}
try {
  const agent = new Agent({facts, state: () => ({hidden}), runtime: `${location.origin}/ort/`,
    spawn: () => new Worker("/web/session.mjs", {type: "module"})});
  await talk(location.origin, token, agent,
    {get: () => sessionStorage.getItem(KEY), set: key => sessionStorage.setItem(KEY, key)}, tell);
  sessionStorage.removeItem(KEY);
  tell("Measured. The figures are where the measurement was started; this page can be closed.");
} catch (error) {
  tell(error.message);
}
