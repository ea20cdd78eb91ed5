import type { Entry } from '@quorate/durable-log';
import type { AppliedCommand, StateMachine } from '@quorate/replicated-log';
import { type KvItem, KvMachine } from '@quorate/replicated-log/kv';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Command, decodeCommand, encodeCommand } from '../src/core/commands.js';
import { decodeKvCommand, encodeKvCommand, type KvCommand } from '../src/core/kv-format.js';
import { SessionMachine } from '../src/session-machine.js';

const time = fc.integer({ min: 0, max: 2 ** 45 });
const positive = fc.integer({ min: 1, max: 2 ** 40 });
const bytes = fc.uint8Array({ maxLength: 40 });

const commands: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ kind: fc.constant('plain' as const), timeMs: time, data: bytes }),
  fc.record({ kind: fc.constant('tick' as const), timeMs: time }),
  fc.record({ kind: fc.constant('open' as const), timeMs: time, ttlMs: positive }),
  fc.record({
    kind: fc.constantFrom('keep-alive' as const, 'close' as const),
    timeMs: time,
    session: positive,
  }),
  fc.record({
    kind: fc.constant('session' as const),
    timeMs: time,
    session: positive,
    sequence: positive,
    acknowledged: positive,
    data: bytes,
  }),
);

const kvCommands: fc.Arbitrary<KvCommand> = fc.oneof(
  fc.record(
    {
      type: fc.constant('put' as const),
      key: fc.string(),
      value: bytes,
      ttlMs: positive,
      ifVersion: positive,
    },
    { requiredKeys: ['type', 'key', 'value'] },
  ),
  fc.record(
    { type: fc.constant('delete' as const), key: fc.string(), ifVersion: positive },
    { requiredKeys: ['type', 'key'] },
  ),
);

function plain<T extends object>(value: T): T {
  const data = Object.entries(value).map(([key, of]) => [
    key,
    of instanceof Uint8Array ? [...of] : (of as unknown),
  ]);
  return Object.fromEntries(data) as T;
}

