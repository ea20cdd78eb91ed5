/**
 * Locks on Redis beside what people would use instead, and beside the limit: the two round trips that any lock of one
 * server costs, SET NX PX and a compare-and-delete by EVALSHA, without renewal, fence or queue. Between the two are the
 * scripts of `/redis` alone, by EVALSHA: what a fence and a queue cost whoever calls them.
 *
 * Acquire and release in sequence and on 64 keys at once; CPU of the subject's process for one pair; and the hand-over
 * of one lock to 32 waiters that hold it for 5 ms each. One private server, one run, each subject in a process of its
 * own, all in each round; ratios are medians of the ratios within a round. `--quick` for a look.
 */
import { isolated } from '@quorate/testing';
import { ask, endScripts, median, ratio, runScript } from '@quorate/testing/bench';
import type { Command, Described, HandOver, Rate } from './redis/subject.js';

const quick = process.argv.includes('--quick');
const WIDE = 64;
const SEQUENTIAL = { width: 1, pairs: 1_200, rounds: quick ? 3 : 25 };
const AT_ONCE = { width: WIDE, pairs: 8_000, rounds: quick ? 3 : 11 };
const WAITERS = 32;
const HOLD_MS = 5;

const servers = await Promise.all([1, 2, 3].map(() => isolated('redis')));
const ports = servers.map(({ port }) => port);

const tell = <T>(process: ReturnType<typeof runScript>, command: Command): Promise<T> =>
  ask<T>(process, command);
const subjects = await Promise.all(
  ['raw', 'scripts', 'own', 'semaphore', 'redlock4', 'redlock5', 'ownQuorum', 'redlock4Quorum'].map(
    async (id) => {
      const process = runScript(new URL('redis/subject.ts', import.meta.url), { id, ports }, undefined);
      return { process, ...(await tell<Described>(process, { do: 'describe' })) };
    },
  ),
);

/**
 * All subjects, one after the other in each round, so that what the machine does meanwhile meets all of them: a round
 * takes about a second.
 */
async function measure({ width, pairs, rounds }: typeof SEQUENTIAL): Promise<readonly Rate[][]> {
  const rates = subjects.map((): Rate[] => []);
  for (let round = -1; round < rounds; round++) {
    for (let turn = 0; turn < subjects.length; turn++) {
      const index = (turn + round + 1) % subjects.length;
      const subject = subjects[index];
      if (subject === undefined) continue;
      // A service runs for long: what is compiled late is compiled before it counts.
      const total = round < 0 ? 4 * pairs : pairs;
      const rate = await tell<Rate>(subject.process, { do: 'pairs', total, width });
      if (round >= 0) rates[index]?.push(rate);
    }
  }
  return rates;
}

const sequential = await measure(SEQUENTIAL);
const atOnce = await measure(AT_ONCE);

const show = (all: readonly Rate[][], index: number): string => {
  const perSecond = (of: number): number[] => (all[of] ?? []).map((rate) => rate.perSecond);
  const cpuUs = median((all[index] ?? []).map((rate) => rate.cpuUs));
  const rate = median(perSecond(index)).toFixed(0).padStart(6);
  return `${rate}/s ${ratio(perSecond(index), perSecond(0)).toFixed(2)} (${cpuUs.toFixed(0)} µs CPU)`;
};
console.log('acquire + release; median of the rounds, ratio to raw');
for (const [index, { name }] of subjects.entries())
  console.log(
    `${name.padEnd(28)} sequential ${show(sequential, index)}   ${String(WIDE)} keys ${show(atOnce, index)}`,
  );

console.log(
  `\nhand-over to ${String(WAITERS)} waiters of ${String(HOLD_MS)} ms; ideal ${String(WAITERS * HOLD_MS)} ms`,
);
const passes = new Map(subjects.filter(({ waits }) => waits).map(({ name }) => [name, [] as HandOver[]]));
for (let round = 0; round < (quick ? 1 : 3); round++)
  for (const subject of subjects.filter(({ waits }) => waits))
    passes
      .get(subject.name)
      ?.push(
        await tell<HandOver>(subject.process, { do: 'hand over', round, waiters: WAITERS, holdMs: HOLD_MS }),
      );
for (const [name, all] of passes) {
  const of = (field: keyof HandOver, digits: number): string =>
    median(all.map((one) => one[field])).toFixed(digits);
  console.log(
    `${name.padEnd(28)} ${of('totalMs', 0).padStart(5)} ms   gap mean ${of('meanGapMs', 2)} ms, max ${of('maxGapMs', 2)} ms   ` +
      `inversions ${(median(all.map(({ inversions }) => inversions)) * 100).toFixed(0)} %   commands ${of('commands', 0)}`,
  );
}

await endScripts();
await Promise.all(servers.map((one) => one.stop()));
