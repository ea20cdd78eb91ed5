import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  fileBoundStore,
  type Hlc,
  HlcBoundError,
  type HlcBoundStore,
  HlcClosedError,
  HlcDriftError,
  hlcPersistFailed,
  type HlcPersistFailed,
  openHlc,
} from '@quorate/logical-clocks';

/** A store whose saves can be held back or made to fail. */
class MemoryStore implements HlcBoundStore {
  saves = 0;
  failure: Error | undefined;
  hold = false;
  #held: (() => void) | undefined;

  constructor(public bound: number | undefined) {}

  load(): Promise<number | undefined> {
    return Promise.resolve(this.bound);
  }

  async save(boundMs: number): Promise<void> {
    this.saves++;
    if (this.failure !== undefined) throw this.failure;
    if (this.hold) await new Promise<void>((resolve) => (this.#held = resolve));
    this.bound = boundMs;
  }

  release(): void {
    this.hold = false;
    this.#held?.();
  }
}

const memoryStore = (bound?: number) => new MemoryStore(bound);

const START = 1_000_000;

describe('persisted hybrid logical clock', () => {
  it('goes on above the bound when it was restarted with a wall clock that was set back', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const store = memoryStore();
    const first = await openHlc({ node: 'a', store, runtime });
    const last = first.now();
    runtime.jumpWallClock(-30_000);
    const second = await openHlc({ node: 'a', store, runtime });
    expect(second.now().wall).toBeGreaterThan(last.wall);
    await Promise.all([first.close(), second.close()]);
    expect(runtime.pendingTimers).toBe(0);
  });

  it('needs not start ahead of the wall clock after a graceful close', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const store = memoryStore();
    const first = await openHlc({ node: 'a', store, runtime });
    first.now();
    await first.close();
    expect(store.bound).toBe(START);
    await runtime.advance(1);
    await using second = await openHlc({ node: 'a', store, runtime });
    expect(second.now()).toEqual({ wall: START + 1, logical: 0, node: 'a' });
    expect(() => first.now()).toThrow(HlcClosedError);
    expect(() => first.observe(second.last)).toThrow(HlcClosedError);
    await expect(first.ready()).rejects.toThrow(HlcClosedError);
    await first.close();
  });

  it('renews the bound in the background, also while nobody asks for the time', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const store = memoryStore();
    await using clock = await openHlc({ node: 'a', store, runtime, blockMs: 1000 });
    for (let second = 0; second < 100; second++) {
      await runtime.advance(1000);
      expect(clock.now().wall).toBe(runtime.now());
    }
    expect(store.saves).toBeLessThanOrEqual(202);
  });

