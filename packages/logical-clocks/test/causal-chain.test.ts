import fc from 'fast-check';
import { InvalidOptionError, seededRandom } from '@quorate/runtime';
import { describe, expect, it } from 'vitest';
import {
  type CausalEvent,
  causalChain,
  CausalityError,
  mergeEvents,
  toMermaid,
  toSvg,
  VersionVector,
} from '@quorate/logical-clocks';
import { history, shuffled } from './executions.js';

const name = ({ node, counter }: { node: string; counter: number }) => `${node}:${counter}`;

function event(
  node: string,
  counter: number,
  wall: number,
  causes: Record<string, number>,
  payload: string,
): CausalEvent<string> {
  const own = counter > 1 ? { [node]: counter - 1 } : {};
  return {
    dot: { node, counter },
    causes: VersionVector.from({ ...causes, ...own }),
    hlc: { wall, logical: 0, node },
    payload,
  };
}

/** An order in a shop: the classic of a payment that must not overtake its order. */
const SHOP = [
  event('orders', 1, 1000, {}, 'cart checked out'),
  event('orders', 2, 1005, {}, 'order placed'),
  event('payment', 1, 1012, { orders: 2 }, 'card charged'),
  event('stock', 1, 1010, { orders: 2 }, 'goods reserved'),
  event('orders', 3, 1020, { payment: 1, stock: 1 }, 'order confirmed'),
  event('shipping', 1, 1030, { orders: 3, payment: 1, stock: 1 }, 'parcel sent'),
  event('payment', 2, 1015, { orders: 2 }, 'fraud check logged'),
];

describe('mergeEvents', () => {
  it('puts every event after its causes, and does not depend on the order of the input', () => {
    fc.assert(
      fc.property(history(), fc.integer(), fc.nat(30), (events, seed, half) => {
        const random = seededRandom(seed);
        const ordered = mergeEvents(events);
        expect(ordered).toHaveLength(events.length);
        ordered.forEach((one, at) => {
          for (const later of ordered.slice(at)) expect(one.causes.covers(later.dot)).toBe(false);
        });
        const mixed = shuffled(events, random);
        expect(mergeEvents(mixed.slice(half), mixed.slice(0, half), mixed.slice(0, 3))).toEqual(ordered);
      }),
      { numRuns: 200 },
    );
  });

  it('orders concurrent events by their time', () => {
    expect(mergeEvents(SHOP).map(({ dot }) => name(dot))).toEqual([
      'orders:1',
      'orders:2',
      'stock:1',
      'payment:1',
      'payment:2',
      'orders:3',
      'shipping:1',
    ]);
  });

  it('orders what is there when events are absent', () => {
    expect(
      mergeEvents(SHOP.filter(({ dot }) => name(dot) !== 'orders:2')).map(({ dot }) => dot.counter),
    ).toHaveLength(6);
  });

  it('refuses causes that form a cycle, and two events of one name', () => {
    const a = event('a', 1, 1, { b: 1 }, 'a');
    expect(() => mergeEvents([a, event('b', 1, 1, { a: 1 }, 'b')])).toThrow(
      /CAUSALITY_VIOLATED: causes form a cycle: a:1, b:1/,
    );
    expect(() => mergeEvents([a], [event('a', 1, 2, { b: 1 }, 'other')])).toThrow(CausalityError);
  });
});

