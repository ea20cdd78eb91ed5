/**
 * Locks on Redis beside what people would use instead, and beside the limit: the two round trips that any lock of one
 * server costs, SET NX PX and a compare-and-delete by EVALSHA, without renewal, fence or queue. Between the two are the
 * scripts of `/redis` alone, by EVALSHA: what a fence and a queue cost whoever calls them.
 *
 * Acquire and release in sequence and on 64 keys at once; CPU of the subject's process for one pair; and the hand-over of one
 * lock to 32 waiters that hold it for 5 ms each. One private server, one run, each subject in a process of its own, all
 * in each round; ratios are medians of the ratios within a round. `--quick` for a look.
 */
import { isolated } from '@quorate/testing';
import { ask, endScripts, median, ratio, runScript } from '@quorate/testing/bench';
import type { Command, Described, HandOver, Rate } from './redis/subject.js';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 3 : 9;
const SEQUENTIAL = quick ? 400 : 1_200;
const WIDE = 64;
const PAIRS_WIDE = quick ? 3_000 : 8_000;
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

const rates = new Map(subjects.map(({ name }) => [name, { one: [] as Rate[], wide: [] as Rate[] }]));
for (let round = -1; round < ROUNDS; round++) {
  for (let index = 0; index < subjects.length; index++) {
    const subject = subjects[(index + round + 1) % subjects.length];
    if (subject === undefined) continue;
    // A service runs for long: what is compiled late is compiled before it counts.
    const warming = round < 0;
    const one = await tell<Rate>(subject.process, {
      do: 'pairs',
      total: warming ? 4 * SEQUENTIAL : SEQUENTIAL,
      width: 1,
    });
    const wide = await tell<Rate>(subject.process, {
      do: 'pairs',
      total: warming ? 2 * PAIRS_WIDE : PAIRS_WIDE,
      width: WIDE,
    });
    if (warming) continue;
    rates.get(subject.name)?.one.push(one);
    rates.get(subject.name)?.wide.push(wide);
  }
}

console.log(`acquire + release; median of ${String(ROUNDS)} rounds, ratio to raw`);
const limit = rates.get(subjects[0]?.name ?? '');
for (const [name, own] of rates) {
  const rate = (all: readonly Rate[]): number[] => all.map(({ perSecond }) => perSecond);
  const against = (mine: readonly Rate[], others: readonly Rate[] = []): string =>
    ratio(rate(mine), rate(others)).toFixed(2);
  const [one, wide] = [own.one, own.wide].map((all) =>
    median(all.map(({ perSecond }) => perSecond)).toFixed(0),
  );
  const [cpuOne, cpuWide] = [own.one, own.wide].map((all) =>
    median(all.map(({ cpuUs }) => cpuUs)).toFixed(0),
  );
  console.log(
    `${name.padEnd(28)} sequential ${String(one).padStart(6)}/s ${against(own.one, limit?.one)} (${String(cpuOne)} µs CPU)   ` +
      `64 keys ${String(wide).padStart(6)}/s ${against(own.wide, limit?.wide)} (${String(cpuWide)} µs CPU)`,
  );
}

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
