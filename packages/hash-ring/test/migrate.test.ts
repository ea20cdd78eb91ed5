import {
  type CheckpointStore,
  createRing,
  migrate,
  MigrationError,
  type MigrationProgress,
  type Move,
  plan,
} from '@quorate/hash-ring';
import { InvalidOptionError, sleep } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const ring = createRing(['a', 'b', 'c', 'd'], { pointsPerWeight: 10 });
const movement = plan(ring, ring.with({ add: ['e'] }), { replicas: 2 });

class MemoryCheckpoint implements CheckpointStore {
  saved: Uint8Array | undefined;
  saving = 0;
  load(): Uint8Array | undefined {
    return this.saved;
  }
  async save(bytes: Uint8Array): Promise<void> {
    expect(++this.saving).toBe(1);
    await Promise.resolve();
    this.saved = bytes;
    this.saving--;
  }
}

describe('migrate', () => {
  it('runs every move once and tells how far it is', async () => {
    const seen: Move[] = [];
    const progress: MigrationProgress[] = [];
    const report = await migrate(movement, (move) => void seen.push(move), {
      onProgress: (step) => progress.push(step),
    });
    expect(report).toEqual({ moved: movement.moves.length, resumed: 0 });
    expect(new Set(seen)).toEqual(new Set(movement.moves));
    expect(seen).toHaveLength(movement.moves.length);
    expect(progress[0]).toEqual({ done: 0, total: movement.moves.length, fraction: 0, move: undefined });
    expect(progress.at(-1)).toMatchObject({ done: movement.moves.length, fraction: 1 });
    const fractions = progress.map(({ fraction }) => fraction);
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    expect(progress.map(({ done }) => done)).toEqual([...Array(movement.moves.length + 1).keys()]);
  });

  it('keeps no more moves under way than asked for, and that many when it can', async () => {
    const runtime = createVirtualRuntime();
    let running = 0;
    let most = 0;
    const done = migrate(
      movement,
      async () => {
        most = Math.max(most, ++running);
        await sleep(runtime, 10);
        running--;
      },
      { concurrency: 3 },
    );
    await runtime.runUntil(() => running === 0 && runtime.pendingTimers === 0);
    await done;
    expect(most).toBe(3);
  });

  it('goes on after a failure where its checkpoint says, in another process too', async () => {
    const checkpoint = new MemoryCheckpoint();
    const seen: number[] = [];
    const cause = new Error('disk full');
    const failing = migrate(
      movement,
      (_, { index }) => {
        if (seen.length === 5) throw cause;
        seen.push(index);
      },
      { checkpoint, concurrency: 2 },
    );
    await expect(failing).rejects.toMatchObject({ code: 'MIGRATION_FAILED', cause });
    await expect(failing).rejects.toBeInstanceOf(MigrationError);
    const again = plan(ring, ring.with({ add: ['e'] }), { replicas: 2 });
    const report = await migrate(again, (_, { index }) => void seen.push(index), { checkpoint });
    expect(report.resumed).toBe(5);
    expect(report.moved).toBe(movement.moves.length - 5);
    expect([...seen].sort((a, b) => a - b)).toEqual(movement.moves.map((_, index) => index));
    expect(await migrate(again, () => expect.unreachable(), { checkpoint })).toEqual({
      moved: 0,
      resumed: movement.moves.length,
    });
  });

  it('counts nothing as done before its mover resolved', async () => {
    const checkpoint = new MemoryCheckpoint();
    const controller = new AbortController();
    const aborted = migrate(
      movement,
      (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('cancelled')));
          controller.abort(new Error('enough'));
        }),
      { checkpoint, signal: controller.signal },
    );
    await expect(aborted).rejects.toThrow('enough');
    expect(checkpoint.saved).toBeUndefined();
  });

  it('rejects with the reason when aborted, before and between moves', async () => {
    const controller = new AbortController();
    let moves = 0;
    const running = migrate(
      movement,
      () => {
        if (++moves === 3) controller.abort(new Error('stop'));
      },
      { signal: controller.signal, concurrency: 1 },
    );
    await expect(running).rejects.toThrow('stop');
    expect(moves).toBe(3);
    await expect(
      migrate(movement, () => expect.unreachable(), { signal: controller.signal }),
    ).rejects.toThrow('stop');
  });

  it('fails when the checkpoint cannot be saved', async () => {
    const checkpoint: CheckpointStore = {
      load: () => undefined,
      save: () => Promise.reject(new Error('no disk')),
    };
    await expect(migrate(movement, () => undefined, { checkpoint })).rejects.toThrow('no disk');
  });

  it('refuses a checkpoint of another plan', async () => {
    const checkpoint = new MemoryCheckpoint();
    await migrate(movement, () => undefined, { checkpoint });
    const other = plan(ring, ring.with({ remove: ['a'] }), { replicas: 2 });
    await expect(migrate(other, () => undefined, { checkpoint })).rejects.toThrow(
      /^MALFORMED_BYTES: a checkpoint of plan [0-9a-f]{16}, not of/,
    );
  });

  it('refuses a damaged checkpoint and garbage', async () => {
    const checkpoint = new MemoryCheckpoint();
    await migrate(movement, () => undefined, { checkpoint });
    const bytes = checkpoint.saved ?? new Uint8Array();
    for (let at = 0; at < bytes.length; at++) {
      checkpoint.saved = Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 1 : byte));
      await expect(migrate(movement, () => undefined, { checkpoint })).rejects.toThrow(MalformedBytesError);
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (garbage) => {
        checkpoint.saved = garbage;
        await expect(migrate(movement, () => undefined, { checkpoint })).rejects.toThrow(MalformedBytesError);
      }),
    );
  });

  it('has nothing to do for an empty plan', async () => {
    const progress: number[] = [];
    const report = await migrate(plan(ring, ring), () => expect.unreachable(), {
      onProgress: ({ fraction }) => progress.push(fraction),
    });
    expect(report).toEqual({ moved: 0, resumed: 0 });
    expect(progress).toEqual([1]);
  });

  it('refuses bad options', async () => {
    await expect(migrate(movement, () => undefined, { concurrency: 0 })).rejects.toThrow(InvalidOptionError);
    await expect(migrate(movement, undefined as never)).rejects.toThrow(InvalidOptionError);
  });
});
