import {
  type ClaimRequest,
  decodeLockCommand,
  encodeLockCommand,
  type LockCommand,
  LockMachine,
} from '@quorate/replicated-log/lock';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LeaseObserver } from '../src/core/lease-observer.js';
import { decodeLocks } from '../src/core/lock-format.js';

const LEASE_MS = 100;
const claim = (owner: string, more: Partial<ClaimRequest> = {}): ClaimRequest => ({
  key: 'k',
  owner,
  mode: 'exclusive',
  permits: 1,
  total: 1,
  leaseMs: LEASE_MS,
  wait: true,
  ...more,
});

class Machine {
  readonly machine = new LockMachine();
  index = 0;

  run(command: LockCommand) {
    const data = encodeLockCommand(command);
    const [result] = this.machine.apply([{ index: ++this.index, term: 1, timeMs: 0, data }]);
    if (result === undefined) throw new Error('no result');
    return result;
  }

  claim(owner: string, more: Partial<ClaimRequest> = {}) {
    return this.run({ type: 'claim', request: claim(owner, more) });
  }

  stamps() {
    return Object.fromEntries([...this.machine.claims()].map(({ owner, stamp }) => [owner, stamp]));
  }

  async bytes(): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.machine.snapshot()) chunks.push(chunk);
    return Buffer.concat(chunks);
  }
}

describe('a lock machine', () => {
  it('ends a lease only for whoever has seen its last renewal', () => {
    const one = new Machine();
    expect(one.claim('x')).toMatchObject({ state: 'granted', fence: 1, validMs: LEASE_MS });
    expect(one.claim('y')).toEqual({ state: 'waiting' });
    const seen = one.stamps();
    expect(one.run({ type: 'renew', claim: { key: 'k', owner: 'x' }, leaseMs: LEASE_MS })).toMatchObject({
      state: 'held',
    });
    const lapse = (stamp: number): LockCommand => ({
      type: 'lapse',
      claims: [{ key: 'k', owner: 'x', stamp }],
    });
    one.run(lapse(seen['x'] ?? 0));
    expect(one.machine.query({ key: 'k' }).holders).toMatchObject([{ owner: 'x' }]);
    one.run(lapse(one.stamps()['x'] ?? 0));
    expect(one.machine.query({ key: 'k' }).holders).toMatchObject([{ owner: 'y', fence: 2 }]);
    expect(one.run({ type: 'renew', claim: { key: 'k', owner: 'x' }, leaseMs: LEASE_MS })).toEqual({
      state: 'lost',
    });
  });

  it('starts the lease of a claim that waited with its grant', () => {
    const one = new Machine();
    one.claim('x');
    one.claim('y');
    const asked = one.stamps()['y'] ?? 0;
    one.run({ type: 'release', claim: { key: 'k', owner: 'x' } });
    expect(one.stamps()['y']).toBeGreaterThan(asked);
    one.run({ type: 'lapse', claims: [{ key: 'k', owner: 'y', stamp: asked }] });
    expect(one.machine.query({ key: 'k' }).holders).toMatchObject([{ owner: 'y' }]);
  });

  it('ignores a conversion that arrives behind a later one', () => {
    const one = new Machine();
    one.claim('x');
    const convert = (mode: 'exclusive' | 'shared', order: number) =>
      one.run({ type: 'convert', request: claim('x', { mode, wait: false }), order });
    expect(convert('shared', 1)).toMatchObject({ state: 'granted' });
    expect(convert('exclusive', 3)).toMatchObject({ state: 'granted' });
    convert('shared', 2);
    convert('shared', 1);
    expect(one.machine.query({ key: 'k' }).holders).toMatchObject([{ owner: 'x', mode: 'exclusive' }]);
  });

  it('answers a conversion of permits, which a node must survive', () => {
    const one = new Machine();
    one.claim('x', { mode: 'permits', total: 3 });
    expect(one.run({ type: 'convert', request: claim('x'), order: 1 })).toEqual({ state: 'unfit' });
    expect(one.machine.query({ key: 'k' }).holders).toMatchObject([{ owner: 'x', mode: 'permits' }]);
  });

  it('is the same machine from a snapshot, whatever was done before and after', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(commands, { maxLength: 60 }), fc.nat(60), async (list, cut) => {
        const whole = new Machine();
        let half = new Machine();
        for (const [at, command] of list.entries()) {
          if (at === cut) {
            const restored = new Machine();
            await restored.machine.restore(whole.machine.snapshot());
            restored.index = whole.index;
            half = restored;
          }
          const result = whole.run(command);
          expect(half.run(command)).toEqual(result);
        }
        expect(await half.bytes()).toEqual(await whole.bytes());
        for (const key of KEYS) {
          const { holders } = whole.machine.query({ key });
          expect(holders.length <= 1 || holders.every(({ mode }) => mode !== 'exclusive')).toBe(true);
        }
      }),
    );
  });
});

const KEYS = ['k', 'l'];
const ids = fc.record({ key: fc.constantFrom(...KEYS), owner: fc.constantFrom('x', 'y', 'z', 'w') });
const requests = fc
  .tuple(
    ids,
    fc.constantFrom('exclusive' as const, 'shared' as const, 'permits' as const),
    fc.integer({ min: 1, max: 3 }),
    fc.integer({ min: 1, max: 2 ** 40 }),
    fc.boolean(),
  )
  .map(([id, mode, permits, leaseMs, wait]): ClaimRequest => ({
    ...id,
    mode,
    permits: mode === 'permits' ? permits : 1,
    total: mode === 'permits' ? 3 : 1,
    leaseMs,
    wait,
  }));
