import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { raftCodec, type RaftMessage } from '@quorate/raft-core';
import { MalformedBytesError } from '@quorate/runtime/bytes';

const codec = raftCodec({ group: 'orders' });
const number = fc.nat(2 ** 31 - 1);
const id = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme-ascii' });
const bytes = fc.uint8Array({ maxLength: 40 });
const term = number;
const ids = fc.array(id, { maxLength: 4 });

const message: fc.Arbitrary<RaftMessage> = fc.oneof(
  fc
    .record({
      term,
      prevIndex: number,
      prevTerm: number,
      commit: number,
      entries: fc.array(
        fc.record(
          { term: number, kind: fc.constantFrom('command', 'config', 'noop' as const), data: bytes, id },
          { requiredKeys: ['term', 'kind', 'data'] },
        ),
        { maxLength: 5 },
      ),
    })
    .map(({ entries, ...rest }): RaftMessage => ({
      type: 'append',
      ...rest,
      entries: entries.map((entry, at) => ({ ...entry, index: rest.prevIndex + 1 + at })),
    })),
  fc.record({ type: fc.constant('append-accepted' as const), term, match: number }),
  fc.record({
    type: fc.constant('append-rejected' as const),
    term,
    prevIndex: number,
    hintIndex: number,
    hintTerm: number,
  }),
  fc.record({ type: fc.constant('heartbeat' as const), term, commit: number, round: number }),
  fc.record({ type: fc.constant('heartbeat-reply' as const), term, round: number }),
  fc.record({
    type: fc.constant('vote' as const),
    term,
    lastIndex: number,
    lastTerm: number,
    commit: number,
    commitTerm: number,
    pre: fc.boolean(),
    transfer: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('vote-reply' as const),
    term,
    commit: number,
    commitTerm: number,
    pre: fc.boolean(),
    granted: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('snapshot' as const),
    term,
    meta: fc.record({ index: number, term: number, membership: bytes }),
  }),
  fc.record({ type: fc.constant('timeout-now' as const), term }),
  ids.chain((list) =>
    fc.record({
      type: fc.constant('forward' as const),
      term,
      incarnation: fc.maxSafeInteger(),
      sequence: number,
      ids: fc.constant(list),
      commands: fc.tuple(...list.map(() => bytes)),
    }),
  ),
  fc.record({
    type: fc.constant('forward-refused' as const),
    term,
    ids,
    reason: fc.constantFrom('queue-full', 'transferring', 'too-large' as const),
  }),
  fc.record({ type: fc.constant('read-request' as const), term, id }),
  fc.record({ type: fc.constant('read-reply' as const), term, id, index: number }),
);

/** A message with arrays for bytes, so that it compares by value. */
function normal(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, normal(part)]));
}

describe('raft messages as bytes', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(message, (one) => {
        expect(normal(codec.decode(codec.encode(one)))).toEqual(normal(one));
      }),
      { numRuns: 500 },
    );
  });

  it('are refused, and nothing else is thrown, when they are garbage or cut or changed', () => {
    const refusedOrRead = (input: Uint8Array): void => {
      try {
        codec.decode(input);
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedBytesError);
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), refusedOrRead));
    fc.assert(
      fc.property(message, fc.nat(), fc.nat(255), (one, at, value) => {
        const encoded = codec.encode(one);
        refusedOrRead(encoded.subarray(0, at % encoded.length));
        encoded[at % encoded.length] = value;
        refusedOrRead(encoded);
      }),
      { numRuns: 500 },
    );
  });

  it('of another group are refused', () => {
    const other = raftCodec({ group: 'payments' });
    expect(() => codec.decode(other.encode({ type: 'timeout-now', term: 1 }))).toThrow('another group');
  });

  it('with more items than allowed are refused before anything is made of them', () => {
    const small = raftCodec({ group: 'orders', maxItems: 2 });
    const three = codec.encode({
      type: 'forward-refused',
      term: 1,
      ids: ['a', 'b', 'c'],
      reason: 'queue-full',
    });
    expect(() => small.decode(three)).toThrow('3 items');
  });

  it('of version 1 stay readable for ever', () => {
    const golden = JSON.parse(readFileSync(join(import.meta.dirname, 'golden/messages-v1.json'), 'utf8')) as {
      hex: string;
      message: unknown;
    }[];
    expect(golden).toHaveLength(13);
    for (const { hex, message: expected } of golden) {
      const decoded = codec.decode(Buffer.from(hex, 'hex'));
      expect(normal(decoded)).toEqual(expected);
      expect(Buffer.from(codec.encode(decoded)).toString('hex')).toBe(hex);
    }
  });
});
