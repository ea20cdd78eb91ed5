// One contender in a process of its own. Reads `window milliseconds` by line and answers each with a line of JSON; the Go
// program in ./etcd does the same.
import { createInterface } from 'node:readline';
import { systemRuntime } from '@quorate/runtime';
import type { Contender } from './contender.js';
import { coaty } from './coaty.js';
import { liferaft } from './liferaft.js';
import { quorate } from './quorate.js';

/** What one run came to. */
export interface CoreRun {
  /** Proposals that the leader applied. */
  readonly count: number;
  readonly ms: number;
  readonly cpuUs: number;
}

const contenders: Readonly<Record<string, () => Contender | Promise<Contender>>> = {
  quorate,
  coaty: () => coaty(false),
  'coaty-together': () => coaty(true),
  liferaft,
};

/** The clock is read once for so many turns, so that it does not count. */
const TURNS = 16;
const DRAIN_MS = 500;

/** Keeps `window` proposals under way for `forMs`. */
async function run(contender: Contender, window: number, forMs: number): Promise<CoreRun> {
  const startMs = systemRuntime.monotonic();
  const cpu = process.cpuUsage();
  let count = 0;
  let underWay = 0;
  let ms = 0;
  while (ms < forMs) {
    for (let turns = 0; turns < TURNS; turns++) {
      if (underWay < window) {
        const proposed = contender.propose(window - underWay);
        underWay = window;
        if (proposed !== undefined) await proposed;
      }
      const turned = contender.turn();
      const applied = typeof turned === 'number' ? turned : await turned;
      underWay -= applied;
      count += applied;
    }
    ms = systemRuntime.monotonic() - startMs;
  }
  const { user, system } = process.cpuUsage(cpu);
  const result = { count, ms, cpuUs: user + system };
  // What is under way must not count for the next run.
  while (underWay > 0 && systemRuntime.monotonic() - startMs < ms + DRAIN_MS) {
    underWay -= await contender.turn();
  }
  return result;
}

const make = contenders[process.argv[2] ?? ''];
if (make === undefined) throw new Error(`no contender is called ${String(process.argv[2])}`);
let contender: Contender | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  const [window = 1, forMs = 0] = line.split(' ').map(Number);
  contender ??= await make();
  process.stdout.write(`${JSON.stringify(await run(contender, window, forMs))}\n`);
}
process.exit();