describe('formats of the log', () => {
  it('reads back every command, with and without a session', () => {
    fc.assert(
      fc.property(commands, (command) => {
        expect(plain(decodeCommand(encodeCommand(command)))).toEqual(plain(command));
      }),
    );
  });

  it('reads back every write of the key-value store', () => {
    fc.assert(
      fc.property(kvCommands, (command) => {
        expect(plain(decodeKvCommand(encodeKvCommand(command)))).toEqual(plain(command));
      }),
    );
  });

  it.each([
    ['a command', decodeCommand],
    ['a write', decodeKvCommand],
  ])('refuses arbitrary bytes as %s with a typed error', (_, decode: (input: Uint8Array) => unknown) => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc
        .tuple(fc.constantFrom(1, 0x10, 0x12, 0x15), fc.uint8Array({ maxLength: 40 }))
        .map(([first, rest]) => Uint8Array.from([first, ...rest])),
    );
    fc.assert(
      fc.property(hostile, (input) => {
        try {
          decode(input);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('keeps version 1 of the commands as it is', () => {
    const data = Buffer.from('x');
    const hex = (command: Command): string => Buffer.from(encodeCommand(command)).toString('hex');
    expect(hex({ kind: 'plain', timeMs: 300, data })).toBe('10ac0278');
    expect(hex({ kind: 'tick', timeMs: 300 })).toBe('11ac02');
    expect(hex({ kind: 'open', timeMs: 300, ttlMs: 5 })).toBe('12ac0205');
    expect(hex({ kind: 'keep-alive', timeMs: 300, session: 7 })).toBe('13ac0207');
    expect(hex({ kind: 'close', timeMs: 300, session: 7 })).toBe('14ac0207');
    expect(hex({ kind: 'session', timeMs: 300, session: 7, sequence: 3, acknowledged: 2, data })).toBe(
      '15ac0207030278',
    );
    const put = encodeKvCommand({ type: 'put', key: 'k', value: data, ifVersion: 5, ttlMs: 9 });
    expect(Buffer.from(put).toString('hex')).toBe('010d016b050978');
  });
});

/** Counts, and tells for each command which one it was. */
class Counter implements StateMachine<number, void, number> {
  count = 0;
  readonly results = {
    encode: (result: number) => Buffer.from(String(result)),
    decode: (input: Uint8Array) => Number(Buffer.from(input).toString()),
  };
  apply(applied: readonly AppliedCommand[]): readonly number[] {
    return applied.map(() => ++this.count);
  }
  query(): number {
    return this.count;
  }
  async *snapshot(): AsyncGenerator<Uint8Array, void, undefined> {
    yield await Promise.resolve(Buffer.from(String(this.count)));
  }
  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let text = '';
    for await (const chunk of chunks) text += Buffer.from(chunk).toString();
    this.count = Number(text);
  }
}

function entry(index: number, command: Command): Entry {
  return { index, term: 1, kind: 'command', data: encodeCommand(command) };
}

describe('commands of a session', () => {
  const data = new Uint8Array();
  const open = entry(1, { kind: 'open', timeMs: 1_000, ttlMs: 100 });
  const command = (index: number, sequence: number, acknowledged = 0, timeMs = 1_000): Entry =>
    entry(index, { kind: 'session', timeMs, session: 1, sequence, acknowledged, data });

  it('need a session, which its index in the log names (Figure 6.1: RegisterClient rule 3, ClientRequest rule 3)', () => {
    const machine = new SessionMachine(new Counter());
    expect(machine.apply([command(1, 1), entry(7, { kind: 'open', timeMs: 1_000, ttlMs: 100 })])).toEqual([
      { kind: 'expired' },
      { kind: 'opened', session: 7 },
    ]);
    expect(machine.query(undefined)).toBe(0);
  });

  it('take effect once and give the first result again (dissertation, section 6.3)', () => {
    const machine = new SessionMachine(new Counter());
    const outcomes = machine.apply([open, command(2, 1), command(3, 2), command(4, 1)]);
    expect(outcomes).toEqual([
      { kind: 'opened', session: 1 },
      { kind: 'result', result: 1 },
      { kind: 'result', result: 2 },
      { kind: 'result', result: 1 },
    ]);
  });

  it('never take effect once they are acknowledged, however late a copy comes', () => {
    const machine = new SessionMachine(new Counter());
    machine.apply([open, command(2, 2, 1)]);
    expect(machine.apply([command(3, 1), command(4, 2_000)])).toEqual([{ kind: 'done' }, { kind: 'done' }]);
    expect(machine.query(undefined)).toBe(1);
  });

  it('have no effect after the session has expired, by time that never goes back', () => {
    const machine = new SessionMachine(new Counter());
    machine.apply([open, command(2, 1, 0, 1_099)]);
    machine.apply([entry(3, { kind: 'tick', timeMs: 1_199 })]);
    expect(machine.apply([command(4, 2, 1, 500), command(5, 1, 0, 500)])).toEqual([
      { kind: 'expired' },
      { kind: 'expired' },
    ]);
    expect(machine.query(undefined)).toBe(1);
  });

  it('are remembered by a snapshot', async () => {
    const machine = new SessionMachine(new Counter());
    machine.apply([open, command(2, 1), command(3, 2)]);
    const snapshot = machine.snapshot();
    machine.apply([command(4, 3)]);
    const restored = new SessionMachine(new Counter());
    await restored.restore(snapshot);
    expect(restored.query(undefined)).toBe(2);
    expect(restored.apply([command(5, 2), command(6, 3)])).toEqual([
      { kind: 'result', result: 2 },
      { kind: 'result', result: 3 },
    ]);
  });

  it('give the same outcomes however the log is cut into batches', () => {
    const sized = fc.array(fc.tuple(commands, fc.boolean()), { maxLength: 40 });
    fc.assert(
      fc.property(sized, (list) => {
        const whole = new SessionMachine(new Counter());
        const pieces = new SessionMachine(new Counter());
        const entries = list.map(([one], at) => {
          const small = 'session' in one ? { ...one, session: (one.session % 3) + 1 } : one;
          return entry(
            at + 1,
            'sequence' in small ? { ...small, sequence: (small.sequence % 4) + 1, acknowledged: 0 } : small,
          );
        });
        let batch: Entry[] = [];
        const outcomes: unknown[] = [];
        for (const [at, one] of entries.entries()) {
          batch.push(one);
          if (list[at]?.[1] !== true) continue;
          outcomes.push(...pieces.apply(batch));
          batch = [];
        }
        outcomes.push(...pieces.apply(batch));
        expect(outcomes).toEqual(whole.apply(entries));
      }),
    );
  });
});

describe('a key-value machine', () => {
  it('comes back from its snapshot as it was, however the chunks are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(kvCommands, { maxLength: 30 }),
        fc.integer({ min: 1, max: 50 }),
        async (list, size) => {
          const machine = new KvMachine();
          machine.apply(
            list.map((command, at) => ({
              index: at + 1,
              term: 1,
              timeMs: 1_000 + at,
              data: encodeKvCommand(command),
            })),
          );
          const parts: Uint8Array[] = [];
          for await (const chunk of machine.snapshot()) parts.push(chunk);
          const all = Buffer.concat(parts);
          const restored = new KvMachine();
          await restored.restore(
            (async function* cut() {
              for (let at = 0; at < all.length; at += size)
                yield await Promise.resolve(all.subarray(at, at + size));
            })(),
          );
          const items = (of: KvMachine): [string, KvItem][] =>
            of.query({ type: 'list', prefix: '', limit: 1_000 }).map(([key, item]) => [key, plain(item)]);
          expect(items(restored)).toEqual(items(machine));
          expect(restored.nextTimeMs() === undefined).toBe(
            items(machine).every(([, { expiresAtMs }]) => expiresAtMs === undefined),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it('refuses a snapshot of another version or one that is cut off, and keeps its state', async () => {
    const machine = new KvMachine();
    machine.apply([
      {
        index: 1,
        term: 1,
        timeMs: 0,
        data: encodeKvCommand({ type: 'put', key: 'k', value: new Uint8Array(1) }),
      },
    ]);
    const chunks = async function* of(...parts: number[][]) {
      for (const part of parts) yield await Promise.resolve(Uint8Array.from(part));
    };
    await expect(machine.restore(chunks([9]))).rejects.toMatchObject({ code: 'MALFORMED_BYTES' });
    await expect(machine.restore(chunks([1, 0, 0]))).rejects.toMatchObject({ code: 'INVALID_SNAPSHOT' });
    expect(machine.query({ type: 'get', key: 'k' })).toHaveLength(1);
  });
});
