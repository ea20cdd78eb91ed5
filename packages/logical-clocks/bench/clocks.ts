/*
 * Hybrid logical clock: reading and observing, beside npm peers and the limit, which is reading the wall clock and
 * making the result. Version vectors: merge and compare at 3, 16 and 128 nodes beside npm peers and the limit, a
 * bare loop over two arrays of numbers in the same order. The contestants take turns; the median round counts.
 */
import { createRequire } from 'node:module';
import { createHlc, type Hlc, openHlc, VersionVector } from '@quorate/logical-clocks';
import { seededRandom, systemRuntime } from '@quorate/runtime';

const require = createRequire(import.meta.url);
const PeerHlc = require('@consento/hlc') as new () => { now(): unknown; update(other: unknown): void };
const simple = require('@tpp/hybrid-logical-clock') as { nxt(): string; recv(remote: string): string };
const vectorclock = require('vectorclock') as {
  merge(a: Record<string, number>, b: Record<string, number>): unknown;
  compare(a: Record<string, number>, b: Record<string, number>): number;
};
const thing = require('@thi.ng/vclock') as {
  merge(a: Record<string, number>, b: Record<string, number>): unknown;
  compare(a: Record<string, number>, b: Record<string, number>): number;
};

const ROUNDS = 9;
const ROUND_MS = 60;
let sink: unknown;

interface Contestant {
  readonly name: string;
  /** Does the work `times` times. */
  readonly run: (times: number) => void;
}

/** Each contestant's operations per second, in the median of rounds that take turns. */
function race(contestants: readonly Contestant[]): Map<string, number> {
  const batches = contestants.map(({ run }) => {
    let times = 64;
    for (;;) {
      const start = systemRuntime.monotonic();
      run(times);
      const elapsed = systemRuntime.monotonic() - start;
      if (elapsed > ROUND_MS / 2) return Math.ceil((times * ROUND_MS) / elapsed);
      times *= 2;
    }
  });
  const rates = contestants.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    contestants.forEach(({ run }, at) => {
      const times = batches[at] ?? 1;
      const start = systemRuntime.monotonic();
      run(times);
      rates[at]?.push((times * 1000) / (systemRuntime.monotonic() - start));
    });
  }
  return new Map(
    contestants.map(({ name }, at) => [name, rates[at]?.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0]),
  );
}

function report(title: string, ours: string, rates: ReadonlyMap<string, number>): void {
  const own = rates.get(ours) ?? 0;
  console.log(`\n${title}`);
  for (const [name, rate] of rates) {
    const ratio = name === ours ? '' : `  ${ours} does ${(own / rate).toPrecision(3)} times as many`;
    console.log(`  ${name.padEnd(44)} ${(rate / 1e6).toFixed(2).padStart(8)} M/s${ratio}`);
  }
}

/** Bytes allocated by one call, from the growth of the heap over many without a collection. */
function bytesPerCall(run: (times: number) => void): number {
  const times = 20_000;
  run(times);
  const samples: number[] = [];
  for (let round = 0; round < 9; round++) {
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    run(times);
    samples.push((process.memoryUsage().heapUsed - before) / times);
  }
  return samples.sort((a, b) => a - b)[4] ?? 0;
}

const loop =
  (call: () => unknown) =>
  (times: number): void => {
    for (let at = 0; at < times; at++) sink = call();
  };

async function clocks(): Promise<void> {
  const clock = createHlc({ node: 'a' });
  const peer = new PeerHlc();
  const persisted = await openHlc({
    node: 'a',
    store: { load: () => Promise.resolve(undefined), save: () => Promise.resolve() },
  });
  report(
    'HLC now()',
    'createHlc',
    race([
      {
        name: 'limit: wall clock and a result object',
        run: loop(() => ({ wall: systemRuntime.now(), logical: 0, node: 'a' })),
      },
      {
        name: 'createHlc',
        run: (times) => {
          for (let at = 0; at < times; at++) sink = clock.now();
        },
      },
      {
        name: 'openHlc (bound in memory)',
        run: (times) => {
          for (let at = 0; at < times; at++) sink = persisted.now();
        },
      },
      {
        name: '@consento/hlc',
        run: (times) => {
          for (let at = 0; at < times; at++) sink = peer.now();
        },
      },
      {
        name: '@tpp/hybrid-logical-clock',
        run: (times) => {
          for (let at = 0; at < times; at++) sink = simple.nxt();
        },
      },
    ]),
  );
  await persisted.close();

  const now = systemRuntime.now();
  const remotes: Hlc[] = Array.from({ length: 64 }, (_, at) => ({
    wall: now + (at % 3),
    logical: at,
    node: 'b',
  }));
  const other = new PeerHlc();
  const theirs = Array.from({ length: 64 }, () => other.now());
  const texts = remotes.map(({ wall, logical }) => `${wall}:${logical}:b`);
  report(
    'HLC observe()',
    'createHlc',
    race([
      {
        name: 'createHlc',
        run: (times) => {
          for (let at = 0; at < times; at++) sink = clock.observe(remotes[at & 63] ?? clock.last);
        },
      },
      {
        name: '@consento/hlc',
        run: (times) => {
          for (let at = 0; at < times; at++) peer.update(theirs[at & 63]);
        },
      },
      {
        name: '@tpp/hybrid-logical-clock',
        run: (times) => {
          for (let at = 0; at < times; at++) sink = simple.recv(texts[at & 63] ?? '');
        },
      },
    ]),
  );

  let reading = systemRuntime.now();
  const still = createHlc({ node: 'a', runtime: { now: () => reading } });
  const moving = createHlc({ node: 'a', runtime: { now: () => ++reading } });
  console.log('\nallocated by one call (heap growth between forced collections)');
  for (const [name, run] of [
    ['a result object alone', loop(() => ({ wall: reading + 0.5, logical: 1, node: 'a' }))],
    [
      'now(), within one millisecond',
      (times: number) => {
        for (let at = 0; at < times; at++) sink = still.now();
      },
    ],
    [
      'now(), a new millisecond each time',
      (times: number) => {
        for (let at = 0; at < times; at++) sink = moving.now();
      },
    ],
    ['that moving wall clock alone', loop(() => ++reading)],
    ['the system wall clock alone', loop(() => systemRuntime.now())],
    [
      'now(), with the system wall clock',
      (times: number) => {
        for (let at = 0; at < times; at++) sink = clock.now();
      },
    ],
  ] as const)
    console.log(`  ${name.padEnd(44)} ${bytesPerCall(run).toFixed(1).padStart(8)} bytes`);
}

