import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CorruptLogError } from '@quorate/durable-log';
import { createFileLog } from '@quorate/durable-log/file';
import { nodeEvents, type RefusedEvent, type ReplicatedLog, startNode } from '@quorate/replicated-log';
import { createRaft, raftCodec, type RaftStatus } from '@quorate/raft-core';
import { createMemoryNetwork, createTransport, type Transport } from '@quorate/transport';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster } from './node-cluster.js';
import { Journal } from './node-journal.js';

let directory = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raft-bad-input-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** A node of its own cluster, on real files. */
async function alone(
  transport: Transport,
): Promise<ReplicatedLog<number, void, readonly string[], RaftStatus>> {
  const log = await startNode({
    core: (recovered, seed) =>
      createRaft({
        id: 'a',
        membership: { voters: ['a'], learners: [] },
        recovered,
        seed,
        electionTicks: 2,
      }),
    codec: raftCodec({ group: 'alone' }),
    transport,
    storage: createFileLog({ directory, segmentBytes: 4_096, groupBytes: 512 }),
    stateMachine: new Journal(),
    tickMs: 2,
  });
  await transport.start();
  return log;
}

async function spoil(file: string, offset: number): Promise<string> {
  const path = join(directory, file);
  const bytes = await readFile(path);
  bytes.writeUInt8(bytes.readUInt8(offset) ^ 0x10, offset);
  await writeFile(path, bytes);
  return path;
}

describe('bytes of peers', () => {
  it('that are damaged or of another group are refused, told as events, and counted; the node goes on', async () => {
    const cluster = await Cluster.start({ machine: () => new Journal() });
    const refused: RefusedEvent[] = [];
    const listen = (event: unknown): void => void refused.push(event as RefusedEvent);
    const unsubscribe = nodeEvents.refused.subscribe(listen);
    try {
      const leader = await cluster.elected();
      const stranger = createTransport(cluster.network.link('stranger'), { runtime: cluster.runtime });
      await stranger.start();
      await cluster.runtime.advance(50);
      const foreign = raftCodec({ group: 'another' }).encode({
        type: 'heartbeat',
        term: 99,
        commit: 0,
        round: 0,
      });
      for (const bytes of [foreign, Buffer.from('hello'), new Uint8Array()]) {
        expect(stranger.send(leader, 'log', bytes)).toBe('queued');
      }
      await cluster.runtime.advance(50);
      expect(cluster.log(leader).refusedMessages).toBe(3);
      expect(refused.map(({ from, node }) => [from, node])).toEqual(Array(3).fill(['stranger', leader]));
      expect(cluster.log(leader).status()).toMatchObject({ role: 'leader', term: 1 });
      await cluster.settled(stranger.close({ drainMs: 0 }));
    } finally {
      unsubscribe();
      await cluster.close();
    }
  });
});

describe('a damaged disk', () => {
  it.each(['log', 'snapshot'])(
    'a %s that is corrupt stops the start, naming the file and the way out',
    async (what) => {
      const network = createMemoryNetwork();
      const first = createTransport(network.link('a'));
      const log = await alone(first);
      for (let count = 1; count <= 20; count++) await log.propose(Buffer.alloc(100, 'x'));
      if (what === 'snapshot') await log.snapshot();
      await log.close();
      await first.close();
      const files = (await readdir(directory)).sort();
      const file = files.find((name) =>
        what === 'snapshot' ? name.includes('snap') : /log|wal|seg/.test(name),
      );
      const path = await spoil(file ?? `no ${what} among ${files.join()}`, what === 'snapshot' ? 60 : 600);
      const second = createTransport(network.link('a'));
      const failed = await alone(second).catch((error: unknown) => error);
      expect(failed).toBeInstanceOf(CorruptLogError);
      expect(failed).toMatchObject({ code: 'CORRUPT_LOG', file: path });
      expect(String(failed)).toMatch(
        /must not come back .* remove it from the group, and add a new node with a new id/,
      );
      await second.close();
      // The directory is free for whoever repairs it.
      await spoil(file ?? '', what === 'snapshot' ? 60 : 600);
      const third = createTransport(network.link('a'));
      const repaired = await alone(third);
      expect(await repaired.read(undefined, 'linearizable')).toHaveLength(20);
      await repaired.close();
      await third.close();
    },
  );
});