describe('causalChain', () => {
  it('has the links of the transitive reduction: they say all of happened-before, and none is superfluous', () => {
    fc.assert(
      fc.property(history(), (events) => {
        const { links } = causalChain(events);
        const reach = (pairs: typeof links) => {
          const past = new Map<string, Set<string>>();
          for (const one of mergeEvents(events)) {
            const set = new Set<string>();
            for (const { from, to } of pairs) {
              if (name(to) !== name(one.dot)) continue;
              set.add(name(from));
              for (const earlier of past.get(name(from)) ?? []) set.add(earlier);
            }
            past.set(name(one.dot), set);
          }
          return past;
        };
        const past = reach(links);
        for (const one of events)
          for (const other of events)
            expect(past.get(name(one.dot))?.has(name(other.dot))).toBe(one.causes.covers(other.dot));
        const [dropped] = links;
        if (dropped !== undefined)
          expect(reach(links.slice(1)).get(name(dropped.to))?.has(name(dropped.from))).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  it('keeps what led to one event, and nothing else', () => {
    const chain = causalChain(SHOP, { of: { node: 'shipping', counter: 1 } });
    expect(chain.events.map(({ dot }) => name(dot))).not.toContain('payment:2');
    expect(chain.events).toHaveLength(6);
    expect(chain.links.map(({ from, to }) => `${name(from)}>${name(to)}`)).toEqual([
      'orders:1>orders:2',
      'orders:2>stock:1',
      'orders:2>payment:1',
      'payment:1>orders:3',
      'stock:1>orders:3',
      'orders:3>shipping:1',
    ]);
    expect(() => causalChain(SHOP, { of: { node: 'x', counter: 1 } })).toThrow(InvalidOptionError);
  });

  it('follows what led to an event through two hundred thousand others', () => {
    const many = Array.from({ length: 200_000 }, (_, at) => event('a', at + 1, at, {}, ''));
    const chain = causalChain(many, { of: { node: 'a', counter: many.length } });
    expect(chain.events).toHaveLength(many.length);
    expect(chain.links).toHaveLength(many.length - 1);
  });

  it('shows causes that are absent', () => {
    const { links } = causalChain(
      SHOP.filter(({ dot }) => name(dot) !== 'payment:1' && name(dot) !== 'payment:2'),
    );
    expect(links.filter(({ missing }) => missing)).toEqual([
      { from: { node: 'payment', counter: 1 }, to: { node: 'orders', counter: 3 }, missing: true },
    ]);
  });
});

describe('drawings', () => {
  const highlight = { node: 'shipping', counter: 1 };

  it('are the same for the same events in any order', () => {
    const drawn = toSvg(causalChain(SHOP), { title: 'Order 4711', highlight });
    expect(toSvg(causalChain([...SHOP].reverse()), { title: 'Order 4711', highlight })).toBe(drawn);
    for (const words of ['Order 4711', 'parcel sent', 'shipping']) expect(drawn).toContain(words);
    expect(drawn.match(/class="event"/g)).toHaveLength(SHOP.length);
  });

  it('let no payload or node id out of its place in the SVG', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (words) => {
        const svg = toSvg(causalChain([event('<&">', 1, 1, {}, words)]), { title: words });
        // What is left of the tags is text without markup.
        const tags = svg.replace(/<\/?(svg|title|style|rect|text|line|path|g)( [\w:-]+="[^"<>]*")*\/?>/g, '');
        expect(tags).not.toMatch(/[<>]/);
        expect(tags.replace(/&#\d+;/g, '')).not.toContain('&');
        expect(tags).not.toMatch(/[^\P{Cc}\n]/u);
      }),
    );
  });

  it('as Mermaid has a subgraph for each node and dashed boxes for what is missing', () => {
    const mermaid = toMermaid(causalChain(SHOP.slice(2, 5), { of: { node: 'orders', counter: 3 } }), {
      highlight: { node: 'orders', counter: 3 },
    });
    expect(mermaid).toBe(`flowchart LR
  subgraph n0["stock"]
    direction LR
    e1["1: goods reserved"]
  end
  subgraph n1["payment"]
    direction LR
    e2["1: card charged"]
  end
  subgraph n2["orders"]
    direction LR
    e0["2: missing"]:::missing
    e3["3: order confirmed"]
  end
  e0 -.-> e1
  e0 -.-> e2
  e2 --> e3
  e1 --> e3
  classDef missing stroke-dasharray: 4 3
  style e3 stroke-width:3px
`);
    expect(toMermaid(causalChain([event('a"]', 1, 1, {}, 'x"] --> y')]))).not.toMatch(/"\]"|--> y/);
  });

  it('of nothing is an empty page', () => {
    expect(toSvg(causalChain([]))).toContain('</svg>');
    expect(toMermaid(causalChain([]))).toBe('flowchart LR\n');
  });
});
