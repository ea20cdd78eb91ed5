import {
  decodeLockCommand,
  encodeLockCommand,
  type LockCommand,
  LockMachine,
  type LockResult,
} from '@quorate/replicated-log/lock';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const names = fc.constantFrom('l', 'm');
const owners = fc.constantFrom('x', 'y', 'z');
const commands: fc.Arbitrary<LockCommand> = fc.oneof(
  fc.record({
    type: fc.constantFrom('acquire' as const, 'try' as const),
    name: names,
    owner: owners,
    ttlMs: fc.integer({ min: 1, max: 100 }),
  }),
  fc.record({ type: fc.constant('release' as const), name: names, owner: owners }),
);

let index = 0;
function apply(machine: LockMachine, timeMs: number, command: LockCommand): LockResult {
  const [result] = machine.apply([{ index: ++index, term: 1, timeMs, data: encodeLockCommand(command) }]);
  if (result === undefined) throw new Error('no result');
  return result;
}
const acquire = (owner: string, ttlMs = 100): LockCommand => ({ type: 'acquire', name: 'l', owner, ttlMs });

describe('a lock machine', () => {
  it('grants in the order of arrival, each time with a higher fence', () => {
    const machine = new LockMachine();
    expect(apply(machine, 0, acquire('x'))).toEqual({ state: 'held', fence: 1, expiresAtMs: 100 });
    expect(apply(machine, 1, acquire('y'))).toMatchObject({ state: 'waiting', ahead: 1 });
    expect(apply(machine, 2, acquire('z'))).toMatchObject({ state: 'waiting', ahead: 2 });
    expect(apply(machine, 3, { type: 'try', name: 'l', owner: 'w', ttlMs: 10 })).toEqual({ state: 'none' });
    apply(machine, 4, { type: 'release', name: 'l', owner: 'x' });
    expect(machine.query({ name: 'l' })).toEqual({
      holder: { owner: 'y', fence: 2, expiresAtMs: 104 },
      waiting: 1,
    });
    expect(apply(machine, 5, acquire('z'))).toMatchObject({ state: 'waiting', ahead: 1 });
  });

  it('gives the same fence to an owner that asks again, and renews it', () => {
    const machine = new LockMachine();
    apply(machine, 0, acquire('x'));
    expect(apply(machine, 90, acquire('x'))).toEqual({ state: 'held', fence: 1, expiresAtMs: 190 });
  });

  it('passes a lock on when time says so, over those whose place has expired too', () => {
    const machine = new LockMachine();
    apply(machine, 0, acquire('x', 100));
    apply(machine, 0, acquire('y', 50));
    apply(machine, 0, acquire('z', 200));
    expect(machine.nextTimeMs()).toBe(50);
    machine.advance(100);
    expect(machine.query({ name: 'l' })).toEqual({
      holder: { owner: 'z', fence: 2, expiresAtMs: 300 },
      waiting: 0,
    });
    machine.advance(300);
    expect(machine.query({ name: 'l' })).toEqual({ holder: undefined, waiting: 0 });
    expect(machine.nextTimeMs()).toBeUndefined();
  });

  it('never has fences go back, and comes back from a snapshot at any point as it was', async () => {
    const steps = fc.array(fc.tuple(commands, fc.integer({ min: 0, max: 40 })), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(40), async (list, at) => {
        let machine = new LockMachine();
        const twin = new LockMachine();
        const highest = new Map<string, number>();
        let timeMs = 0;
        for (const [number, [command, later]] of list.entries()) {
          timeMs += later;
          const result = apply(machine, timeMs, command);
          expect(apply(twin, timeMs, command)).toEqual(result);
          if (result.state === 'held') {
            expect(result.fence).toBeGreaterThanOrEqual(highest.get(command.name) ?? 0);
            expect(result.expiresAtMs).toBeGreaterThan(timeMs);
            highest.set(command.name, result.fence);
          }
          expect(machine.results.decode(machine.results.encode(result))).toEqual(result);
          if (number !== at) continue;
          const restored = new LockMachine();
          await restored.restore(machine.snapshot());
          machine = restored;
        }
        for (const name of ['l', 'm']) expect(machine.query({ name })).toEqual(twin.query({ name }));
      }),
      { numRuns: 100 },
    );
  });

  it('reads back its commands and refuses other bytes with a typed error', () => {
    fc.assert(
      fc.property(commands, (command) => {
        expect(decodeLockCommand(encodeLockCommand(command))).toEqual(command);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (rest) => {
        try {
          decodeLockCommand(Uint8Array.from([1, ...rest]));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
      }),
    );
    expect(Buffer.from(encodeLockCommand(acquire('x', 9))).toString('hex')).toBe('0100016c017809');
  });
});
