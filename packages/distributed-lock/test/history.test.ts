import type { LockBackend } from '@quorate/distributed-lock';
import { checkLockHistory, LockHistory, type LockHistoryEvent } from '@quorate/distributed-lock/conformance';
import { memoryLockSpace } from '@quorate/distributed-lock/memory';
import { describe, expect, it } from 'vitest';

const on = (
  type: LockHistoryEvent['type'],
  owner: string,
  more: Partial<LockHistoryEvent> = {},
): LockHistoryEvent => ({
  type,
  key: 'k',
  owner,
  ...more,
});
const x = { mode: 'exclusive' } as const;
const check = (...events: LockHistoryEvent[]): string[] =>
  checkLockHistory(events, { fencing: 'durable', fifo: true });

describe('checkLockHistory', () => {
  it('finds nothing in a good history', () => {
    expect(
      check(
        on('asked', 'a'),
        on('granted', 'a', { ...x, fence: 1 }),
        on('entered', 'a', x),
        on('asked', 'b'),
        on('queued', 'b'),
        on('wrote', 'a', { fence: 1 }),
        on('left', 'a'),
        on('over', 'a'),
        on('granted', 'b', { ...x, fence: 2 }),
        on('entered', 'b', x),
        on('wrote', 'b', { fence: 2 }),
        on('left', 'b'),
        on('over', 'b'),
      ),
    ).toEqual([]);
  });

  it('finds each fault', () => {
    expect(check(on('entered', 'a', x), on('entered', 'b', x))).toEqual([
      '"k": b (exclusive) entered beside a (exclusive)',
    ]);
    const permits = { mode: 'permits', permits: 2, total: 3 } as const;
    expect(check(on('entered', 'a', permits), on('entered', 'b', permits))[0]).toMatch(/4 of 3 permits/);
    expect(check(on('granted', 'a', { fence: 1 }), on('granted', 'b', { fence: 1 }))[0]).toMatch(
      /which a had/,
    );
    expect(
      check(on('granted', 'a', { fence: 2 }), on('asked', 'b'), on('granted', 'b', { fence: 1 }))[0],
    ).toMatch(/fence 1 after 2/);
    expect(check(on('granted', 'a', {}))[0]).toMatch(/without a fence/);
    expect(check(on('wrote', 'b', { fence: 2 }), on('wrote', 'a', { fence: 1 }))[0]).toMatch(
      /fence 1 after 2/,
    );
    expect(
      check(on('asked', 'a'), on('queued', 'a'), on('asked', 'b'), on('granted', 'b', { ...x, fence: 1 })),
    ).toEqual(['"k": b was granted before a, who had waited first', '"k": a still waits at the end']);
  });

  it('judges only the promises of the backend', () => {
    const events = [
      on('asked', 'a'),
      on('queued', 'a'),
      on('asked', 'b'),
      on('granted', 'b', x),
      on('over', 'a'),
    ];
    expect(checkLockHistory(events, { fencing: 'none', fifo: false })).toEqual([]);
  });
});

describe('LockHistory', () => {
  it('does not take for a place in the queue what is answered after the release', async () => {
    const space = memoryLockSpace();
    const slow = space.backend();
    let answer = (): void => undefined;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    const history = new LockHistory();
    const late: LockBackend = history.backend({
      name: slow.name,
      capabilities: slow.capabilities,
      renew: (...given) => slow.renew(...given),
      release: (...given) => slow.release(...given),
      close: () => slow.close(),
      async claim(...given) {
        const result = await slow.claim(...given);
        await answered;
        return result;
      },
    });
    const { signal } = new AbortController();
    const call = {
      signal,
      waitMs: 1_000,
      watch: { changed: () => undefined, lost: () => undefined },
    };
    const request = {
      key: 'k',
      mode: 'exclusive',
      permits: 1,
      total: 1,
      leaseMs: 60_000,
      wait: true,
    } as const;
    await slow.claim({ ...request, owner: 'a' }, call);
    const claimed = late.claim({ ...request, owner: 'b' }, call);
    await late.release({ key: 'k', owner: 'b' }, { signal });
    answer();
    expect(await claimed).toEqual({ state: 'waiting' });
    expect(history.events.map(({ type }) => type)).toEqual(['asked', 'over']);
    await slow.close();
  });
});
