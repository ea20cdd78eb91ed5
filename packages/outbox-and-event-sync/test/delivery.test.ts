import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CallJudge,
  type Deliverable,
  InFlight,
  orderKey,
  type PublishOutcome,
  type RetryPolicy,
} from '../src/core/delivery.js';

const policy: RetryPolicy = { maxAttempts: 3, afterDead: 'block-key', delayMs: (attempts) => attempts * 100 };

function message(key: string, seq: number, more: Partial<Deliverable> = {}): Deliverable {
  const keyHash = key.charCodeAt(0);
  return { topic: 't', key, keyHash, partition: keyHash % 4, seq, attempts: 0, alone: false, ...more };
}

describe('verdicts on a call', () => {
  it('acknowledges what was published and retries what failed, with the attempts counted', () => {
    const [a, b] = [message('a', 1), message('b', 2, { attempts: 1 })];
    const judge = new CallJudge([a, b], policy);
    const error = new Error('no');
    expect(judge.judge(a, 'published')).toEqual({ do: 'ack' });
    expect(judge.judge(b, { failed: error })).toEqual({ do: 'retry', delayMs: 200, error });
    expect(judge.unjudged()).toEqual([]);
  });

  it('counts one failure per key and leaves what follows for later', () => {
    const [first, second] = [message('a', 1), message('a', 2)];
    const judge = new CallJudge([first, second], policy);
    expect(judge.judge(first, { failed: 'x' })).toMatchObject({ do: 'retry' });
    expect(judge.judge(second, { failed: 'x' })).toEqual({ do: 'release' });
  });

  it('keeps the same key of another topic apart', () => {
    const [first, second] = [message('a', 1), message('a', 2, { topic: 'u' })];
    const judge = new CallJudge([first, second], policy);
    judge.judge(first, { failed: 'x' });
    expect(judge.judge(second, { failed: 'x' })).toMatchObject({ do: 'retry' });
  });

  it('honours a longer delay that the publisher asks for, and ignores a shorter one', () => {
    const [a, b] = [message('a', 1), message('b', 1)];
    const judge = new CallJudge([a, b], policy);
    expect(judge.judge(a, { failed: 'x', retryAfterMs: 5_000 })).toMatchObject({ delayMs: 5_000 });
    expect(judge.judge(b, { failed: 'x', retryAfterMs: 1 })).toMatchObject({ delayMs: 100 });
  });

  it('buries a message at its last attempt and blocks its key only if asked, and if others may wait for it', () => {
    const verdictOn = (
      more: Partial<Deliverable>,
      afterDead: RetryPolicy['afterDead'] = 'block-key',
    ): unknown => {
      const dying = message('a', 1, { attempts: 2, ...more });
      return new CallJudge([dying], { ...policy, afterDead }).judge(dying, { failed: 'x' });
    };
    expect(verdictOn({})).toEqual({ do: 'bury', blockKey: true, error: 'x' });
    expect(verdictOn({}, 'continue-key')).toMatchObject({ do: 'bury', blockKey: false });
    expect(verdictOn({ alone: true })).toMatchObject({ do: 'bury', blockKey: false });
  });

  it('judges a message once, and never one that was not in the call', () => {
    const a = message('a', 1);
    const judge = new CallJudge([a], policy);
    judge.judge(a, 'published');
    expect(judge.judge(a, { failed: 'late' })).toBeUndefined();
    expect(judge.judge(message('b', 1), 'published')).toBeUndefined();
  });
});

describe('what is in flight', () => {
  it('hands out nothing of a key that is in flight, until all its messages are settled', () => {
    const flight = new InFlight({ callOf: 'page' });
    const [one, two, three] = [message('a', 1), message('a', 2), message('a', 3)];
    flight.admit([one, two]);
    expect(flight.admit([three])).toEqual([]);
    flight.settle([one]);
    expect(flight.admit([three])).toEqual([]);
    flight.settle([two]);
    expect(flight.admit([three])).toEqual([[three]]);
  });

  it('gives messages that failed before a call of their own key', () => {
    const flight = new InFlight({ callOf: 'page' });
    const [poison, after, healthy] = [message('a', 1, { attempts: 1 }), message('a', 2), message('b', 3)];
    expect(flight.admit([poison, after, healthy])).toEqual([[healthy], [poison, after]]);
  });

  it('cuts a page by key, or takes one message of a key, if asked', () => {
    const page = [message('a', 1), message('b', 2), message('a', 3)];
    expect(new InFlight({ callOf: 'key' }).admit(page).map((call) => call.length)).toEqual([2, 1]);
    expect(new InFlight({ callOf: 'apart' }).admit(page)).toEqual([[page[0], page[1]]]);
  });
});

/** An outbox, a relay's core and a publisher that fails and is slow at random, without clock and database. */
describe('order and loss, whatever the publisher does', () => {
  const outcome = fc.oneof(
    { weight: 4, arbitrary: fc.constant<'published'>('published') },
    { weight: 2, arbitrary: fc.constant<'fail'>('fail') },
    { weight: 1, arbitrary: fc.constant<'throw'>('throw') },
  );

  it.each(['page', 'key', 'apart'] as const)('holds for calls by %s', (callOf) => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 60 }),
        fc.array(outcome, { minLength: 1, maxLength: 40 }),
        fc.array(fc.nat(), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 10 }),
        (keys, outcomes, choices, pageSize) => {
          let table = keys.map((key, index) => message(key, index + 1));
          const published: Deliverable[] = [];
          const buried: Deliverable[] = [];
          const blocked = new Set<string>();
          const flight = new InFlight<Deliverable>({ callOf });
          const calls: Deliverable[][] = [];
          let step = 0;
          const choose = (): number => choices[step++ % choices.length] ?? 0;
          for (let turn = 0; table.length > 0; turn++) {
            expect(turn).toBeLessThan(10_000);
            const inFlight = new Set(flight.keyHashes());
            const page = table
              .filter((one) => !inFlight.has(one.keyHash) && !blocked.has(orderKey(one)))
              .slice(0, pageSize);
            calls.push(...flight.admit(page));
            // Calls end in any order; backoffs pass when nothing else can be done.
            const [call] = calls.splice(choose() % Math.max(1, calls.length), 1);
            if (call === undefined) {
              expect(blocked.size).toBeGreaterThan(0);
              blocked.clear();
              continue;
            }
            const judge = new CallJudge(call, { ...policy, afterDead: 'continue-key' });
            const what = outcomes[turn % outcomes.length] ?? 'published';
            const failedKeys = new Set<string>();
            for (const one of call) {
              const key = orderKey(one);
              const fails = what === 'throw' || (what === 'fail' && choose() % 2 === 0);
              const said: PublishOutcome = failedKeys.has(key)
                ? 'skipped'
                : fails
                  ? { failed: 'x' }
                  : 'published';
              if (said === 'published') published.push(one);
              else failedKeys.add(key);
              const verdict = judge.judge(one, said);
              const same = (other: Deliverable): boolean => other.seq === one.seq;
              if (verdict?.do === 'ack' || verdict?.do === 'bury')
                table = table.filter((other) => !same(other));
              if (verdict?.do === 'bury') buried.push(one);
              if (verdict?.do === 'retry') {
                blocked.add(key);
                table = table.map((other) =>
                  same(other) ? { ...other, attempts: other.attempts + 1 } : other,
                );
              }
            }
            expect(judge.unjudged()).toEqual([]);
            flight.settle(call);
          }
          expect(flight.messages + published.length + buried.length).toBe(keys.length);
          for (const key of new Set(keys)) {
            const seqs = published.filter((one) => one.key === key).map((one) => one.seq);
            expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
