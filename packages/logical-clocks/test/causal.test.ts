import fc from 'fast-check';
import { InvalidOptionError, seededRandom } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import { describe, expect, it } from 'vitest';
import {
  CausalBufferFullError,
  CausalityError,
  type CausalEvent,
  CausalReceiverClosedError,
  createCausalInbox,
  createCausalOutbox,
  createCausalReceiver,
  createHlc,
  decodeEvent,
  encodeEvent,
  MAX_VECTOR_ENTRIES,
  VersionVector,
} from '@quorate/logical-clocks';
import { history, item, shuffled } from './executions.js';

/** Event `node:counter` with the given causes besides its own predecessors. */
function event(node: string, counter: number, causes: Record<string, number> = {}): CausalEvent<string> {
  return {
    dot: { node, counter },
    causes: VersionVector.from({ ...causes, [node]: counter - 1 }),
    hlc: { wall: 1000 + counter, logical: 0, node },
    payload: `${node}${counter}`,
  };
}
const names = (events: readonly CausalEvent<string>[]) => events.map(({ payload }) => payload);
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('causal inbox', () => {
  it('delivers every event once and after its causes, however the events arrive', () => {
    fc.assert(
      fc.property(history(), fc.integer(), (events, seed) => {
        const inbox = createCausalInbox<number>({ maxBuffered: events.length });
        const arrivals = shuffled([...events, ...events.slice(0, 5)], seededRandom(seed));
        const delivered = arrivals.flatMap((one) => inbox.offer(one));
        expect(delivered).toHaveLength(events.length);
        delivered.forEach((one, at) => {
          for (const earlier of delivered.slice(at)) expect(one.causes.covers(earlier.dot)).toBe(false);
        });
        expect(inbox.buffered).toBe(0);
        expect(inbox.missing().size).toBe(0);
        expect(arrivals.flatMap((one) => inbox.offer(one))).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  it('reports exactly the events that are absent, so that fetching them releases all', () => {
    fc.assert(
      fc.property(history(), fc.integer(), (events, seed) => {
        const random = seededRandom(seed);
        const inbox = createCausalInbox<number>({ maxBuffered: events.length });
        const here = events.filter(() => random() < 0.5);
        for (const one of shuffled(here, random)) inbox.offer(one);
        const missing = [...inbox.missing()].flatMap(([node, ranges]) =>
          ranges.flatMap(({ from, to }) =>
            Array.from({ length: to - from + 1 }, (_, at) => `${node}:${from + at}`),
          ),
        );
        const present = new Set(here.map(({ dot }) => `${dot.node}:${dot.counter}`));
        for (const one of missing) expect(present.has(one)).toBe(false);
        for (const one of events)
          if (missing.includes(`${one.dot.node}:${one.dot.counter}`)) inbox.offer(one);
        expect(inbox.buffered).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('names the gaps by node', () => {
    const inbox = createCausalInbox<string>({ maxBuffered: 9 });
    inbox.offer(event('a', 3));
    inbox.offer(event('a', 6));
    inbox.offer(event('b', 1, { c: 4 }));
    expect([...inbox.missing()]).toEqual([
      [
        'a',
        [
          { from: 1, to: 2 },
          { from: 4, to: 5 },
        ],
      ],
      ['c', [{ from: 1, to: 4 }]],
    ]);
  });

  it('refuses what must wait when it is full, and still takes what need not', () => {
    const inbox = createCausalInbox<string>({ maxBuffered: 2 });
    inbox.offer(event('a', 2));
    inbox.offer(event('a', 3));
    expect(() => inbox.offer(event('a', 4))).toThrow(CausalBufferFullError);
    expect(() => inbox.offer(event('a', 4))).toThrow(
      /event 4 of a must wait .* 2 events wait already, first of all for event 1 of a/,
    );
    expect(inbox.buffered).toBe(2);
    expect(names(inbox.offer(event('a', 1)))).toEqual(['a1', 'a2', 'a3']);
    expect(names(inbox.offer(event('a', 4)))).toEqual(['a4']);
    const none = createCausalInbox<string>({ maxBuffered: 0 });
    expect(names(none.offer(event('a', 1)))).toEqual(['a1']);
    expect(() => none.offer(event('a', 3))).toThrow(CausalBufferFullError);
  });

  it('is not led astray by causes from the far future', () => {
    const inbox = createCausalInbox<string>({ maxBuffered: 5 });
    inbox.offer(event('a', 1, { b: Number.MAX_SAFE_INTEGER }));
    expect([...inbox.missing()]).toEqual([['b', [{ from: 1, to: Number.MAX_SAFE_INTEGER }]]]);
  });

  it('takes a chain of two hundred thousand events that arrive last first, and a fan of as many', () => {
    const many = 200_000;
    const chain = createCausalInbox<string>({ maxBuffered: many });
    for (let counter = many; counter > 1; counter--) chain.offer(event('a', counter));
    expect(chain.offer(event('a', 1))).toHaveLength(many);
    const fan = createCausalInbox<string>({ maxBuffered: many });
    for (let counter = 1; counter <= many; counter++) fan.offer(event('b', counter, { a: 1 }));
    expect(fan.buffered).toBe(many);
    expect(fan.advance(VersionVector.from({ a: 1 }))).toHaveLength(many);
    expect(fan.buffered).toBe(0);
  });

  it('refuses events of more nodes than a vector holds before it takes them, and loses none of those it took', () => {
    const full = VersionVector.from(
      Array.from({ length: MAX_VECTOR_ENTRIES - 2 }, (_, at) => [`n${at}`, 1] as const),
    );
    const inbox = createCausalInbox<string>({ maxBuffered: 9, delivered: full });
    inbox.offer(event('x', 1, { late: 1 }));
    expect(names(inbox.offer(event('late', 1)))).toEqual(['late1', 'x1']);
    expect(() => inbox.offer(event('one-too-many', 1))).toThrow(InvalidOptionError);
    expect(() => inbox.offer(event('one-too-many', 2))).toThrow(InvalidOptionError);
    expect(inbox.delivered.size).toBe(MAX_VECTOR_ENTRIES);
    expect(names(inbox.offer(event('x', 2)))).toEqual(['x2']);
    const nearly = createCausalInbox<string>({ maxBuffered: 9, delivered: full });
    nearly.offer(event('x', 2));
    nearly.offer(event('y', 2));
    expect(() => nearly.advance(VersionVector.from({ z: 1 }))).toThrow(InvalidOptionError);
    expect(nearly.delivered).toBe(full);
    expect(names(nearly.offer(event('x', 1)))).toEqual(['x1', 'x2']);
  });

  it('releases what waited when a snapshot brings the causes', () => {
    const inbox = createCausalInbox<string>({ maxBuffered: 9, delivered: VersionVector.from({ a: 1 }) });
    inbox.offer(event('a', 4));
    inbox.offer(event('a', 6));
    inbox.offer(event('b', 1, { a: 6 }));
    expect(names(inbox.advance(VersionVector.from({ a: 5 })))).toEqual(['a6', 'b1']);
    expect(inbox.delivered.toJSON()).toEqual({ a: 6, b: 1 });
    expect(inbox.buffered).toBe(0);
  });

  it('refuses an event that claims itself or later ones of its node as a cause, or skips one', () => {
    const inbox = createCausalInbox<string>({ maxBuffered: 9 });
    for (const causes of [{ a: 2 }, { a: 3 }, {}])
      expect(() => inbox.offer({ ...event('a', 2), causes: VersionVector.from(causes) })).toThrow(/a at 1/);
    expect(() => createCausalInbox({ maxBuffered: -1 })).toThrow(InvalidOptionError);
  });
});

describe('causal outbox', () => {
  it('gives an event all that was delivered before as causes', () => {
    const inbox = createCausalInbox<string>({ maxBuffered: 9 });
    const outbox = createCausalOutbox<string>({ node: 'me', clock: createHlc({ node: 'me' }), inbox });
    inbox.offer(event('a', 1));
    expect(outbox.emit('x').causes.toJSON()).toEqual({ a: 1 });
    const second = outbox.emit('y');
    expect(second.dot).toEqual({ node: 'me', counter: 2 });
    expect(second.causes.toJSON()).toEqual({ a: 1, me: 1 });
    expect(inbox.offer(second)).toEqual([]);
  });

  it('notices that others know events of this node that it forgot', () => {
    const inbox = createCausalInbox<string>({ maxBuffered: 9 });
    inbox.offer(event('a', 1, { me: 1 }));
    const outbox = createCausalOutbox<string>({ node: 'me', clock: createHlc({ node: 'me' }), inbox });
    expect(() => outbox.emit('x')).toThrow(CausalityError);
  });
});

describe('causal receiver', () => {
  it('handles one event at a time, in causal order, and resolves when it was handled', async () => {
    const log: string[] = [];
    const receiver = createCausalReceiver<string>({
      maxBuffered: 9,
      async deliver({ payload }) {
        log.push(`begin ${payload}`);
        await settled();
        log.push(`end ${payload}`);
      },
    });
    await receiver.receive(event('b', 1, { a: 1 }));
    expect(log).toEqual([]);
    await receiver.receive(event('a', 1));
    expect(log).toEqual(['begin a1', 'end a1', 'begin b1', 'end b1']);
    expect(receiver.handled.toJSON()).toEqual({ a: 1, b: 1 });
    await receiver.close();
  });

  it('makes a source wait while the buffer is full, and not one that has what is missing', async () => {
    const log: string[] = [];
    const receiver = createCausalReceiver<string>({
      maxBuffered: 1,
      deliver: ({ payload }) => void log.push(payload),
    });
    await receiver.receive(event('b', 1, { a: 1 }));
    let accepted = false;
    const waiting = receiver.receive(event('c', 1, { a: 1 })).then(() => (accepted = true));
    await settled();
    expect(accepted).toBe(false);
    expect([...receiver.missing().keys()]).toEqual(['a']);
    await receiver.receive(event('a', 1));
    await waiting;
    expect(log.sort()).toEqual(['a1', 'b1', 'c1']);
  });

  it('gets every event through a small buffer when each source keeps its order', async () => {
    const property = fc.asyncProperty(history(), async (events) => {
      const handled: CausalEvent<number>[] = [];
      const receiver = createCausalReceiver<number>({
        maxBuffered: 1,
        deliver: (one) => void handled.push(one),
      });
      const sources = bySource(events);
      await Promise.all(
        [...sources.values()].map(async (source) => {
          for (const one of source) await receiver.receive(one);
        }),
      );
      expect(handled).toHaveLength(events.length);
    });
    await fc.assert(property, { numRuns: 100 });
  });

  it('stops waiting when the signal aborts, and refuses everybody once it is closed', async () => {
    const receiver = createCausalReceiver<string>({ maxBuffered: 0, deliver: () => undefined });
    const abort = new AbortController();
    const aborted = receiver.receive(event('b', 1, { a: 1 }), { signal: abort.signal });
    abort.abort(new Error('no patience'));
    await expect(aborted).rejects.toThrow('no patience');
    const waiting = receiver.receive(event('b', 1, { a: 1 }));
    await receiver.close();
    await expect(waiting).rejects.toThrow(CausalReceiverClosedError);
    await expect(receiver.receive(event('a', 1))).rejects.toThrow(CausalReceiverClosedError);
    await receiver[Symbol.asyncDispose]();
  });

  it('closes when the handler fails, and does not count the event', async () => {
    const failure = new Error('broken handler');
    const receiver = createCausalReceiver<string>({
      maxBuffered: 9,
      deliver({ payload }) {
        if (payload === 'a2') throw failure;
      },
    });
    await receiver.receive(event('a', 3));
    await receiver.receive(event('a', 1));
    await expect(receiver.receive(event('a', 2))).rejects.toMatchObject({
      code: 'CAUSAL_RECEIVER_CLOSED',
      cause: failure,
    });
    expect(receiver.handled.toJSON()).toEqual({ a: 1 });
    await expect(receiver.receive(event('b', 1))).rejects.toThrow(/failed at event 2 of a/);
  });
});

function bySource<T>(events: readonly CausalEvent<T>[]): Map<string, CausalEvent<T>[]> {
  const sources = new Map<string, CausalEvent<T>[]>();
  for (const one of events) {
    const source = sources.get(one.dot.node);
    if (source === undefined) sources.set(one.dot.node, [one]);
    else source.push(one);
  }
  return sources;
}

describe('encoding of an event', () => {
  const write = (value: number) => Uint8Array.of(value);
  const read = (bytes: Uint8Array) => bytes[0] ?? 0;

  it('survives the way there and back, and refuses garbage', () => {
    fc.assert(
      fc.property(history(), fc.nat(), fc.nat(255), (events, at, byte) => {
        const one = item(events, events.length - 1);
        const bytes = encodeEvent(one, write);
        const back = decodeEvent(bytes, read);
        expect({ ...back, causes: back.causes.toJSON() }).toEqual({ ...one, causes: one.causes.toJSON() });
        bytes[at % bytes.length] = byte;
        try {
          encodeEvent(decodeEvent(bytes, read), write);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
      }),
      { numRuns: 500 },
    );
    expect(() =>
      decodeEvent(
        encodeEvent(event('a', 1), (text) => Buffer.from(text)),
        String,
        { maxPayloadBytes: 1 },
      ),
    ).toThrow(MalformedBytesError);
  });
});
