// Measures every placement in a process of its own, so that none is compiled for the call sites of another, and
// prints what they do relative to each other. The subjects take turns, and the best of each one's passes counts: what else
// runs on the machine only ever slows one down. CPU time counts, not time on the clock.
// `--write` puts the tables into docs/choosing-a-placement.md.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Subject, subjects } from './subjects.js';

const SIZES = [10, 100, 1000] as const;
const DISTINCT = 2 ** 18;
const HOT = 1000;
const MIN_ROUND_MS = 60;
const PASSES = 6;

/** Lookups per CPU-second, by number of nodes. */
interface Rates {
  readonly distinct: number[];
  readonly hot: number[];
}

interface Costs {
  /** CPU milliseconds. */
  readonly buildMs: number;
  readonly addMs: number;
  readonly removeMs: number;
  readonly bytes: number;
  /** Greatest load over the mean, 100 nodes. */
  readonly balance: number;
  /** Moved keys over the keys that had to, one of 100 nodes removed and one added. */
  readonly movedOnRemove: number;
  readonly movedOnAdd: number;
}

type Figures = Rates & Costs;

const nodesOf = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `10.0.${String(i >> 8)}.${String(i & 255)}:11211`);
/** As keys come from the network: strings of one piece, and not what a template leaves to be joined at its first use. */
const keysOf = (count: number): string[] => {
  const keys = Array.from(
    { length: count },
    (_, i) => `user:${((i * 2654435761) % 1e9).toString(36)}:${String(i)}`,
  );
  return Buffer.from(keys.join('\n')).toString('latin1').split('\n');
};

function cpuMs(work: () => void): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/** Keeps results alive, so that no lookup is optimised away. */
let sink = 0;

function lookupsPerSecond(subject: Subject, keys: readonly string[]): number {
  let at = 0;
  const run = (count: number): void => {
    for (let i = 0; i < count; i++) {
      if (subject.get(keys[at] ?? '') === undefined) sink++;
      if (++at === keys.length) at = 0;
    }
  };
  let batch = 16;
  while (cpuMs(() => run(batch)) < MIN_ROUND_MS / 4) batch *= 4;
  let done = 0;
  let spent = 0;
  while (spent < MIN_ROUND_MS) {
    spent += cpuMs(() => run(batch));
    done += batch;
  }
  return (done * 1000) / spent;
}

type Create = (nodes: readonly string[]) => Subject;

function measureRates(create: Create): Rates {
  const distinctKeys = keysOf(DISTINCT);
  const hotKeys = distinctKeys.slice(0, HOT);
  const rates: Rates = { distinct: [], hot: [] };
  // Whatever is measured first would pay for the compiler.
  for (const size of SIZES) lookupsPerSecond(create(nodesOf(size)), hotKeys);
  for (const size of SIZES) {
    const subject = create(nodesOf(size));
    rates.distinct.push(lookupsPerSecond(subject, distinctKeys));
    rates.hot.push(lookupsPerSecond(subject, hotKeys));
  }
  return rates;
}

function measureCosts(create: Create): Costs {
  const thousand = nodesOf(1000);
  globalThis.gc?.();
  const before = process.memoryUsage();
  const kept = create(thousand);
  kept.get('key');
  globalThis.gc?.();
  const after = process.memoryUsage();
  const bytes = Math.max(0, after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers);
  sink += kept.get('key') === undefined ? 1 : 0;

  const builds: number[] = [];
  const adds: number[] = [];
  const removes: number[] = [];
  const slow = cpuMs(() => void create(thousand)) > 1000;
  for (let round = 0; round < (slow ? 1 : 7); round++) builds.push(cpuMs(() => void create(thousand)));
  let subject = create(thousand);
  for (let round = 0; round < (slow ? 3 : 41); round++) {
    const node = `10.9.9.${String(round)}:11211`;
    // The first lookup is part of a change: some put the work off until then.
    adds.push(
      cpuMs(() => {
        subject = subject.add(node);
        sink += subject.get('key') === undefined ? 1 : 0;
      }),
    );
    removes.push(
      cpuMs(() => {
        subject = subject.remove(node);
        sink += subject.get('key') === undefined ? 1 : 0;
      }),
    );
  }

  const hundred = create(nodesOf(100));
  const sample = keysOf(slow ? 2000 : 100_000);
  const owners = sample.map((key) => hundred.get(key));
  const loads = new Map<unknown, number>();
  for (const owner of owners) loads.set(owner, (loads.get(owner) ?? 0) + 1);
  const gone = nodesOf(100)[37] ?? '';
  const smaller = hundred.remove(gone);
  const afterRemoval = sample.map((key) => smaller.get(key));
  const larger = smaller.add('10.9.9.9:11211');
  const afterAddition = sample.map((key) => larger.get(key));
  const differ = (before: readonly unknown[], now: readonly unknown[]): number =>
    now.filter((owner, i) => owner !== before[i]).length;
  return {
    buildMs: median(builds),
    addMs: median(adds),
    removeMs: median(removes),
    bytes,
    balance: Math.max(...loads.values()) / (sample.length / 100),
    movedOnRemove: differ(owners, afterRemoval) / owners.filter((owner) => owner === gone).length,
    movedOnAdd:
      differ(afterRemoval, afterAddition) /
      afterAddition.filter((owner) => owner === '10.9.9.9:11211').length,
  };
}

