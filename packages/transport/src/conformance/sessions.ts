import { strict as assert } from 'node:assert';
import type { PeerEvent } from '../contract.js';
import { type Check, type CheckContext, type Log, numbered, numberOf, rejects } from './harness.js';

const FIRST_SENDS = 200;

function ofType(log: Log<PeerEvent>, type: PeerEvent['type']): PeerEvent[] {
  return log.items.filter((event) => event.type === type);
}

/** Both sides' events, once the connection was cut. */
async function severed(check: CheckContext): Promise<readonly Log<PeerEvent>[]> {
  const logs = [check.peerEvents(check.node(0)), check.peerEvents(check.node(1))];
  await check.network.sever(0, 1);
  for (const log of logs) {
    if (check.node().capabilities.peerEvents === 'none') continue;
    await log.until((events) => events.some(({ type }) => type === 'down'), 'a down after the cut');
  }
  return logs;
}

export const sessionChecks: readonly Check[] = [
  {
    number: 15,
    name: 'severing a link gives exactly one down',
    nodes: 3,
    async run(check) {
      const logs = await severed(check);
      // The third node is still there, and by the time it answers a second down would have come.
      for (const index of [0, 1]) await check.quiet(check.node(index), check.node(2));
      await check.pause(check.patience.settleMs);
      const expected = check.node().capabilities.peerEvents === 'none' ? 0 : 1;
      for (const [index, log] of logs.entries()) {
        const downs = ofType(log, 'down');
        assert.equal(downs.length, expected, `node ${String(index)} saw ${JSON.stringify(downs)}`);
        const about = check.id(1 - index);
        assert.ok(
          downs.every(
            ({ peer, session }) => peer === about && ofType(log, 'up').some((up) => up.session === session),
          ),
          `a down that belongs to no up: ${JSON.stringify(log.items)}`,
        );
      }
      const outcome = check.node(0).send(check.id(1), 'cut', numbered(0));
      if (expected === 1) assert.equal(outcome, 'dropped-down', 'sending over the cut');
    },
  },
  {
    number: 16,
    name: 'restoring it gives one up with a new session number',
    nodes: 2,
    async run(check) {
      if (check.node().capabilities.peerEvents === 'none') {
        // No event tells; what can be seen is that messages pass again.
        await check.network.sever(0, 1);
        await check.network.restore(0, 1);
        await check.quiet(check.node(0), check.node(1));
        return;
      }
      const logs = await severed(check);
      await check.network.restore(0, 1);
      for (const log of logs) {
        await log.until((events) => events.at(-1)?.type === 'up', 'an up after the cut was mended');
      }
      await check.quiet(check.node(0), check.node(1));
      await check.pause(check.patience.settleMs);
      for (const log of logs) {
        const kinds = log.items.map(({ type }) => type);
        assert.deepEqual(kinds, ['up', 'down', 'up'], 'what was seen of the peer');
        const [first, , second] = log.items;
        assert.notEqual(second?.session, first?.session, 'the session number was used again');
      }
      const got = check.messages(check.node(1), 'mended');
      await check.tell(check.node(0), check.id(1), 'mended', numbered(0));
      await got.atLeast(1, 'messages after the cut was mended');
      assert.equal(got.items[0]?.session, logs[1]?.items.at(-1)?.session, 'the session of a message');
    },
  },
  {
    number: 17,
    name: 'pending requests settle when the peer goes down',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const noticed = a.capabilities.peerEvents !== 'none';
      const started = check.log<AbortSignal>();
      const aborted = check.log<AbortSignal>();
      b.respond('hangs', ({ signal }) => {
        signal.addEventListener('abort', () => aborted.add(signal));
        started.add(signal);
        return new Promise(() => undefined);
      });
      const timeoutMs = noticed ? 600_000 : check.patience.limitMs / 2;
      const asked = Array.from({ length: 20 }, () => a.request(b.self, 'hangs', numbered(0), { timeoutMs }));
      const failures = asked.map((one) => rejects(one, noticed ? 'PEER_DOWN' : 'TIMEOUT', false));
      await started.atLeast(asked.length, 'requests in the handler');
      await check.network.sever(0, 1);
      await check.within(Promise.all(failures), 'pending requests to settle');
      await aborted.atLeast(asked.length, 'handlers to be told that the caller is gone');
    },
  },
  {
    number: 20,
    name: 'two hundred concurrent first sends open one connection',
    nodes: 2,
    unstarted: true,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const ups = [check.peerEvents(a), check.peerEvents(b)];
      b.respond('first', ({ body }) => body);
      const answered = check.log<number>();
      const burst = (): void => {
        for (let index = 0; index < FIRST_SENDS; index++) {
          void a
            .request(b.self, 'first', numbered(index), { timeoutMs: check.patience.limitMs })
            .then((body) => answered.add(numberOf(body)))
            .catch(() => undefined);
          b.send(a.self, 'first', numbered(index));
        }
      };
      // Once before there can be a session, and once in the moment it begins: neither may lead to a second one.
      const connected = check.start();
      burst();
      const seen = a.onPeer(({ type }) => {
        if (type === 'up') burst();
      });
      await connected;
      seen();
      if (a.capabilities.peerEvents === 'none') burst();
      await answered.atLeast(FIRST_SENDS, 'answers to first requests');
      await check.quiet(a, b);
      const expected = a.capabilities.peerEvents === 'none' ? 0 : 1;
      for (const log of ups) assert.equal(log.items.length, expected, `seen: ${JSON.stringify(log.items)}`);
      const { network } = check;
      if (network.connections !== undefined) assert.equal(network.connections(0, 1), 1, 'connections');
    },
  },
  {
    number: 21,
    name: 'an unknown peer gives dropped-unknown or UNKNOWN_PEER',
    nodes: 2,
    async run(check) {
      const a = check.node();
      assert.equal(a.send('conformance-nobody', 'any', numbered(0)), 'dropped-unknown');
      const failed = a.request('conformance-nobody', 'any', numbered(0), { timeoutMs: 1_000 });
      await rejects(check.within(failed, 'the refusal'), 'UNKNOWN_PEER', true);
      assert.equal(
        a.peers().some(({ id }) => id === 'conformance-nobody'),
        false,
        'a name that was only asked for became a peer',
      );
    },
  },
  {
    number: 22,
    name: 'a broadcast excludes oneself and counts correctly',
    nodes: 4,
    async run(check) {
      const { nodes } = check.network;
      const logs = nodes.map((node) => check.messages(node, 'all'));
      const a = check.node();
      assert.equal(a.broadcast('all', numbered(1)), 3, 'queued for every peer');
      const some = [a.self, check.id(1), check.id(2), 'conformance-nobody'];
      assert.equal(a.broadcast('all', numbered(2), some), 2, 'queued for two of the four names');
      assert.equal(a.broadcast('all', numbered(3), []), 0, 'queued for nobody');
      for (const node of nodes.slice(1)) await check.quiet(a, node);
      const got = logs.map((log) => log.items.map(({ body }) => numberOf(body)).sort((x, y) => x - y));
      const twice = a.capabilities.duplicates === 'possible';
      const seen = twice ? got.map((numbers) => [...new Set(numbers)]) : got;
      assert.deepEqual(seen, [[], [1, 2], [1, 2], [1]]);
    },
  },
];
