// What host and agent write to each other, as edge_se/device/agent/frames.py has it: 4 bytes length, JSON, payload.

export const PROTOCOL = 1;

/** (header, payload) -> one frame. */
export function encoded(header, payload = new Uint8Array(0)) {
  const text = new TextEncoder().encode(JSON.stringify({...header, bytes: payload.length}));
  const frame = new Uint8Array(4 + text.length + payload.length);
  new DataView(frame.buffer).setUint32(0, text.length);
  frame.set(text, 4);
  frame.set(payload, 4 + text.length);
  return frame;
}

/** One frame (ArrayBuffer) -> [header, payload]. */
export function decoded(frame) {
  const length = new DataView(frame).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(frame, 4, length)));
  return [header, new Uint8Array(frame, 4 + length)];
}
