import { seededRandom } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FifoEffect, FifoSession } from '../src/core/fifo.js';

const BOUNDS = { gapMs: 50, helloMs: 30, windowBytes: 2_000 };

interface Packet {
  readonly to: number;
  readonly bytes: Uint8Array;
  readonly dueMs: number;
}

/** Two sides over a medium that loses, repeats and holds back. Returns what went wrong and how much went well. */
function exchange(seed: number, loss: number) {
  const random = seededRandom(seed);
  const sides = [new FifoSession(10, BOUNDS), new FifoSession(7, BOUNDS)] as const;
  const underWay: Packet[] = [];
  /** What each side sent in its present session, and what the other has delivered in its own. */
  const sent: number[] = [0, 0];
  const delivered: number[] = [0, 0];
  const log = { delivered: 0, sessions: 0, wrong: [] as string[] };
  let now = 0;
  const carry = (from: number, bytes: Uint8Array): void => {
    for (let copies = random() < 0.1 ? 2 : 1; copies > 0; copies--) {
      if (random() >= loss) underWay.push({ to: 1 - from, bytes, dueMs: now + random() * 20 });
    }
  };
  const perform = (side: number, effects: readonly FifoEffect[]): void => {
    for (const effect of effects) {
      if (effect.type === 'send') carry(side, effect.packet);
      else if (effect.type === 'deliver') {
        const [number] = effect.frame;
        if (number !== (delivered[side] ?? 0) % 256)
          log.wrong.push(`seed ${String(seed)}: ${String(number)} out of turn`);
        delivered[side] = (delivered[side] ?? 0) + 1;
        log.delivered++;
      } else {
        sent[side] = delivered[side] = 0;
        if (effect.type === 'up') log.sessions++;
      }
    }
  };
  for (; now < 3_000; now++) {
    sides.forEach((session, side) => {
      perform(side, session.tick(now));
      if (!session.established || random() < 0.7) return;
      carry(side, session.packet(Uint8Array.of((sent[side] ?? 0) % 256)));
      session.sent();
      sent[side] = (sent[side] ?? 0) + 1;
    });
    for (let index = underWay.length - 1; index >= 0; index--) {
      const packet = underWay[index];
      if (packet === undefined || packet.dueMs > now) continue;
      underWay.splice(index, 1);
      const session = sides[packet.to];
      if (session !== undefined) perform(packet.to, session.receive(packet.bytes, now));
    }
  }
  return log;
}

describe('an ordered session', () => {
  it('delivers everything, in order and once, and never ends, when nothing is lost', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const { delivered, sessions, wrong } = exchange(seed, 0);
      expect(wrong).toEqual([]);
      expect(sessions).toBe(2);
      expect(delivered).toBeGreaterThan(1_500);
    }
  });

  it('has no gap and no repetition when packets are lost, and begins again each time', () => {
    let sessions = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const log = exchange(seed, 0.01);
      expect(log.wrong).toEqual([]);
      expect(log.delivered).toBeGreaterThan(100);
      sessions += log.sessions;
    }
    expect(sessions).toBeGreaterThan(400);
  });

  it('notices by the next hello that the last frame before a silence was lost', () => {
    const [a, b] = [new FifoSession(1, BOUNDS), new FifoSession(1, BOUNDS)];
    const pass = (from: FifoSession, to: FifoSession, effects: readonly FifoEffect[], now: number): void => {
      for (const effect of effects)
        if (effect.type === 'send') pass(to, from, to.receive(effect.packet, now), now);
    };
    pass(a, b, a.tick(0), 0);
    expect([a.established, b.established]).toEqual([true, true]);
    a.packet(Uint8Array.of(1));
    a.sent();
    pass(a, b, a.tick(30), 30);
    expect(b.tick(79).some(({ type }) => type === 'down')).toBe(false);
    expect(b.tick(80).map(({ type }) => type)).toEqual(['down', 'send']);
  });

  it('gives up rather than keep more than its window of frames that came too early', () => {
    const [a, b] = [new FifoSession(1, BOUNDS), new FifoSession(1, BOUNDS)];
    const pass = (from: FifoSession, to: FifoSession, effects: readonly FifoEffect[]): void => {
      for (const effect of effects) if (effect.type === 'send') pass(to, from, to.receive(effect.packet, 0));
    };
    pass(a, b, a.tick(0));
    a.sent();
    const types: string[] = [];
    for (let index = 0; index < 5; index++) {
      types.push(...b.receive(a.packet(new Uint8Array(500)), 0).map(({ type }) => type));
      a.sent();
    }
    expect(types).toEqual(['down', 'send']);
  });

  it('refuses bytes that are no packet, and stays as it was', () => {
    const session = new FifoSession(5, BOUNDS);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, versioned) => {
        if (versioned && bytes.length > 1) bytes.set([1, 1 + ((bytes[1] ?? 0) % 3)]);
        const before = session.epoch;
        try {
          session.receive(bytes, 0);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
        expect(session.epoch).toBe(before);
      }),
      { numRuns: 1_000 },
    );
  });
});