function vectors(size: number): void {
  const random = seededRandom(size);
  const record = (): Record<string, number> =>
    Object.fromEntries(
      Array.from({ length: size }, (_, at) => [`node-${at}`, 1 + Math.floor(random() * 1e6)]),
    );
  const PAIRS = 64;
  const records = Array.from({ length: PAIRS }, () => [record(), record()] as const);
  // As from the network: no array and no string is shared.
  const decode = (one: Record<string, number>) => VersionVector.decode(VersionVector.from(one).encode());
  const ours = records.map(([a, b]) => [decode(a), decode(b)] as const);
  // As in one process: derived from one another.
  const base = decode(record());
  const grow = () =>
    base.nodes.reduce((vector, node) => vector.with(node, 1 + Math.floor(random() * 1e6)), base);
  const kin = Array.from({ length: PAIRS }, () => [grow(), grow()] as const);
  const arrays = kin.map(([a, b]) => [a.counters, b.counters] as const);
  const maps = records.map(([a, b]) => [new Map(Object.entries(a)), new Map(Object.entries(b))] as const);
  const over =
    <T>(pairs: readonly (readonly [T, T])[], call: (a: T, b: T) => unknown) =>
    (times: number): void => {
      for (let at = 0; at < times; at++) {
        const pair = pairs[at % PAIRS];
        if (pair !== undefined) sink = call(pair[0], pair[1]);
      }
    };

  report(
    `merge, ${size} nodes`,
    'decoded',
    race([
      {
        name: 'limit: maxima of two arrays',
        run: over(arrays, (a, b) => a.map((one, at) => Math.max(one, b[at] ?? 0))),
      },
      { name: 'derived', run: over(kin, (a, b) => a.merge(b)) },
      { name: 'decoded', run: over(ours, (a, b) => a.merge(b)) },
      {
        name: 'two Maps (by hand)',
        run: over(maps, (a, b) => {
          const merged = new Map(a);
          for (const [node, counter] of b) if (counter > (merged.get(node) ?? 0)) merged.set(node, counter);
          return merged;
        }),
      },
      { name: '@thi.ng/vclock', run: over(records, (a, b) => thing.merge(a, b)) },
      { name: 'vectorclock', run: over(records, (a, b) => vectorclock.merge(a, b)) },
    ]),
  );

  // Worst case: every entry must be looked at, because one vector descends from the other.
  const after = (a: VersionVector) => a.nodes.reduce((vector, node) => vector.increment(node), a);
  const ordered = ours.map(([a]) => [a, decode(after(a).toJSON())] as const);
  const orderedKin = kin.map(([a]) => [a, after(a)] as const);
  const orderedArrays = orderedKin.map(([a, b]) => [a.counters, b.counters] as const);
  const orderedRecords = ordered.map(([a, b]) => [a.toJSON(), b.toJSON()] as const);
  report(
    `compare, ${size} nodes, one after the other`,
    'decoded',
    race([
      {
        name: 'limit: a walk over two arrays',
        run: over(orderedArrays, (a, b) => {
          let less = false;
          let greater = false;
          for (let at = 0; at < a.length; at++) {
            if ((a[at] ?? 0) < (b[at] ?? 0)) less = true;
            else if ((a[at] ?? 0) > (b[at] ?? 0)) greater = true;
          }
          return less ? (greater ? 2 : -1) : greater ? 1 : 0;
        }),
      },
      { name: 'derived', run: over(orderedKin, (a, b) => a.compare(b)) },
      { name: 'decoded', run: over(ordered, (a, b) => a.compare(b)) },
      { name: '@thi.ng/vclock', run: over(orderedRecords, (a, b) => thing.compare(a, b)) },
      { name: 'vectorclock', run: over(orderedRecords, (a, b) => vectorclock.compare(a, b)) },
    ]),
  );
}

if (globalThis.gc === undefined) throw new Error('run with --expose-gc: npm run bench');
await clocks();
for (const size of [3, 16, 128]) vectors(size);
if (sink === systemRuntime) console.log(sink);
