import { seededRandom } from '@quorate/runtime';
import {
  createKvClient,
  type KvAnswer,
  type KvEvent,
  KvMachine,
  type KvQuery,
  type KvResult,
} from '@quorate/replicated-log/kv';
import { afterEach, describe, expect, it } from 'vitest';
import { Journal } from './node-journal.js';
import { Cluster, type ClusterOptions } from './node-cluster.js';

let closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  closing = [];
});

async function startKv(
  options: Partial<ClusterOptions<KvResult, KvQuery, KvAnswer>> = {},
): Promise<Cluster<KvResult, KvQuery, KvAnswer>> {
  const cluster = await Cluster.start({ machine: () => new KvMachine(), ...options });
  closing.push(() => cluster.close());
  return cluster;
}

const textOf = (item: { value: Uint8Array } | undefined): string | undefined =>
  item && Buffer.from(item.value).toString();

describe('a key-value store on raft', () => {
  it('writes, reads, lists and deletes on any node', async () => {
    const c = await startKv();
    const [a, b] = [createKvClient(c.log('a')), createKvClient(c.log('b'))];
    const put = await c.settled(a.put('x/1', 'one'));
    expect(put).toMatchObject({ applied: true });
    await c.settled(b.put('x/2', 'two'));
    await c.settled(b.put('y', 'other'));
    expect(textOf(await c.settled(b.get('x/1')))).toBe('one');
    expect((await c.settled(a.list('x/'))).map(([key]) => key)).toEqual(['x/1', 'x/2']);
    expect((await c.settled(a.list('x/', { after: 'x/1', limit: 1 }))).map(([key]) => key)).toEqual(['x/2']);
    await c.settled(a.delete('x/1'));
    expect(await c.settled(b.get('x/1'))).toBeUndefined();
  });

  it('writes only while the version is the expected one', async () => {
    const c = await startKv();
    const kv = createKvClient(c.log('a'));
    const first = await c.settled(kv.put('k', '1', { ifVersion: 0 }));
    expect(await c.settled(kv.put('k', '2', { ifVersion: 0 }))).toEqual({
      applied: false,
      version: first.version,
    });
    const second = await c.settled(kv.put('k', '2', { ifVersion: first.version }));
    expect(second.version).toBeGreaterThan(first.version);
    expect(await c.settled(kv.delete('k', { ifVersion: first.version }))).toMatchObject({ applied: false });
    expect(await c.settled(kv.delete('k', { ifVersion: second.version }))).toEqual({
      applied: true,
      version: 0,
    });
  });

  it('lets keys expire by replicated time on every node, without traffic and after a restart', async () => {
    const c = await startKv();
    const kv = createKvClient(c.log('a'));
    await c.settled(kv.put('short', 'x', { ttlMs: 1_000 }));
    await c.settled(kv.put('long', 'x', { ttlMs: 60_000 }));
    await c.settled(kv.put('renewed', 'x', { ttlMs: 1_000 }));
    await c.settled(kv.put('renewed', 'x', { ttlMs: 60_000 }));
    for (const id of ['a', 'b', 'c']) await c.settled(c.log(id).snapshot());
    await c.crash('c');
    await c.up('c');
    await c.runtime.advance(2_500);
    for (const id of ['a', 'b', 'c']) {
      const keys = c.member(id).machine.query({ type: 'list', prefix: '', limit: 10 });
      expect(keys.map(([key]) => key)).toEqual(['long', 'renewed']);
    }
  });

  it('shows changes to those who watch, the latest of each key', async () => {
    const machine = new KvMachine();
    const c = await startKv({ nodes: ['a'], machine: () => machine });
    const kv = createKvClient(c.log('a'));
    const events = machine.watch('w/')[Symbol.asyncIterator]();
    const first = events.next();
    await c.settled(kv.put('other', 'x'));
    await c.settled(kv.put('w/1', '1'));
    for (const value of ['2', '3']) await c.settled(kv.put('w/1', value));
    await c.settled(kv.put('w/2', '4'));
    await c.settled(kv.delete('w/2'));
    const seen = [await first, await events.next(), await events.next()].map(({ value }) => value as KvEvent);
    expect(seen.map((event) => [event.type, 'key' in event && event.key])).toEqual([
      ['put', 'w/1'],
      ['put', 'w/1'],
      ['delete', 'w/2'],
    ]);
    expect(seen[1]).toMatchObject({ item: { value: new Uint8Array(Buffer.from('3')) } });
    const last = events.next();
    await events.return?.();
    expect(await last).toMatchObject({ done: true });
  });
});

