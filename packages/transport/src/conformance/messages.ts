import { strict as assert } from 'node:assert';
import { type Check, numbered, numberOf, pattern, rejects, sameBytes, throwsCode } from './harness.js';

const SERIES = 1_000;

export const messageChecks: readonly Check[] = [
  {
    number: 1,
    name: 'bodies of 0, 1 and maxPayload bytes come back unchanged',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      b.respond('echo', ({ body }) => body);
      const got = check.messages(b, 'one-way');
      for (const size of [0, 1, a.capabilities.maxPayload]) {
        const body = pattern(size);
        sameBytes(await check.ask(a, b.self, 'echo', body), body, `an echo of ${String(size)} bytes`);
        await check.tell(a, b.self, 'one-way', body);
        await check.quiet(a, b);
        const message = got.items.find((one) => one.body.length === size);
        assert.ok(message, `a message of ${String(size)} bytes did not arrive`);
        sameBytes(message.body, body, `a message of ${String(size)} bytes`);
        assert.equal(message.from, a.self);
        assert.equal(message.channel, 'one-way');
      }
    },
  },
  {
    number: 2,
    name: 'maxPayload + 1 bytes throw before any I/O',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const got = check.messages(b, 'large');
      const asked = check.log<string>();
      b.respond('large', ({ body, channel }) => {
        asked.add(channel);
        return body.subarray(0, 1);
      });
      const body = new Uint8Array(a.capabilities.maxPayload + 1);
      const queued = (): number => a.peers().find(({ id }) => id === b.self)?.queuedBytes ?? 0;
      const before = queued();
      throwsCode(() => a.send(b.self, 'large', body), 'TOO_LARGE');
      throwsCode(() => a.broadcast('large', body), 'TOO_LARGE');
      await rejects(a.request(b.self, 'large', body, { timeoutMs: 1_000 }), 'TOO_LARGE', true);
      assert.ok(queued() <= before, 'bytes of a refused message were queued');
      await check.quiet(a, b);
      assert.equal(got.items.length + asked.items.length, 0, 'a refused message arrived');
    },
  },
  {
    number: 3,
    name: 'received bytes stay intact when the sender reuses its buffer after send returned',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const got = check.messages(b, 'reused');
      b.respond('reused', ({ body }) => body);
      const buffer = new Uint8Array(2_048);
      for (let salt = 0; salt < 32; salt++) {
        buffer.set(pattern(buffer.length, salt));
        assert.equal(a.send(b.self, 'reused', buffer), 'queued');
        buffer.fill(0xee);
        await Promise.resolve();
        buffer.set(pattern(buffer.length, salt));
        const answer = a.request(b.self, 'reused', buffer, { timeoutMs: check.patience.limitMs });
        buffer.fill(0xee);
        sameBytes(await answer, pattern(buffer.length, salt), 'a request from a reused buffer');
      }
      // Compared at the end: a receiver's buffer must not be written again by later messages either.
      await got.until(
        (items) => new Set(items.map(({ body }) => body[0])).size === 32,
        '32 different messages from a reused buffer',
      );
      for (const { body } of got.items) sameBytes(body, pattern(buffer.length, body[0]), 'a message');
    },
  },
  {
    number: 4,
    name: 'nothing is delivered before subscribe nor after unsubscribing',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const seen: number[] = [];
      const others = check.messages(b, 'topic-2');
      await check.tell(a, b.self, 'topic', numbered(1));
      await check.quiet(a, b);
      const end = b.subscribe('topic', ({ body }) => {
        seen.push(numberOf(body));
      });
      await check.tell(a, b.self, 'topic', numbered(2));
      await check.quiet(a, b);
      end();
      end();
      await check.tell(a, b.self, 'topic', numbered(3));
      await check.quiet(a, b);
      assert.deepEqual(seen, [2]);
      assert.deepEqual(others.items, [], 'a message of another channel was delivered');
    },
  },
  {
    number: 5,
    name: 'a handler that throws is isolated: the next message arrives',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      b.subscribe('throws', () => {
        throw new Error('thrown on purpose');
      });
      const rejecting: (message: unknown) => unknown = () => Promise.reject(new Error('rejected on purpose'));
      b.subscribe('throws', rejecting);
      const got = check.messages(b, 'throws');
      b.onPeer(() => {
        throw new Error('thrown on purpose');
      });
      b.respond('throws', () => {
        throw new Error('thrown on purpose');
      });
      b.respond('rejects', () => Promise.reject(new Error('rejected on purpose')));
      for (let round = 0; round < 2; round++) await check.tell(a, b.self, 'throws', numbered(round));
      await got.atLeast(2, 'messages behind handlers that throw');
      for (const channel of ['throws', 'rejects', 'throws']) {
        await rejects(check.ask(a, b.self, channel, numbered(0)), 'HANDLER_ERROR', false);
      }
    },
  },
  {
    number: 6,
    name: 'a second respond on one channel throws',
    nodes: 1,
    async run(check) {
      const a = check.node();
      const end = a.respond('taken', ({ body }) => body);
      throwsCode(() => a.respond('taken', ({ body }) => body), 'ALREADY_HANDLED');
      end();
      const again = a.respond('taken', () => numbered(2));
      end();
      assert.equal(
        numberOf(await check.ask(a, a.self, 'taken', numbered(0))),
        2,
        'the second handler was removed',
      );
      again();
    },
  },
  {
    number: 13,
    name: 'a declared FIFO order holds within a session',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const got = check.messages(b, 'series');
      for (let index = 0; index < SERIES; index++) {
        // Sizes differ, so that short ones may overtake where a medium lets them.
        await check.tell(a, b.self, 'series', numbered(index, (index * 37) % 700));
      }
      await got.until(
        (items) => new Set(items.map(({ body }) => numberOf(body))).size === SERIES,
        'every message of the series',
      );
      let numbers = got.items.map(({ body }) => numberOf(body));
      if (a.capabilities.duplicates === 'possible') numbers = [...new Set(numbers)];
      if (a.capabilities.ordering === 'none') numbers.sort((x, y) => x - y);
      assert.deepEqual(numbers, [...Array(SERIES).keys()], 'the series arrived in another order');
      assert.equal(new Set(got.items.map(({ session }) => session)).size, 1, 'one session');
    },
  },
  {
    number: 14,
    name: "duplicates: 'never' holds across a reconnection",
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const got = check.messages(b, 'once');
      const handled: number[] = [];
      b.respond('once', ({ body }) => {
        handled.push(numberOf(body));
        return body;
      });
      const events = [check.peerEvents(a), check.peerEvents(b)];
      let sent = 0;
      const some = async (): Promise<void> => {
        const asked: Promise<unknown>[] = [];
        for (let index = 0; index < 50; index++, sent++) {
          a.send(b.self, 'once', numbered(sent));
          asked.push(a.request(b.self, 'once', numbered(sent), { timeoutMs: 500 }).catch(() => undefined));
        }
        await Promise.all(asked);
      };
      for (let round = 1; round <= 3; round++) {
        const underWay = some();
        await check.network.sever(0, 1);
        await some();
        await check.network.restore(0, 1);
        if (a.capabilities.peerEvents !== 'none') {
          for (const log of events) {
            await log.until(
              (all) => all.filter(({ type }) => type === 'up').length > round,
              'the session to begin anew',
            );
          }
        }
        await underWay;
        await some();
      }
      await check.quiet(a, b);
      assert.equal(new Set(handled).size, handled.length, 'a request was handled twice');
      if (a.capabilities.duplicates === 'possible') return;
      const numbers = got.items.map(({ body }) => numberOf(body));
      assert.equal(new Set(numbers).size, numbers.length, 'a message arrived twice');
    },
  },
];
