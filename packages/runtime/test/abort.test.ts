import { describe, expect, it } from 'vitest';
import { abortable, deadline, DeadlineError, linkSignals, sleep } from '@quorate/runtime';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { getEventListeners } from 'node:events';

const never = new Promise<never>(() => {});

describe('abortable', () => {
  it('settles as the promise does, and lets the signal go', async () => {
    const { signal } = new AbortController();
    await expect(abortable(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(abortable(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('rejects with the reason as soon as the signal aborts', async () => {
    const controller = new AbortController();
    const waiting = abortable(never, controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });

  it('rejects at once on a signal that is aborted, also where the promise rejects later', async () => {
    await expect(abortable(Promise.reject(new Error('late')), AbortSignal.abort())).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  it('makes an error of a reason that is none', async () => {
    await expect(abortable(never, AbortSignal.abort('bye'))).rejects.toMatchObject({
      name: 'AbortError',
      message: 'bye',
    });
  });
});

describe('linkSignals', () => {
  it('aborts with the first of its sources and detaches from all', () => {
    const a = new AbortController();
    const b = new AbortController();
    const linked = linkSignals(a.signal, undefined, b.signal);
    const reason = new Error('b');
    b.abort(reason);
    expect(linked.signal.reason).toBe(reason);
    expect(getEventListeners(a.signal, 'abort')).toHaveLength(0);
  });

  it('is aborted from the start where a source is', () => {
    const live = new AbortController();
    const linked = linkSignals(live.signal, AbortSignal.abort('x'));
    expect(linked.signal.reason).toBe('x');
    expect(getEventListeners(live.signal, 'abort')).toHaveLength(0);
  });

  it('detaches when disposed and aborts none of its sources', () => {
    const source = new AbortController();
    const linked = linkSignals(source.signal);
    linked[Symbol.dispose]();
    source.abort();
    expect(linked.signal.aborted).toBe(false);
    const other = new AbortController();
    const second = linkSignals(other.signal);
    second.abort('mine');
    expect(other.signal.aborted).toBe(false);
    expect(getEventListeners(other.signal, 'abort')).toHaveLength(0);
  });
});

describe('deadline', () => {
  it('aborts when its time is over, and says what was awaited', async () => {
    const runtime = createVirtualRuntime();
    const due = deadline(runtime, 100, { what: 'the vote' });
    await runtime.advance(60);
    expect(due.remainingMs()).toBe(40);
    expect(due.signal.aborted).toBe(false);
    await runtime.advance(40);
    expect(due.signal.reason).toBeInstanceOf(DeadlineError);
    expect((due.signal.reason as Error).message).toBe(
      'DEADLINE_EXCEEDED: the vote did not finish within 100 ms',
    );
    expect(due.remainingMs()).toBe(0);
  });

  it('leaves no timer when disposed, aborted, or aborted before it began', () => {
    const runtime = createVirtualRuntime();
    deadline(runtime, 100)[Symbol.dispose]();
    deadline(runtime, 100).abort();
    deadline(runtime, 100, { signal: AbortSignal.abort() });
    expect(runtime.pendingTimers).toBe(0);
  });

  it('follows an outer signal', () => {
    const runtime = createVirtualRuntime();
    const outer = new AbortController();
    const due = deadline(runtime, 100, { signal: outer.signal });
    outer.abort('stop');
    expect(due.signal.reason).toBe('stop');
  });
});

describe('sleep', () => {
  it('wakes in time, or rejects on abort and leaves nothing behind', async () => {
    const runtime = createVirtualRuntime();
    const controller = new AbortController();
    let awake = false;
    const nap = sleep(runtime, 10, { signal: controller.signal }).then(() => (awake = true));
    await runtime.advance(9);
    expect(awake).toBe(false);
    await runtime.advance(1);
    await nap;
    const cut = sleep(runtime, 10, { signal: controller.signal });
    controller.abort(new Error('up'));
    await expect(cut).rejects.toThrow('up');
    await expect(sleep(runtime, 10, { signal: controller.signal })).rejects.toThrow('up');
    expect(runtime.pendingTimers).toBe(0);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });
});
