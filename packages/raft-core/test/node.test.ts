import { nodeEvents, type ReplicatedLogError } from '@quorate/replicated-log';
import { afterEach, describe, expect, it } from 'vitest';
import { Journal } from './node-journal.js';
import { Cluster, type ClusterOptions } from './node-cluster.js';

type Options = ClusterOptions<number, void, readonly string[]>;

let cluster: Cluster<number, void, readonly string[]> | undefined;

async function start(options: Partial<Options> = {}): Promise<Cluster<number, void, readonly string[]>> {
  cluster = await Cluster.start({ machine: () => new Journal(), ...options });
  return cluster;
}

afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

const text = (line: string): Uint8Array => Buffer.from(line);

describe('a replicated log on raft', () => {
  it('elects a leader and applies a command on every node', async () => {
    const c = await start();
    const leader = await c.elected();
    expect(await c.settled(c.log(leader).propose(text('one')))).toBe(1);
    await c.runtime.advance(500);
    for (const id of ['a', 'b', 'c']) expect(c.member(id).machine.query(undefined)).toEqual(['one']);
  });

  it('takes proposals on a follower, and before anybody leads', async () => {
    const c = await start();
    const early = c.log('b').propose(text('early'));
    expect(await c.settled(early)).toBe(1);
    const [follower = ''] = c.others(await c.elected());
    expect(await c.settled(c.log(follower).propose(text('forwarded')))).toBe(2);
  });

  it.each(['linearizable', 'lease'] as const)('answers %s reads on every node', async (level) => {
    const c = await start();
    await c.settled(c.log('a').propose(text('one')));
    for (const id of ['a', 'b', 'c']) {
      expect(await c.settled(c.log(id).read(undefined, level))).toEqual(['one']);
    }
  });

  it('does not answer a linearizable read of a leader that is cut off', async () => {
    const c = await start();
    const old = await c.elected();
    c.isolate(old);
    const read = c.log(old).read(undefined, 'linearizable', { timeoutMs: 3_000 });
    await expect(c.settled(read)).rejects.toMatchObject({ definite: true });
    expect(await c.log(old).read(undefined, 'stale')).toEqual([]);
  });

  it('section 6.4, steps 4 and 5: a read waits until what was committed before it is applied', async () => {
    const c = await start({ raft: { maxBytesPerMessage: 500 } });
    const leader = await c.elected();
    const [follower = ''] = c.others(leader);
    await c.down(follower);
    const lines = Array.from({ length: 200 }, (_, at) => `line ${String(at)}`);
    await c.settled(Promise.all(lines.map((line) => c.log(leader).propose(text(line)))));
    await c.up(follower);
    // The answer of the leader comes before the commands do.
    expect(await c.settled(c.log(follower).read(undefined, 'linearizable'))).toEqual(lines);
  });

  it('waits with a read until an index is applied', async () => {
    const c = await start();
    const leader = await c.elected();
    const { applied } = c.log(leader).status();
    const read = c.log(leader).read(undefined, { atLeast: applied + 1 });
    await c.settled(c.log(leader).propose(text('one')));
    expect(await c.settled(read)).toEqual(['one']);
    const never = c.log(leader).read(undefined, { atLeast: 1_000_000 }, { timeoutMs: 100 });
    await expect(c.settled(never)).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  it('says that the outcome is unknown where a leader without a majority took the command', async () => {
    const c = await start();
    const old = await c.elected();
    c.isolate(old);
    const proposal = c.log(old).propose(text('lost?'), { timeoutMs: 2_000 });
    await expect(c.settled(proposal)).rejects.toMatchObject({ code: 'UNKNOWN_OUTCOME', definite: false });
  });

  it('says for certain that nothing happened where no leader was found', async () => {
    const c = await start();
    for (const id of ['b', 'c']) await c.down(id);
    const proposal = c.log('a').propose(text('nobody'), { timeoutMs: 2_000 });
    const error = await c.settled(proposal.catch((reason: unknown) => reason));
    expect(error).toMatchObject({ definite: expect.any(Boolean) as boolean });
    if ((error as ReplicatedLogError).definite) expect(error).toMatchObject({ code: 'NOT_LEADER' });
    const later = c.log('a').propose(text('nobody'), { timeoutMs: 2_000 });
    await expect(c.settled(later)).rejects.toMatchObject({ code: 'NOT_LEADER', definite: true });
  });

  it('keeps what was committed when every node restarts', async () => {
    const c = await start();
    for (const line of ['one', 'two', 'three']) await c.settled(c.log('a').propose(text(line)));
    for (const id of ['a', 'b', 'c']) await c.crash(id);
    for (const id of ['a', 'b', 'c']) await c.up(id);
    expect(await c.settled(c.log('b').read(undefined, 'linearizable'))).toEqual(['one', 'two', 'three']);
  });

  it('takes snapshots, compacts, restarts from one, and brings a node up to date by one', async () => {
    const c = await start({ node: { snapshotEntries: 20, keepEntries: 5 } });
    const leader = await c.elected();
    const [behind = '', other = ''] = c.others(leader);
    await c.down(behind);
    const lines = Array.from({ length: 100 }, (_, at) => `line ${String(at)}`);
    for (const line of lines) await c.settled(c.log(leader).propose(text(line)));
    expect(c.log(leader).status().first).toBeGreaterThan(50);
    expect(c.disks.get(leader)?.compactedTo).toBeGreaterThan(50);
    await c.crash(other);
    await c.up(other);
    await c.up(behind);
    for (const id of [behind, other]) {
      expect(await c.settled(c.log(id).read(undefined, 'linearizable'))).toEqual(lines);
    }
    expect(c.disks.get(behind)?.snapshotIndex).toBeGreaterThan(50);
    expect(await c.settled(c.log(behind).propose(text('on')))).toBe(101);
  });

  it('installs a snapshot while commands go on, and again after a crash in the middle', async () => {
    const c = await start({ node: { snapshotEntries: 20, keepEntries: 5, snapshotChunkBytes: 64 } });
    const leader = await c.elected();
    const [behind = ''] = c.others(leader);
    await c.down(behind);
    let count = 0;
    const put = async (): Promise<void> => {
      await c.settled(c.log(leader).propose(text(`line ${String(count++)}`)));
    };
    for (let at = 0; at < 60; at++) await put();
    await c.up(behind);
    for (let at = 0; at < 15; at++) await put();
    await c.crash(behind);
    for (let at = 0; at < 60; at++) await put();
    await c.up(behind);
    for (let at = 0; at < 60; at++) await put();
    const lines = await c.settled(c.log(behind).read(undefined, 'linearizable'));
    expect(lines).toHaveLength(count);
  });

  it('Figure 13, rules 2 to 4: chunks make a file that counts when it is whole, and a broken transfer changes nothing', async () => {
    const c = await start({ node: { snapshotEntries: 20, keepEntries: 0, snapshotChunkBytes: 64 } });
    const leader = await c.elected();
    const [behind = ''] = c.others(leader);
    await c.down(behind);
    const lines = Array.from({ length: 100 }, (_, at) => `line ${String(at)}`);
    for (const line of lines) await c.settled(c.log(leader).propose(text(line)));
    await c.up(behind);
    // Cut off in the middle: some chunks have been taken.
    await c.runtime.runUntil(() => (c.disks.get(behind)?.stagedChunks ?? 0) >= 3, 60_000);
    c.isolate(behind);
    await c.runtime.advance(40_000);
    expect(c.member(behind).machine.query(undefined)).toEqual([]);
    expect(c.disks.get(behind)?.snapshotIndex ?? 0).toBe(0);
    c.heal(behind);
    expect(await c.settled(c.log(behind).read(undefined, 'linearizable', { timeoutMs: 60_000 }))).toEqual(
      lines,
    );
    expect(c.disks.get(behind)?.snapshotIndex).toBeGreaterThan(50);
  });

  it('adds a node as a learner and then as a voter, and replaces two nodes at once', async () => {
    const c = await start();
    const leader = await c.elected();
    await c.settled(c.log(leader).propose(text('one')));
    await c.up('d');
    await c.up('e');
    await c.settled(c.log(leader).changeMembership({ voters: ['a', 'b', 'c'], learners: ['d', 'e'] }));
    await c.runtime.runUntil(() => c.member('e').machine.query(undefined).length === 1, 60_000);
    const changed = await c.settled(
      c.log(leader).changeMembership({ voters: [leader, 'd', 'e'], learners: [] }),
    );
    expect(changed).toEqual({ voters: [leader, 'd', 'e'], learners: [] });
    // Until the new voters know that the joint configuration is over, they need a majority of the old ones too.
    await c.runtime.advance(500);
    for (const id of ['a', 'b', 'c']) if (id !== leader) await c.down(id);
    await c.down(leader);
    await c.up(leader);
    await c.elected();
    expect(await c.settled(c.log('e').propose(text('two')))).toBe(2);
  });

  it('refuses a change of membership with a reason', async () => {
    const c = await start();
    const leader = await c.elected();
    await c.settled(c.log(leader).propose(text('one')));
    const none = c.log(leader).changeMembership({ voters: [], learners: [] });
    await expect(c.settled(none)).rejects.toMatchObject({ code: 'CONFIG_INVALID', definite: true });
    const [follower = ''] = c.others(leader);
    const elsewhere = c.log(follower).changeMembership({ voters: ['a', 'b'], learners: [] });
    await expect(c.settled(elsewhere)).rejects.toMatchObject({ code: 'NOT_LEADER', leader });
    const both = [
      c.log(leader).changeMembership({ voters: ['a', 'b', 'c'], learners: ['d'] }),
      c.log(leader).changeMembership({ voters: ['a', 'b', 'c'], learners: ['e'] }),
    ];
    const ends = await c.settled(Promise.allSettled(both));
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(ends[1]).toMatchObject({ reason: { code: 'CONFIG_PENDING' } });
  });

  it('hands leadership over, and proposals made meanwhile succeed', async () => {
    const c = await start();
    const leader = await c.elected();
    const [to = ''] = c.others(leader);
    const transfer = c.log(leader).transferLeadership(to);
    const proposals = [leader, to].map((id) => c.log(id).propose(text(id)));
    await c.settled(transfer);
    expect(c.log(to).status().role).toBe('leader');
    expect((await c.settled(Promise.all(proposals))).sort()).toEqual([1, 2]);
    await expect(c.log(leader).transferLeadership(to)).rejects.toMatchObject({
      code: 'NOT_LEADER',
      leader: to,
    });
    await expect(c.log(to).transferLeadership('nobody')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('stops with a typed error when the storage fails, and lies to nobody', async () => {
    const c = await start();
    const leader = await c.elected();
    const failed: unknown[] = [];
    const unsubscribe = nodeEvents.failed.subscribe((event) => failed.push(event));
    const disk = c.disks.get(leader);
    if (disk !== undefined) disk.failure = new Error('disk on fire');
    const proposal = c.log(leader).propose(text('one'));
    await expect(c.settled(proposal)).rejects.toMatchObject({ code: 'STORAGE_FAILED', definite: false });
    expect(c.log(leader).stopped.reason).toMatchObject({
      code: 'STORAGE_FAILED',
      cause: { message: 'disk on fire' },
    });
    expect(failed).toHaveLength(1);
    unsubscribe();
    await expect(c.log(leader).propose(text('two'))).rejects.toMatchObject({ code: 'CLOSED' });
    await c.down(leader);
    await c.elected();
    const [other = ''] = c.others(leader);
    expect(await c.settled(c.log(other).propose(text('three')))).toBeGreaterThan(0);
  });

  it('stops every node at the same command when the state machine throws', async () => {
    const c = await start();
    const leader = await c.elected();
    const proposal = c.log(leader).propose(text('poison'));
    await expect(c.settled(proposal)).rejects.toMatchObject({ code: 'STATE_MACHINE_FAILED' });
    await c.runtime.advance(1_000);
    for (const id of ['a', 'b', 'c']) expect(c.log(id).stopped.aborted).toBe(true);
  });

  it('settles everything when it is closed, and leaves no timer', async () => {
    const c = await start({ nodes: ['a'] });
    await c.elected();
    const log = c.log('a');
    const pending = [
      log.propose(text('one')),
      log.read(undefined, { atLeast: 1_000 }),
      log.changeMembership({ voters: ['a', 'b'], learners: [] }),
    ];
    const watching = (async () => {
      const roles: string[] = [];
      for await (const { role } of log.watch()) roles.push(role);
      return roles;
    })();
    const closing = log.close();
    const ends = await c.settled(Promise.allSettled(pending));
    for (const end of ends) expect(end).toMatchObject({ status: 'rejected', reason: { code: 'CLOSED' } });
    await c.settled(closing);
    expect(await watching).toEqual(['leader']);
    expect(c.disks.get('a')?.isOpen).toBe(false);
    await expect(log.propose(text('late'))).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(log.read(undefined, 'stale')).rejects.toMatchObject({ code: 'CLOSED' });
    await c.member('a').transport.close({ drainMs: 0 });
    await c.runtime.advance(1_000);
    expect(c.runtime.pendingTimers).toBe(0);
  });

  it('refuses what would be too much, and goes on afterwards', async () => {
    const c = await start({ nodes: ['a'], node: { maxWaiting: 3, maxWaitingBytes: 100_000 } });
    await c.elected();
    const log = c.log('a');
    const many = Array.from({ length: 5 }, (_, at) => log.propose(text(String(at))));
    const ends = await c.settled(Promise.allSettled(many));
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(ends[4]).toMatchObject({ reason: { code: 'QUEUE_FULL', definite: true } });
    const large = [log.propose(new Uint8Array(80_000)), log.propose(new Uint8Array(80_000))];
    const [first, second] = await c.settled(Promise.allSettled(large));
    expect(first?.status).toBe('fulfilled');
    expect(second).toMatchObject({ reason: { code: 'QUEUE_FULL' } });
    await expect(log.propose(new Uint8Array(2_000_000))).rejects.toMatchObject({ code: 'TOO_LARGE' });
    expect(await c.settled(log.propose(text('fine')))).toBe(5);
  });

  it('gives up on a signal', async () => {
    const c = await start();
    const old = await c.elected();
    c.isolate(old);
    const controller = new AbortController();
    const proposal = c.log(old).propose(text('x'), { signal: controller.signal });
    const already = c.log(old).propose(text('y'), { signal: AbortSignal.abort() });
    await expect(already).rejects.toMatchObject({ code: 'ABORTED', definite: true });
    controller.abort(new Error('enough'));
    await expect(proposal).rejects.toMatchObject({ code: 'ABORTED', definite: false });
  });

  it('shows changes of the status, the latest to a slow reader', async () => {
    const c = await start();
    const seen: (string | undefined)[] = [];
    const watching = (async () => {
      for await (const { leader } of c.log('a').watch()) {
        seen.push(leader);
        if (leader !== undefined) break;
      }
    })();
    const leader = await c.elected();
    await c.settled(watching);
    expect(seen[0]).toBeUndefined();
    expect(seen.at(-1)).toBe(leader);
  });

  it('brings a node that lags by many small commands up to date within the limits of the transport', async () => {
    const c = await start({ maxPayload: 20_000, raft: { maxBytesPerMessage: 8_000 } });
    const leader = await c.elected();
    const [behind = ''] = c.others(leader);
    c.isolate(behind);
    const many = Array.from({ length: 2_000 }, (_, at) => c.log(leader).propose(text(String(at))));
    await c.settled(Promise.all(many));
    c.heal(behind);
    expect(await c.settled(c.log(behind).read(undefined, 'linearizable'))).toHaveLength(2_000);
  });
});
