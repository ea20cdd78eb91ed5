import fc from 'fast-check';
import { createVirtualRuntime } from '@quorate/runtime/virtual';
import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  createOutbox,
  createRelay,
  type Handlers,
  type Message,
  type Relay,
  type Transaction,
} from '@quorate/outbox-and-event-sync';
import { hashKey, toRow } from '../src/message.js';

const bounds = { maxPayloadBytes: 1_000, maxHeaderBytes: 100 };

describe('a message as the table holds it', () => {
  it('hashes its key to the first four bytes of SHA-256, for ever', () => {
    // FIPS 180-2, appendix B.1: SHA-256("abc") begins with ba7816bf.
    expect(hashKey('abc')).toBe(0xba7816bf | 0);
    // UTF-8: SHA-256 of the two bytes c3 a9, by sha256sum.
    expect(hashKey('é')).toBe(0x4a99557e | 0);
  });

  it('gets an id that rises with time and is its key when it has none', () => {
    const runtime = createVirtualRuntime({ startMs: 0x0123456789ab });
    const first = toRow({ topic: 't', payload: 1 }, 'message', runtime, bounds);
    expect(first.id).toMatch(/^01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(first).toMatchObject({ key: first.id, ordered: false });
    runtime.jumpWallClock(1);
    const second = toRow({ topic: 't', payload: 1, key: 'k' }, 'message', runtime, bounds);
    expect(second.id > first.id).toBe(true);
    expect(second).toMatchObject({ key: 'k', ordered: true });
  });

  it('holds any JSON value as it was, within its bounds', () => {
    const runtime = createVirtualRuntime();
    fc.assert(
      fc.property(fc.jsonValue(), (payload) => {
        const json = JSON.stringify(payload);
        const write = () => toRow({ topic: 't', payload }, 'message', runtime, bounds);
        if (Buffer.byteLength(json) > bounds.maxPayloadBytes) expect(write).toThrow('MESSAGE_TOO_LARGE');
        else expect(write().payload).toBe(json);
      }),
    );
  });
});

describe('known topics', () => {
  interface Events {
    'order.placed': { id: string };
    'order.paid': { cents: number };
  }

  it('tie payloads to topics', () => {
    const outbox = createOutbox<Events>();
    const publish = (tx: Transaction) => [
      outbox.publish(tx, { topic: 'order.placed', payload: { id: 'o-1' } }),
      // @ts-expect-error another topic's payload
      outbox.publish(tx, { topic: 'order.placed', payload: { cents: 1 } }),
      // @ts-expect-error no such topic
      outbox.publish(tx, { topic: 'order.lost', payload: {} }),
    ];
    expectTypeOf(publish).returns.toEqualTypeOf<Promise<string[]>[]>();
    expectTypeOf<Extract<Message<Events>, { topic: 'order.paid' }>['payload']>().toEqualTypeOf<{
      cents: number;
    }>();
    expectTypeOf<Parameters<NonNullable<Handlers<Events>['order.placed']>>[0]['payload']>().toEqualTypeOf<{
      id: string;
    }>();
    // Without known topics any handler fits, and payloads are unknown.
    const relay = () =>
      createRelay({
        db: {} as never,
        publish: { anything: ({ payload }) => expectTypeOf(payload).toBeUnknown() },
      });
    expectTypeOf(relay).returns.toEqualTypeOf<Relay>();
  });
});
