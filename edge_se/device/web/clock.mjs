// Durations by a clock that may be coarse: browsers round performance.now() to 5 µs, 100 µs or 1 ms.

const CHANGES = 25;
export const TICKS = 50; // of the clock in one sample, so that one tick is at most 2 % of it

/** Milliseconds between two values that the clock can show: the median of some changes. */
export function resolution(now = () => performance.now()) {
  const steps = [];
  for (let last = now(); steps.length < CHANGES;) {
    const next = now();
    if (next > last) {
      steps.push(next - last);
      last = next;
    }
  }
  return steps.sort((one, other) => one - other)[CHANGES >> 1];
}

/** Runs `call` for `milliseconds` and at least once; the mean of its durations in milliseconds. */
export async function warmedUp(call, milliseconds, now = () => performance.now()) {
  const start = now();
  let runs = 0;
  do {
    await call();
    runs += 1;
  } while (now() - start < milliseconds);
  return (now() - start) / runs;
}

/** How many runs of so many milliseconds make a sample that the clock can measure. */
export function runsOfASample(tick, milliseconds) {
  return Math.max(1, Math.ceil(TICKS * tick / Math.max(milliseconds, tick / TICKS)));
}

/** Milliseconds of one run in each sample of `runs` runs, for `seconds` and `least` samples; and of all together. */
export async function sampled(call, runs, seconds, least, now = () => performance.now()) {
  const samples = [], start = now(), end = start + 1000 * seconds;
  let before = start;
  while (samples.length < least || before < end) {
    before = now();
    for (let run = 0; run < runs; run++) await call();
    const after = now();
    samples.push((after - before) / runs);
    before = after;
  }
  return {samples, window: (before - start) / 1000};
}

/** `sampled`, with more than `runs` runs a sample where most are too short for the clock: the warm-up was disturbed. */
export async function settled(call, tick, runs, seconds, least, now = () => performance.now()) {
  for (;;) {
    const told = await sampled(call, runs, seconds, least, now);
    const median = [...told.samples].sort((one, other) => one - other)[told.samples.length >> 1];
    if (2 * runs * median >= TICKS * tick) return {...told, runs};
    const mean = 1000 * told.window / told.samples.length / runs; // where no tick came in most samples
    runs = Math.max(2 * runs, runsOfASample(tick, median || mean));
  }
}