  it('stays at the bound and counts on while a save hangs, and lags no longer once it is done', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const store = memoryStore();
    const clock = await openHlc({ node: 'a', store, runtime, blockMs: 1000 });
    store.hold = true;
    await runtime.advance(1500);
    const bound = clock.boundMs;
    expect(clock.now()).toEqual({ wall: bound, logical: 0, node: 'a' });
    expect(clock.now()).toEqual({ wall: bound, logical: 1, node: 'a' });
    expect(bound).toBeLessThanOrEqual(store.bound ?? 0);
    store.release();
    await clock.ready();
    expect(clock.now()).toEqual({ wall: START + 1500, logical: 0, node: 'a' });
    await clock.close();
  });

  it('refuses rather than lag further than the drift, or count beyond the logical part', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const store = memoryStore();
    const clock = await openHlc({ node: 'a', store, runtime, blockMs: 1000, maxDriftMs: 5000 });
    store.failure = new Error('disk full');
    const failures: HlcPersistFailed[] = [];
    onTestFinished(hlcPersistFailed.subscribe((failure) => failures.push(failure)));
    await runtime.advance(2000);
    for (let count = 0; count < 65_536; count++) clock.now();
    const last = clock.last;
    expect(last).toEqual({ wall: clock.boundMs, logical: 65_535, node: 'a' });
    expect(() => clock.now()).toThrow(HlcBoundError);
    runtime.jumpWallClock(10_000);
    expect(() => clock.now()).toThrow(expect.objectContaining({ code: 'HLC_BOUND', boundMs: last.wall }));
    expect(clock.last).toEqual(last);
    await expect(clock.ready()).rejects.toThrow('disk full');
    expect(failures[0]).toMatchObject({ node: 'a', boundMs: last.wall, error: store.failure });
    store.failure = undefined;
    await clock.ready();
    expect(clock.now().wall).toBe(runtime.now());
    await clock.close();
  });

  it('makes room for a remote time above the bound, and takes it after that', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const store = memoryStore();
    await using clock = await openHlc({ node: 'a', store, runtime, blockMs: 1000, maxDriftMs: 60_000 });
    const remote: Hlc = { wall: START + 50_000, logical: 3, node: 'b' };
    expect(() => clock.observe(remote)).toThrow(HlcBoundError);
    expect(clock.last.wall).toBe(0);
    await clock.ready();
    expect(clock.observe(remote)).toEqual({ wall: START + 50_000, logical: 4, node: 'a' });
    expect(clock.boundMs).toBeLessThanOrEqual(START + 60_000);
  });

  it('does not creep ahead of the wall clock when it crashes again and again', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const store = memoryStore();
    for (let crash = 0; crash < 200; crash++) {
      const clock = await openHlc({ node: 'a', store, runtime });
      clock.now();
      await runtime.advance(1500);
    }
    expect((store.bound ?? 0) - runtime.now()).toBeLessThanOrEqual(11_000);
  });

  it('refuses to start further ahead than others would accept', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    await expect(openHlc({ node: 'a', store: memoryStore(START + 60_001), runtime })).rejects.toThrow(
      HlcDriftError,
    );
    await expect(openHlc({ node: 'a', store: memoryStore(-1), runtime })).rejects.toThrow(/stored bound/);
    await expect(openHlc({ node: 'a', store: memoryStore(), runtime, blockMs: 60_001 })).rejects.toThrow(
      /blockMs/,
    );
    const failing = memoryStore();
    failing.failure = new Error('read-only');
    await expect(openHlc({ node: 'a', store: failing, runtime })).rejects.toThrow('read-only');
    expect(runtime.pendingTimers).toBe(0);
  });

  it('gives up opening when the signal aborts, and leaves nothing behind', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const reason = new Error('no patience');
    await expect(
      openHlc({ node: 'a', store: memoryStore(), runtime, signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
    const never = { load: () => new Promise<undefined>(() => undefined), save: () => Promise.resolve() };
    const loading = new AbortController();
    const stuck = openHlc({ node: 'a', store: never, runtime, signal: loading.signal });
    loading.abort(reason);
    await expect(stuck).rejects.toBe(reason);
    const store = memoryStore();
    store.hold = true;
    const saving = new AbortController();
    const opening = openHlc({ node: 'a', store, runtime, signal: saving.signal });
    while (store.saves === 0) await Promise.resolve();
    saving.abort(reason);
    await expect(opening).rejects.toBe(reason);
    // The save that was under way ends, and no timer renews a bound that nobody needs.
    store.release();
    await runtime.advance(60_000);
    expect(store.saves).toBe(1);
    expect(runtime.pendingTimers).toBe(0);
  });

  it('stops waiting for the store when the signal aborts', async () => {
    const runtime = createVirtualRuntime({ startMs: START });
    const store = memoryStore();
    const clock = await openHlc({ node: 'a', store, runtime, blockMs: 1000 });
    store.hold = true;
    await runtime.advance(1500);
    const abort = new AbortController();
    const ready = clock.ready({ signal: abort.signal });
    abort.abort(new Error('no patience'));
    await expect(ready).rejects.toThrow('no patience');
    store.release();
    await clock.close();
  });
});

describe('file bound store', () => {
  async function folder(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'quorate-bound-'));
    onTestFinished(() => rm(path, { recursive: true }));
    return path;
  }

  it('loads what was saved last, and nothing from a folder without the file', async () => {
    const path = await folder();
    const store = fileBoundStore(join(path, 'clock'));
    expect(await store.load()).toBeUndefined();
    await store.save(123_456_789_012);
    await store.save(2 ** 48 - 1);
    expect(await fileBoundStore(join(path, 'clock')).load()).toBe(2 ** 48 - 1);
    expect(await readdir(path)).toEqual(['clock']);
  });

  it('refuses a damaged file', async () => {
    const path = join(await folder(), 'clock');
    const store = fileBoundStore(path);
    for (const bytes of [
      [],
      [1],
      [1, 0x42, ...new Array<number>(15).fill(0)],
      [1, 0x42, ...new Array<number>(15).fill(0), 1],
      [2, 0x42],
    ]) {
      await writeFile(path, Uint8Array.from(bytes));
      await expect(store.load()).rejects.toThrow(MalformedBytesError);
    }
  });

  it('passes on that its folder is missing', async () => {
    const store = fileBoundStore(join(await folder(), 'none', 'clock'));
    await expect(store.save(1)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