describe('a session', () => {
  it('applies every command exactly once while leaders crash, and its results survive snapshots', async () => {
    for (const seed of [1, 2, 3, 4]) {
      const random = seededRandom(seed);
      const c = await Cluster.start({
        machine: () => new Journal(),
        seed,
        node: { snapshotEntries: 10, keepEntries: 2 },
      });
      closing.push(() => c.close());
      const opener = await c.elected();
      const keeper = c.others(opener)[0] ?? '';
      const session = await c.settled(c.log(keeper).openSession());
      let open = 40;
      const results: Promise<number>[] = [];
      for (let at = 0; at < 40; at++) {
        const result = session.propose(Buffer.from(String(at)), { timeoutMs: 100_000 });
        results.push(result.finally(() => open--));
        await c.runtime.advance(random() * 40);
        const leader = c.leader();
        if (at % 8 === 7 && leader !== undefined && leader !== keeper) {
          await c.crash(leader);
          await c.runtime.advance(random() * 1_000);
          await c.up(leader);
        }
      }
      await c.runtime.runUntil(() => open === 0, 200_000);
      const counts = await Promise.all(results);
      const lines = [...(await c.settled(c.log(keeper).read(undefined, 'linearizable')))];
      expect(lines).toHaveLength(40);
      expect(new Set(lines).size).toBe(40);
      // Each result is the place in which its command stands.
      for (const [at, count] of counts.entries()) expect(lines[count - 1]).toBe(String(at));
      await c.settled(session.close());
    }
  });

  it('ends when nothing is heard of it for its time to live', async () => {
    const c = await Cluster.start({ machine: () => new Journal() });
    closing.push(() => c.close());
    await c.elected();
    const session = await c.settled(c.log('a').openSession({ ttlMs: 3_000 }));
    await c.runtime.advance(10_000);
    expect(await c.settled(session.propose(Buffer.from('kept alive')))).toBe(1);
    c.isolate('a');
    await c.runtime.advance(5_000);
    await c.settled(c.log('b').propose(Buffer.from('time goes on'), { timeoutMs: 20_000 }));
    c.heal('a');
    const late = session.propose(Buffer.from('late'), { timeoutMs: 20_000 });
    await expect(c.settled(late)).rejects.toMatchObject({ code: 'SESSION_EXPIRED' });
    expect(session.ended.aborted).toBe(true);
    await expect(session.propose(Buffer.from('later'))).rejects.toMatchObject({ code: 'SESSION_EXPIRED' });
  });

  it('waits its turn where many commands are under way, and settles them when the node closes', async () => {
    const c = await Cluster.start({ machine: () => new Journal(), nodes: ['a'] });
    closing.push(() => c.close());
    await c.elected();
    const session = await c.settled(c.log('a').openSession());
    const many = Array.from({ length: 2_000 }, (_, at) => session.propose(Buffer.from(String(at))));
    expect((await c.settled(Promise.all(many))).at(-1)).toBe(2_000);
    const under = session.propose(Buffer.from('x'));
    void c.log('a').close();
    await expect(c.settled(under)).rejects.toMatchObject({ code: 'CLOSED' });
    expect(session.ended.aborted).toBe(true);
    await session.close();
  });
});