const commands: fc.Arbitrary<LockCommand> = fc.oneof(
  fc.record({ type: fc.constant('claim' as const), request: requests }),
  fc.record({ type: fc.constant('convert' as const), request: requests, order: fc.nat(9) }),
  fc.record({
    type: fc.constant('renew' as const),
    claim: ids,
    leaseMs: fc.integer({ min: 1, max: 2 ** 40 }),
  }),
  fc.record({ type: fc.constant('release' as const), claim: ids }),
  fc.record({
    type: fc.constant('lapse' as const),
    claims: fc.array(
      fc.tuple(ids, fc.nat(60)).map(([id, stamp]) => ({ ...id, stamp })),
      { maxLength: 5 },
    ),
  }),
);

describe('the bytes of replicated locks', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(commands, (command) => {
        expect(decodeLockCommand(encodeLockCommand(command))).toEqual(command);
      }),
    );
  });

  it('are refused when they are anything else, and nothing but that happens', async () => {
    const one = new Machine();
    one.claim('x');
    one.claim('y', { mode: 'shared' });
    const samples = [
      { bytes: await one.bytes(), decode: (bytes: Uint8Array) => void decodeLocks(bytes) },
      {
        bytes: Buffer.from(encodeLockCommand({ type: 'convert', request: claim('x'), order: 7 })),
        decode: (bytes: Uint8Array) => void decodeLockCommand(bytes),
      },
    ];
    for (const { bytes, decode } of samples) {
      const judge = (given: Uint8Array): void => {
        try {
          decode(given);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
      };
      for (let cut = 0; cut < bytes.length; cut++)
        expect(() => decode(bytes.subarray(0, cut))).toThrow(MalformedBytesError);
      expect(() => decode(Buffer.concat([bytes, Buffer.of(0)]))).toThrow(MalformedBytesError);
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
          const damaged = Buffer.from(bytes);
          damaged[at] = byte;
          judge(damaged);
        }),
      );
      fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (given) => judge(given)));
    }
    const ill: readonly [LockCommand, RegExp][] = [
      [{ type: 'claim', request: claim('x', { permits: 0 }) }, /0 of 1 permits/],
      [{ type: 'claim', request: claim('x', { total: 2 }) }, /1 of 2 permits/],
      [{ type: 'claim', request: claim('x', { leaseMs: 0 }) }, /a lease of 0 ms/],
      [{ type: 'claim', request: claim('') }, /an empty owner/],
      [{ type: 'claim', request: claim('x', { key: 'k'.repeat(256) }) }, /a length of 256/],
    ];
    for (const [command, what] of ill)
      expect(() => decodeLockCommand(encodeLockCommand(command))).toThrow(what);
  });

  it('of version 1 stay readable for ever', async () => {
    const golden = JSON.parse(readFileSync(join(import.meta.dirname, 'golden/locks-v1.json'), 'utf8')) as {
      commands: { hex: string; command: LockCommand }[];
      snapshot: { hex: string; waiting: number; holders: unknown };
    };
    expect(golden.commands).toHaveLength(5);
    for (const { hex, command } of golden.commands) {
      expect(decodeLockCommand(Buffer.from(hex, 'hex'))).toEqual(command);
      expect(Buffer.from(encodeLockCommand(command)).toString('hex')).toBe(hex);
    }
    const one = new Machine();
    const bytes = Buffer.from(golden.snapshot.hex, 'hex');
    await one.machine.restore(
      (async function* chunks() {
        yield await Promise.resolve(bytes.subarray(0, 7));
        yield bytes.subarray(7);
      })(),
    );
    const { holders, waiting } = one.machine.query({ key: 'k' });
    expect({ holders, waiting }).toEqual({
      holders: golden.snapshot.holders,
      waiting: golden.snapshot.waiting,
    });
    expect((await one.bytes()).toString('hex')).toBe(golden.snapshot.hex);
  });
});

describe('what a node sees of leases', () => {
  const never = (): number => 0;

  it('counts from when it learned of a renewal, and never shortens what was promised', () => {
    const observer = new LeaseObserver();
    const id = { key: 'k', owner: 'x' };
    observer.prolonged(id, 1, 1_000, 0);
    observer.prolonged(id, 2, 10, 500);
    expect(observer.nextMs()).toBe(1_000);
    expect(observer.due(999, 9, never, 50)).toEqual([]);
    expect(observer.due(1_000, 9, never, 50)).toEqual([{ ...id, stamp: 2 }]);
    expect(observer.due(1_049, 9, never, 50)).toEqual([]);
    expect(observer.due(1_050, 9, never, 50)).toEqual([{ ...id, stamp: 2 }]);
    observer.ended(id);
    expect(observer.due(5_000, 9, never, 50)).toEqual([]);
    expect(observer.nextMs()).toBeUndefined();
  });

  it('gives another node its time, once', () => {
    const observer = new LeaseObserver();
    observer.prolonged({ key: 'k', owner: 'x' }, 1, 100, 0);
    const grace = (leaseMs: number): number => leaseMs / 2;
    expect(observer.due(100, 9, grace, 50)).toEqual([]);
    expect(observer.nextMs()).toBe(150);
    expect(observer.due(150, 9, grace, 50)).toHaveLength(1);
  });

  it('tells no more at once than it is asked for, and the rest at once', () => {
    const observer = new LeaseObserver();
    for (const owner of ['x', 'y', 'z']) observer.prolonged({ key: 'k', owner }, 1, 100, 0);
    expect(observer.due(100, 2, never, 50)).toHaveLength(2);
    expect(observer.nextMs()).toBeLessThanOrEqual(100);
    expect(observer.due(100, 2, never, 50)).toHaveLength(1);
  });
});