function measureApart(what: '--rates' | '--costs', name: string): unknown {
  const { stdout, status } = spawnSync(
    process.execPath,
    ['--expose-gc', ...process.execArgv, fileURLToPath(import.meta.url), what, name],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 20 },
  );
  if (status !== 0) throw new Error(`measuring ${name} failed with status ${String(status)}`);
  return JSON.parse(stdout);
}

function measureAll(): Map<string, Figures> {
  const names = Object.keys(subjects);
  const passes = Array.from(
    { length: PASSES },
    () => new Map(names.map((subject) => [subject, measureApart('--rates', subject) as Rates])),
  );
  const best = (subject: string, pick: (rates: Rates) => readonly number[]): number[] =>
    SIZES.map((_, i) =>
      Math.max(...passes.flatMap((pass) => pick(pass.get(subject) ?? { distinct: [], hot: [] })[i] ?? [])),
    );
  return new Map(
    names.map((subject) => [
      subject,
      {
        distinct: best(subject, ({ distinct }) => distinct),
        hot: best(subject, ({ hot }) => hot),
        ...(measureApart('--costs', subject) as Costs),
      },
    ]),
  );
}

const millions = (value: number): string =>
  value >= 100_000
    ? `${(value / 1e6).toFixed(1)} M`
    : value >= 1000
      ? `${(value / 1000).toFixed(1)} k`
      : value.toFixed(0);
const times = (value: number): string => (value >= 10 ? value.toFixed(0) : value.toFixed(2));
const perSize = (values: readonly number[], show: (value: number, index: number) => string): string[] =>
  values.map(show);

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

function report(results: ReadonlyMap<string, Figures>): string {
  const hashring = results.get('hashring');
  const entries = [...results];
  const placements = entries.filter(([name]) => !name.startsWith('hash alone'));
  const bestPeer = SIZES.map((_, i) =>
    Math.max(
      ...entries.flatMap(([name, { distinct }]) =>
        subjects[name]?.kind === 'peer' ? [distinct[i] ?? 0] : [],
      ),
    ),
  );
  const lookups = (pick: (figures: Figures) => readonly number[]): string =>
    table(
      [
        '',
        ...SIZES.map((size) => `${String(size)} nodes`),
        ...SIZES.map((size) => `× hashring, ${String(size)}`),
      ],
      entries.map(([name, figures]) => [
        name,
        ...perSize(pick(figures), millions),
        ...perSize(pick(figures), (value, i) =>
          times(value / (hashring === undefined ? NaN : (pick(hashring)[i] ?? NaN))),
        ),
      ]),
    );
  const ring = results.get('ring');
  return [
    'Lookups per CPU-second, every key a new one:',
    lookups(({ distinct }) => distinct),
    'Lookups per CPU-second, a thousand keys again and again:',
    lookups(({ hot }) => hot),
    ring === undefined
      ? ''
      : `On distinct keys the ring is at ${SIZES.map((size, i) => `${times((ring.distinct[i] ?? 0) / (bestPeer[i] ?? NaN))} times (${String(size)} nodes)`).join(', ')} the best peer's rate.`,
    'CPU time and memory at 1000 nodes; balance and movement at 100 nodes:',
    table(
      [
        '',
        'build ms',
        'add one ms',
        'remove one ms',
        'memory KiB',
        'max/mean',
        'moved/needed, remove',
        'moved/needed, add',
      ],
      placements.map(([name, figures]) => [
        name,
        figures.buildMs.toFixed(1),
        figures.addMs.toFixed(2),
        figures.removeMs.toFixed(2),
        (figures.bytes / 1024).toFixed(0),
        figures.balance.toFixed(2),
        times(figures.movedOnRemove),
        times(figures.movedOnAdd),
      ]),
    ),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

const [flag, name = ''] = process.argv.slice(2);
if (flag === '--rates' || flag === '--costs') {
  const entry = subjects[name];
  if (entry === undefined) throw new Error(`no subject ${JSON.stringify(name)}`);
  const measure = flag === '--rates' ? measureRates : measureCosts;
  process.stdout.write(JSON.stringify(measure(entry.create)));
  if (sink < 0) process.exitCode = 1;
} else {
  const results = measureAll();
  const text = report(results);
  console.log(text);
  if (flag === '--write') {
    const page = new URL('../../../docs/choosing-a-placement.md', import.meta.url);
    const begin = '<!-- measured: npm run bench -w @quorate/hash-ring -- --write -->';
    const [before = '', rest = ''] = readFileSync(page, 'utf8').split(begin);
    const end = '<!-- end of measured -->';
    writeFileSync(page, `${before}${begin}\n\n${text}\n\n${end}${rest.split(end)[1] ?? ''}`);
  }
}
