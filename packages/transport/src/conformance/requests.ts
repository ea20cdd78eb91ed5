import { strict as assert } from 'node:assert';
import type { RequestContext } from '../contract.js';
import { type Check, type CheckContext, numbered, numberOf, rejects } from './harness.js';

const DEADLINE_MS = 100;
const MANY = 1_000;

/** A handler that answers when it is told to. */
function gated(check: CheckContext, node: number, channel: string) {
  const started = check.log<RequestContext>();
  const aborted = check.log<RequestContext>();
  const answers: (() => void)[] = [];
  check.node(node).respond(channel, (request) => {
    request.signal.addEventListener('abort', () => aborted.add(request));
    started.add(request);
    return new Promise((resolve) => {
      answers.push(() => {
        resolve(request.body);
      });
    });
  });
  return { started, aborted, answers };
}

export const requestChecks: readonly Check[] = [
  {
    number: 7,
    name: 'a request to a channel without a handler fails with NO_HANDLER, definite',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const ask = (): Promise<unknown> => check.ask(a, b.self, 'nobody', numbered(0));
      await rejects(ask(), 'NO_HANDLER', true);
      const end = b.respond('nobody', ({ body }) => body);
      await ask();
      end();
      await rejects(ask(), 'NO_HANDLER', true);
    },
  },
  {
    number: 8,
    name: 'the deadline fires within tolerance, and its error is indefinite',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      gated(check, 1, 'never');
      const before = a.runtime.monotonic();
      const failed = a.request(b.self, 'never', numbered(0), { timeoutMs: DEADLINE_MS });
      await rejects(check.within(failed, 'the deadline'), 'TIMEOUT', false);
      const elapsedMs = a.runtime.monotonic() - before;
      assert.ok(elapsedMs >= DEADLINE_MS, `fired early, after ${String(elapsedMs)} ms`);
      const tolerated = DEADLINE_MS + check.patience.limitMs / 5;
      assert.ok(elapsedMs <= tolerated, `fired late, after ${String(elapsedMs)} ms`);
    },
  },
  {
    number: 9,
    name: 'a request with an already aborted signal sends nothing',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const { started } = gated(check, 1, 'unsent');
      const signal = AbortSignal.abort(new Error('aborted on purpose'));
      const failed = a.request(b.self, 'unsent', numbered(0), { timeoutMs: 1_000, signal });
      await rejects(check.within(failed, 'the abort'), 'ABORTED', true);
      await check.quiet(a, b);
      assert.equal(started.items.length, 0, 'the handler ran');
    },
  },
  {
    number: 10,
    name: "an abort in flight reaches the remote handler's signal",
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const { started, aborted } = gated(check, 1, 'cancelled');
      const controller = new AbortController();
      const { signal } = controller;
      const failed = a.request(b.self, 'cancelled', numbered(0), { timeoutMs: 600_000, signal });
      await Promise.race([failed, started.atLeast(1, 'requests in the handler')]);
      assert.equal(started.items[0]?.signal.aborted, false);
      controller.abort(new Error('aborted on purpose'));
      await rejects(check.within(failed, 'the abort'), 'ABORTED', false);
      await aborted.atLeast(1, 'handlers to be told of the abort');
      const late = a.request(b.self, 'cancelled', numbered(0), { timeoutMs: DEADLINE_MS });
      await rejects(check.within(late, 'the deadline'), 'TIMEOUT', false);
      await aborted.atLeast(2, 'handlers to be told of the deadline');
    },
  },
  {
    number: 11,
    name: 'a late reply is dropped, and the table of pending requests is empty afterwards',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const { started, answers } = gated(check, 1, 'late');
      // Time enough for each to arrive, also where the medium holds it back for a while.
      const failures = Array.from({ length: 10 }, (_, index) =>
        rejects(a.request(b.self, 'late', numbered(index), { timeoutMs: 2 * DEADLINE_MS }), 'TIMEOUT', false),
      );
      await check.within(Promise.all(failures), 'the deadlines');
      await started.atLeast(10, 'requests in the handler');
      const next = a.request(b.self, 'late', numbered(99), { timeoutMs: check.patience.limitMs });
      for (const answer of answers) answer();
      await started.atLeast(11, 'requests in the handler');
      answers.at(-1)?.();
      assert.equal(
        numberOf(await check.within(next, 'the answer')),
        99,
        'a late reply answered another request',
      );
      await check.quiet(a, b);
      // Closing drains: with a long patience it returns at once only if nothing is pending, on either side.
      for (const node of [a, b]) {
        await check.within(node.close({ drainMs: 600_000 }), `${node.self} to have nothing pending`);
      }
    },
  },
  {
    number: 12,
    name: 'a thousand interleaved requests correlate',
    nodes: 2,
    async run(check) {
      const [a, b] = [check.node(0), check.node(1)];
      const waiting: (() => void)[] = [];
      // Answered in an order of its own: in batches, the last first.
      b.respond('interleaved', ({ body }) => {
        const kept = body.slice();
        return new Promise((resolve) => {
          waiting.push(() => {
            resolve(kept);
          });
          if (waiting.length === MANY / 4) for (const answer of waiting.splice(0).reverse()) answer();
        });
      });
      b.respond('at-once', ({ body }) => body);
      const asked = Array.from({ length: MANY }, async (_, index) => {
        const channel = index % 2 === 0 ? 'interleaved' : 'at-once';
        return numberOf(await check.ask(a, b.self, channel, numbered(index)));
      });
      const answers = await check.within(Promise.all(asked), 'a thousand answers');
      assert.deepEqual(answers, [...Array(MANY).keys()]);
    },
  },
];
