import {
  createMembership,
  createRing,
  type ListenerFailedEvent,
  listenerFailedEvents,
  type MembershipChange,
  type MembershipEvent,
  membershipEvents,
  type MembershipOptions,
  nodeRefusedEvents,
  type NodeSpec,
  type Ring,
} from '@quorate/hash-ring';
import { createAnchor } from '@quorate/hash-ring/anchor';
import { InvalidOptionError } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { createMemoryNetwork, createTransport } from '@quorate/transport';
import { describe, expect, it } from 'vitest';

function start(options: MembershipOptions = {}) {
  const runtime = createVirtualRuntime();
  const membership = createMembership(createRing(['a', 'b', 'c']), { runtime, ...options });
  const changes: MembershipChange<Ring>[] = [];
  membership.onChange((change) => changes.push(change));
  const members = (): string[] => membership.current.nodes.map(({ id }) => id);
  return { runtime, membership, changes, members };
}

describe('membership', () => {
  it('admits a node once it has been up for joinAfterMs', async () => {
    const { runtime, membership, members, changes } = start();
    membership.up('d');
    await runtime.advance(1000);
    expect(members()).toEqual(['a', 'b', 'c']);
    await runtime.advance(100);
    expect(members()).toEqual(['a', 'b', 'c', 'd']);
    expect(changes).toHaveLength(1);
    expect(changes[0]).toMatchObject({ added: ['d'], removed: [] });
    expect(changes[0]?.after).toBe(membership.current);
    expect(membership.current.epoch).toBe(1);
    expect(runtime.pendingTimers).toBe(0);
  });

  it('does not see a node that went away again before that', async () => {
    const { runtime, membership, changes } = start();
    membership.up('d');
    await runtime.advance(900);
    membership.down('d');
    await runtime.advance(3_600_000);
    expect(changes).toEqual([]);
    expect(runtime.pendingTimers).toBe(0);
  });

  it('removes a member once it has been down for leaveAfterMs, and overlooks a shorter absence', async () => {
    const { runtime, membership, members, changes } = start();
    membership.down('b');
    await runtime.advance(9_900);
    membership.up('b');
    await runtime.advance(60_000);
    expect(changes).toEqual([]);
    membership.down('b');
    await runtime.advance(10_100);
    expect(members()).toEqual(['a', 'c']);
  });

  it('removes a flapping node once, and keeps it out until it has been stable', async () => {
    const { runtime, membership, members, changes } = start({ leaveAfterMs: 500, joinAfterMs: 500 });
    for (let flap = 0; flap < 20; flap++) {
      membership.down('b');
      await runtime.advance(2000);
      membership.up('b');
      await runtime.advance(2000);
    }
    // Undamped there would have been forty changes; here the first three falls are believed.
    expect(changes.length).toBeLessThanOrEqual(7);
    expect(members()).toEqual(['a', 'c']);
    const seen = changes.length;
    await runtime.advance(60_000);
    expect(changes).toHaveLength(seen);
    await runtime.advance(600_000);
    expect(members()).toEqual(['a', 'b', 'c']);
    expect(changes).toHaveLength(seen + 1);
  });

  it('makes one snapshot of changes that fall due together', async () => {
    const { runtime, membership, changes, members } = start();
    for (const id of ['d', 'e', 'f']) {
      membership.up(id);
      await runtime.advance(30);
    }
    await runtime.advance(5000);
    expect(changes).toHaveLength(1);
    expect(members()).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('takes over a new weight and zone of a member', async () => {
    const { runtime, membership, changes } = start();
    membership.up({ id: 'b', weight: 3, zone: 'z' });
    membership.up('c');
    await runtime.advance(100);
    expect(membership.current.node('b')).toMatchObject({ weight: 3, zone: 'z' });
    expect(changes).toHaveLength(1);
    expect(changes[0]).toMatchObject({ added: [], removed: [] });
    expect(membership.current.checksum).toBe(
      createRing(['a', { id: 'b', weight: 3, zone: 'z' }, 'c']).checksum,
    );
  });

  it('follows the peers of a transport, and lets go of it', async () => {
    const { runtime, membership, members } = start({ leaveAfterMs: 1000 });
    let tell: (event: { type: 'up' | 'down'; peer: string; session: number }) => void = () => undefined;
    let stopped = 0;
    const source = {
      onPeer(listen: typeof tell) {
        tell = listen;
        return () => {
          stopped++;
        };
      },
    };
    const stop = membership.follow(source, (peer) =>
      peer.startsWith('client') ? undefined : { id: peer, weight: 2 },
    );
    tell({ type: 'up', peer: 'd', session: 1 });
    tell({ type: 'up', peer: 'client-7', session: 1 });
    tell({ type: 'down', peer: 'a', session: 1 });
    await runtime.advance(1200);
    expect(members()).toEqual(['b', 'c', 'd']);
    expect(membership.current.node('d')?.weight).toBe(2);
    stop();
    stop();
    expect(stopped).toBe(1);
  });

  it('follows the lists of a naming service: who is missing is down', async () => {
    const { runtime, membership, members } = start({ leaveAfterMs: 1000 });
    const lists: Iterable<string | NodeSpec>[] = [
      ['a', 'b', 'd'],
      ['a', 'b', { id: 'd', weight: 2 }],
    ];
    async function* watch(): AsyncGenerator<Iterable<string | NodeSpec>> {
      for (const list of lists) yield await Promise.resolve(list);
    }
    await membership.followLists(watch());
    await runtime.advance(1200);
    expect(members()).toEqual(['a', 'b', 'd']);
    expect(membership.current.node('d')?.weight).toBe(2);
  });

  it('stops waiting for lists when aborted, when closed, and when they fail', async () => {
    const { membership } = start();
    const never: AsyncIterable<string[]> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
    };
    const controller = new AbortController();
    const aborted = membership.followLists(never, { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    const failing: AsyncIterable<string[]> = {
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('watch lost')) }),
    };
    await expect(membership.followLists(failing)).rejects.toThrow('watch lost');
    const closed = membership.followLists(never);
    membership.close();
    await expect(closed).resolves.toBeUndefined();
  });

  it('leaves nothing behind when closed', async () => {
    const { runtime, membership, changes } = start();
    membership.down('a');
    membership.close();
    membership[Symbol.dispose]();
    membership.up('x');
    membership.down('b');
    expect(runtime.pendingTimers).toBe(0);
    await runtime.advance(100_000);
    expect(changes).toEqual([]);
  });

  it('publishes every snapshot on its event channel', async () => {
    const { runtime, membership } = start();
    const events: MembershipEvent[] = [];
    const unsubscribe = membershipEvents.subscribe((event) => events.push(event));
    membership.up('d');
    await runtime.advance(2000);
    unsubscribe();
    expect(membershipEvents.name).toBe('quorate:hash-ring:membership');
    expect(events).toEqual([
      { strategy: 'ring', epoch: 1, checksum: membership.current.checksum, added: ['d'], removed: [] },
    ]);
  });

  it('keeps out what the strategy cannot take, tells so, and admits the others and later it too', async () => {
    const refused: string[] = [];
    const unsubscribe = nodeRefusedEvents.subscribe(({ node, error }) => {
      refused.push(`${node} ${(error as { code: string }).code}`);
    });
    const runtime = createVirtualRuntime();
    const membership = createMembership(createAnchor(['a', 'b'], { capacity: 3 }), { runtime });
    const members = (): string[] => membership.current.nodes.map(({ id }) => id);
    for (const node of ['c', 'd', { id: 'e', weight: 2 }]) membership.up(node);
    await runtime.advance(2000);
    expect(members()).toEqual(['a', 'b', 'c']);
    expect(membership.current.epoch).toBe(1);
    // A member whose new description is refused stays as it was.
    membership.up({ id: 'a', weight: 3 });
    await runtime.advance(1000);
    expect(members()).toEqual(['a', 'b', 'c']);
    expect(refused.splice(0)).toEqual(['d PLACEMENT_TOO_LARGE', 'e INVALID_OPTION', 'a INVALID_OPTION']);
    // Refused once every halfLifeMs, and no more often.
    await runtime.advance(60_000);
    expect(refused.splice(0)).toEqual(['d PLACEMENT_TOO_LARGE', 'e INVALID_OPTION']);
    // The place of a member that leaves is free for those that were refused, in the same snapshot.
    membership.down('b');
    await runtime.advance(12_000);
    expect(members()).toEqual(['a', 'c', 'd']);
    expect(membership.current.epoch).toBe(2);
    membership.down('d');
    membership.up({ id: 'e', weight: 1 });
    await runtime.advance(12_000);
    expect(members()).toEqual(['a', 'c', 'e']);
    unsubscribe();
    membership.close();
  });

  it('tells the other listeners when one throws', async () => {
    const { runtime, membership, changes } = start();
    const failures: ListenerFailedEvent[] = [];
    const unsubscribe = listenerFailedEvents.subscribe((event) => failures.push(event));
    const error = new Error('broken listener');
    const later: number[] = [];
    membership.onChange(() => {
      throw error;
    });
    membership.onChange(({ after }) => later.push(after.epoch));
    membership.up('d');
    await runtime.advance(2000);
    unsubscribe();
    expect(changes).toHaveLength(1);
    expect(later).toEqual([1]);
    expect(failures).toEqual([{ epoch: 1, error }]);
  });

  it('follows a real transport: peers that connect join, and peers that close leave', async () => {
    const runtime = createVirtualRuntime();
    const network = createMemoryNetwork({ runtime });
    const transports = ['a', 'b', 'c'].map((id) => createTransport(network.link(id), { runtime }));
    await Promise.all(transports.map((transport) => transport.start()));
    const membership = createMembership(createRing(['a']), { runtime });
    const [own, , last] = transports;
    if (own !== undefined) membership.follow(own);
    await runtime.advance(2000);
    expect(membership.current.nodes.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    await last?.close();
    await runtime.advance(12_000);
    expect(membership.current.nodes.map(({ id }) => id)).toEqual(['a', 'b']);
    membership.close();
    await Promise.all(transports.map((transport) => transport.close()));
  });

  it('refuses bad options and bad nodes at once', () => {
    for (const options of [
      { joinAfterMs: -1 },
      { leaveAfterMs: NaN },
      { halfLifeMs: 0 },
      { suppressAbove: 0 },
      { reuseBelow: 4 },
      { batchMs: Infinity },
    ]) {
      expect(() => createMembership(createRing(), options)).toThrow(InvalidOptionError);
    }
    const { membership } = start();
    expect(() => membership.up('')).toThrow(InvalidOptionError);
    expect(() => membership.up({ id: 'x', weight: -1 })).toThrow(InvalidOptionError);
  });
});
