import { strict as assert } from 'node:assert';
import { setImmediate } from 'node:timers/promises';
import { type Check, type CheckContext, type GarbageKind, numbered, pattern, rejects } from './harness.js';

/** More than any operating system buffers for one connection. */
const FLOOD_BYTES = 256 * 1024 * 1024;
/** So many turns of the event loop are enough for what was closed to be gone. */
const CLOSING_TURNS = 200;

/** Sends to a stalled node until the queue refuses. Returns the bytes that were accepted. */
async function flood(check: CheckContext): Promise<number> {
  const [a, b] = [check.node(0), check.node(1)];
  const body = pattern(Math.min(a.capabilities.maxPayload, 16 * 1024));
  const { queueBytes } = check.network;
  assert.ok(queueBytes !== undefined, 'setup offers stall, so it must say queueBytes');
  let accepted = 0;
  for (let index = 0; accepted < FLOOD_BYTES; index++) {
    const outcome = a.send(b.self, 'flood', body);
    const { queuedBytes = 0 } = a.peers().find(({ id }) => id === b.self) ?? {};
    assert.ok(
      queuedBytes <= queueBytes,
      `${String(queuedBytes)} bytes are queued where ${String(queueBytes)} is the bound`,
    );
    if (outcome !== 'queued') {
      assert.equal(outcome, 'dropped-full', 'the outcome of a send to a full queue');
      // What the medium itself buffers is taken from the queue in later turns.
      const before = accepted;
      await check.pause(check.patience.settleMs);
      if (a.send(b.self, 'flood', body) === 'dropped-full') return before;
    }
    accepted += body.length;
    if (index % 64 === 0) await setImmediate();
  }
  return assert.fail(`${String(accepted)} bytes were accepted for a peer that takes nothing`);
}

/** What keeps this process alive, by kind. Timers come and go with whatever runs the check. */
function handles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) {
    if (kind === 'Timeout' || kind === 'Immediate') continue;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}

