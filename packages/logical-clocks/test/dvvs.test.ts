import fc from 'fast-check';
import { InvalidOptionError } from '@quorate/runtime';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import { describe, expect, it } from 'vitest';
import { DottedVersionVectorSet as Dvvs, VersionVector } from '@quorate/logical-clocks';
import { item } from './executions.js';

const REPLICAS = ['a', 'b', 'c'];

/** A replica as the paper's reference: every write ever seen, by name, and which of them still have values. */
interface History {
  readonly seen: ReadonlySet<string>;
  readonly live: ReadonlyMap<string, number>;
}

function syncHistories(x: History, y: History): History {
  const live = new Map(
    [...x.live, ...y.live].filter(
      ([dot]) => (x.live.has(dot) || !x.seen.has(dot)) && (y.live.has(dot) || !y.seen.has(dot)),
    ),
  );
  return { seen: new Set([...x.seen, ...y.seen]), live };
}

type Step =
  | { readonly kind: 'read'; readonly replica: number; readonly client: number }
  | { readonly kind: 'write'; readonly replica: number; readonly client: number }
  | { readonly kind: 'remove'; readonly replica: number; readonly client: number }
  | { readonly kind: 'sync'; readonly replica: number; readonly client: number };

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('read', 'write', 'write', 'remove', 'sync'),
    replica: fc.nat(2),
    client: fc.nat(2),
  }),
  { maxLength: 40 },
);

/** Three replicas and three clients, which read at one replica and may write at another. */
function run(list: readonly Step[]): { sets: Dvvs<number>[]; histories: History[] } {
  const sets = REPLICAS.map(() => Dvvs.empty<number>());
  const histories: History[] = REPLICAS.map(() => ({ seen: new Set(), live: new Map() }));
  const contexts = REPLICAS.map(() => VersionVector.empty);
  const read: ReadonlySet<string>[] = REPLICAS.map(() => new Set<string>());
  list.forEach(({ kind, replica, client }, value) => {
    const set = item(sets, replica);
    const history = item(histories, replica);
    switch (kind) {
      case 'read':
        contexts[client] = set.context;
        read[client] = history.seen;
        break;
      case 'sync':
        sets[replica] = set.sync(item(sets, client));
        histories[replica] = syncHistories(history, item(histories, client));
        break;
      case 'remove':
      case 'write': {
        const known = item(read, client);
        const forgotten: History = { seen: known, live: new Map() };
        const { seen, live } = syncHistories(history, forgotten);
        if (kind === 'remove') {
          sets[replica] = set.discard(item(contexts, client));
          histories[replica] = { seen, live };
          break;
        }
        const mine = [...seen].filter((dot) => dot.startsWith(item(REPLICAS, replica))).length;
        const dot = `${item(REPLICAS, replica)}${mine + 1}`;
        sets[replica] = set.write(item(contexts, client), value, item(REPLICAS, replica));
        histories[replica] = { seen: new Set([...seen, dot]), live: new Map([...live, [dot, value]]) };
        break;
      }
    }
  });
  return { sets, histories };
}

const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);

describe('dotted version vector set', () => {
  it('has exactly the siblings that plain causal histories have: no lost write, no false conflict', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { sets, histories } = run(list);
        sets.forEach((set, at) => {
          expect(sorted(set.values)).toEqual(sorted(item(histories, at).live.values()));
          const seen = [...item(histories, at).seen];
          for (const replica of REPLICAS)
            expect(set.context.get(replica)).toBe(seen.filter((dot) => dot.startsWith(replica)).length);
        });
      }),
      { numRuns: 1000 },
    );
  });

  it('syncs as a join: commutative, associative, idempotent', () => {
    const show = (set: Dvvs<number>) => ({ context: set.context.toJSON(), siblings: set.siblings });
    fc.assert(
      fc.property(steps, (list) => {
        const [a, b, c] = run(list).sets as [Dvvs<number>, Dvvs<number>, Dvvs<number>];
        expect(show(a.sync(b))).toEqual(show(b.sync(a)));
        expect(show(a.sync(b).sync(c))).toEqual(show(a.sync(b.sync(c))));
        expect(show(a.sync(a))).toEqual(show(a));
        expect(show(a.sync(b).sync(b))).toEqual(show(a.sync(b)));
        expect(['after', 'equal']).toContain(a.sync(b).compare(a));
      }),
      { numRuns: 500 },
    );
  });

  it('keeps the write of the client that has not read the other one, through the same replica', () => {
    // Two clients read the same version and write at one replica: plain version vectors lose the first write or
    // explode; see section 3 of the paper.
    const first = Dvvs.empty<string>().write(VersionVector.empty, 'old', 'r');
    const context = first.context;
    const both = first.write(context, 'x', 'r').write(context, 'y', 'r');
    expect(both.siblings).toEqual([
      { dot: { node: 'r', counter: 2 }, value: 'x' },
      { dot: { node: 'r', counter: 3 }, value: 'y' },
    ]);
    expect(both.write(both.context, 'z', 'r').values).toEqual(['z']);
  });

  it('ends a conflict everywhere when one replica resolved it', () => {
    const a = Dvvs.empty<number>().write(VersionVector.empty, 1, 'a');
    const b = Dvvs.empty<number>().write(VersionVector.empty, 2, 'b');
    const resolved = a.sync(b).resolve((siblings) => Math.max(...siblings.map(({ value }) => value)), 'a');
    expect(resolved.values).toEqual([2]);
    expect(b.sync(resolved).values).toEqual([2]);
    expect(a.compare(b)).toBe('concurrent');
    expect(a.compare(resolved)).toBe('before');
  });

  it('refuses a context with writes of this replica that it never made', () => {
    expect(() => Dvvs.empty<number>().write(VersionVector.from({ a: 9 }), 1, 'a')).toThrow(
      InvalidOptionError,
    );
    expect(() => Dvvs.empty<number>().write(VersionVector.empty, 1, '')).toThrow(InvalidOptionError);
  });

  it('survives its encoding and refuses garbage', () => {
    const write = (value: number) => Uint8Array.of(value);
    const read = (bytes: Uint8Array) => bytes[0] ?? 0;
    fc.assert(
      fc.property(steps, fc.nat(), fc.nat(255), (list, at, byte) => {
        const [set] = run(list).sets as [Dvvs<number>];
        const bytes = set.encode(write);
        expect(Dvvs.decode(bytes, read).siblings).toEqual(set.siblings);
        expect(Dvvs.decode(bytes, read).context.equals(set.context)).toBe(true);
        bytes[at % bytes.length] = byte;
        try {
          Dvvs.decode(bytes, read).sync(set);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
      }),
      { numRuns: 1000 },
    );
    expect(() => Dvvs.decode(Uint8Array.of(1, 0x44, 1, 1, 97, 1, 2), read)).toThrow(/2 values of 1 writes/);
    const large = Dvvs.empty<number>()
      .write(VersionVector.empty, 1, 'a')
      .encode(() => new Uint8Array(20));
    expect(() => Dvvs.decode(large, read, { maxValueBytes: 10 })).toThrow(MalformedBytesError);
  });
});