export const boundsChecks: readonly Check[] = [
  {
    number: 18,
    name: 'with a stalled receiver the queue stays within its byte bound, and the outcome is dropped-full',
    nodes: 3,
    needs: 'stall',
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      await check.network.stall?.(1);
      await flood(check);
      const refused = a.request(b.self, 'flood', pattern(Math.min(a.capabilities.maxPayload, 16 * 1024)), {
        timeoutMs: 600_000,
      });
      await rejects(check.within(refused, 'the refusal'), 'OVERLOADED', true);
      // Only the way to the stalled node is blocked.
      await check.quiet(a, check.node(2));
      await check.network.resume?.(1);
    },
  },
  {
    number: 19,
    name: 'writable wakes up again',
    nodes: 2,
    needs: 'stall',
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      await check.within(a.writable(b.self), 'writable of an idle peer');
      await check.network.stall?.(1);
      await flood(check);
      const controller = new AbortController();
      const given = rejects(a.writable(b.self, controller.signal), 'ABORTED');
      const log = check.log<string>();
      const woken = a.writable(b.self).then(() => log.add('woken'));
      woken.catch(() => undefined);
      await setImmediate();
      assert.equal(log.items.length, 0, 'writable resolved although the queue is full');
      controller.abort(new Error('aborted on purpose'));
      await check.within(given, 'writable to be aborted');
      await check.network.resume?.(1);
      await check.within(woken, 'writable to wake up');
      assert.equal(a.send(b.self, 'flood', numbered(0)), 'queued', 'a send after writable woke up');
      await check.quiet(a, b);
    },
  },
  {
    number: 23,
    name: 'close is idempotent, rejects what is pending and leaves no handle open',
    nodes: 2,
    unstarted: true,
    async run(check) {
      const before = handles();
      await check.start();
      const [a, b] = [check.node(0), check.node(1)];
      const started = check.log<string>();
      b.respond('hangs', ({ channel }) => {
        started.add(channel);
        return new Promise(() => undefined);
      });
      const pending = rejects(
        a.request(b.self, 'hangs', numbered(0), { timeoutMs: 600_000 }),
        'CLOSED',
        false,
      );
      await started.atLeast(1, 'requests in the handler');
      const downs = check.peerEvents(a);
      await check.within(Promise.all([a.close({ drainMs: 0 }), a.close({ drainMs: 0 })]), 'close');
      await check.within(pending, 'the pending request to be rejected');
      await check.within(a.close(), 'a second close');
      await check.within(Promise.resolve(a[Symbol.asyncDispose]()), 'disposing what is closed');
      assert.equal(a.send(b.self, 'hangs', numbered(0)), 'dropped-closed');
      assert.equal(a.broadcast('hangs', numbered(0)), 0);
      await rejects(a.request(b.self, 'hangs', numbered(0), { timeoutMs: 1_000 }), 'CLOSED', true);
      await rejects(a.writable(b.self), 'CLOSED');
      if (a.capabilities.peerEvents !== 'none') {
        await downs.until((events) => events.some(({ type }) => type === 'down'), 'a down for each up');
      }
      await check.within(b.close({ drainMs: 0 }), 'close of the other side');
      await check.network.teardown();
      let left: string[] = [];
      for (let turn = 0; turn < CLOSING_TURNS; turn++) {
        left = [...handles()]
          .filter(([kind, count]) => count > (before.get(kind) ?? 0))
          .map(([kind]) => kind);
        if (left.length === 0) return;
        await setImmediate();
      }
      assert.fail(`still open after close: ${left.join(', ')}`);
    },
  },
  {
    number: 24,
    name: 'garbage, zero, negative, oversized and truncated frames close that link only',
    nodes: 3,
    needs: 'garbage',
    async run(check) {
      const b = check.node(1);
      const events = check.peerEvents(b);
      const of = (index: number, type: 'up' | 'down') =>
        events.items.filter((event) => event.peer === check.id(index) && event.type === type);
      for (const kind of [
        'random',
        'zero-length',
        'negative-length',
        'oversized',
        'truncated',
      ] satisfies GarbageKind[]) {
        const downs = of(0, 'down').length;
        const ups = of(0, 'up').length;
        await check.network.garbage?.(0, 1, kind);
        await events.until(() => of(0, 'down').length > downs, `the link to close after ${kind} bytes`);
        await check.quiet(check.node(2), b);
        await events.until(() => of(0, 'up').length > ups, `a new session after ${kind} bytes`);
        await check.quiet(check.node(0), b);
      }
      assert.deepEqual(
        [of(2, 'up').length, of(2, 'down').length],
        [1, 0],
        'the link of a bystander was touched',
      );
    },
  },
  {
    number: 25,
    name: 'a forged sender or a wrong cluster id is refused',
    nodes: 3,
    needs: 'impostor',
    async run(check) {
      const b = check.node(1);
      const claimed = check.id(2);
      const events = check.peerEvents(b);
      await check.node(2).close({ drainMs: 0 });
      await events.until(
        (all) => all.some(({ type, peer }) => type === 'down' && peer === claimed),
        'the closed node to be seen down',
      );
      const heard = [check.messages(b, 'forged'), check.log<string>()] as const;
      b.respond('forged', ({ body, from }) => {
        heard[1].add(from);
        return body;
      });
      for (const kind of ['forged-sender', 'wrong-cluster'] as const) {
        const impostor = await check.network.impostor?.(2, 1, kind);
        assert.ok(impostor, 'setup must make an impostor');
        const { transport, refused } = impostor;
        await check.within(refused, `the ${kind} to be refused`);
        transport.send(b.self, 'forged', numbered(0));
        await rejects(
          transport.request(b.self, 'forged', numbered(0), { timeoutMs: check.patience.settleMs }),
          ['PEER_DOWN', 'UNKNOWN_PEER', 'TIMEOUT', 'UNAUTHENTICATED', 'CLOSED'],
        );
        await transport.close({ drainMs: 0 });
        await check.quiet(check.node(0), b);
      }
      assert.equal(heard[0].items.length + heard[1].items.length, 0, 'an impostor was heard');
      const ups = events.items.filter(({ type, peer }) => type === 'up' && peer === claimed);
      assert.equal(ups.length, 1, 'an impostor had a session');
    },
  },
];
