import { cacheHotKeys, createRing, type Placement, plan, renderSvg } from '@quorate/hash-ring';
import { createMaglev } from '@quorate/hash-ring/maglev';
import { createRendezvous } from '@quorate/hash-ring/rendezvous';
import { InvalidOptionError } from '@quorate/runtime';
import { describe, expect, it } from 'vitest';

describe('renderSvg', () => {
  it('draws an arc for each range and a line for each node', () => {
    const ring = createRing(['a', 'b', 'c'], { pointsPerWeight: 5 });
    const svg = renderSvg(ring, { title: 'Three nodes' });
    expect(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"')).toBe(true);
    expect(svg.trimEnd().endsWith('</svg>')).toBe(true);
    const arcs = svg.match(/<path /g)?.length ?? 0;
    expect(arcs).toBeGreaterThan(5);
    expect(arcs).toBeLessThanOrEqual(16);
    for (const text of ['Three nodes', 'ring, 3 nodes', 'epoch 0', ring.checksum])
      expect(svg).toContain(text);
  });

  it('draws the moves of a plan', () => {
    const ring = createRing(['a', 'b', 'c'], { pointsPerWeight: 5 });
    const after = ring.with({ add: ['d'] });
    const movement = plan(ring, after);
    const svg = renderSvg(after, { plan: movement });
    expect(svg.match(/to d \(replica 0\)/g)).toHaveLength(movement.moves.length);
    expect(svg).toContain('of copies move');
  });

  it('gives a node one colour in all pictures of one colour order, and each replica a circle of its own', () => {
    const ring = createRing(['a', 'b', 'c'], { pointsPerWeight: 5 });
    const after = ring.with({ remove: ['a'], add: ['d'] });
    const colourOrder = ['a', 'b', 'c', 'd'];
    const colourIn = (svg: string, id: string): string | undefined =>
      new RegExp(`fill="([^"]+)"><title>${id}: `).exec(svg)?.[1];
    const drawn = [ring, after].map((placement) => renderSvg(placement, { colourOrder }));
    for (const id of ['b', 'c']) expect(colourIn(drawn[1] ?? '', id)).toBe(colourIn(drawn[0] ?? '', id));
    expect(new Set(['a', 'b', 'c'].map((id) => colourIn(drawn[0] ?? '', id))).size).toBe(3);
    const svg = renderSvg(after, { plan: plan(ring, after, { replicas: 2 }) });
    const radii = [0, 1].map((replica) => {
      const moves = svg.matchAll(new RegExp(`A([0-9.]+) [^>]*><title>[^<]*replica ${String(replica)}`, 'g'));
      return new Set(Array.from(moves, (match) => match[1]));
    });
    expect(radii.map((set) => set.size)).toEqual([1, 1]);
    expect(radii[0]).not.toEqual(radii[1]);
  });

  it('escapes what a name may contain', () => {
    const svg = renderSvg(createRing([`<script>"'&`]), { title: '<b>' });
    expect(svg).not.toContain('<script');
    expect(svg).not.toContain('<b>');
    expect(svg).toContain('&#60;script&#62;');
  });

  it('stays small for a large ring, and draws one node and none', () => {
    expect(
      renderSvg(createMaglev(Array.from({ length: 40 }, (_, i) => `n${String(i)}`))).length,
    ).toBeLessThan(700_000);
    expect(renderSvg(createRing(['alone'])).match(/<path /g)).toHaveLength(1);
    expect(renderSvg(createRing())).not.toContain('<path');
  });

  it('refuses placements without ranges and absurd sizes', () => {
    expect(() => renderSvg(createRendezvous(['a']) as never)).toThrow(InvalidOptionError);
    expect(() => renderSvg(createRing(), { sizePx: 1e6 })).toThrow(InvalidOptionError);
  });
});

describe('cacheHotKeys', () => {
  /** Counts how often the placement itself is asked. */
  function counting(): { placement: Placement; asked: () => number } {
    const ring = createRing(['a', 'b', 'c']);
    let asked = 0;
    const get: Placement['get'] = (key) => {
      asked++;
      return ring.get(key);
    };
    const placement = new Proxy<Placement>(ring, {
      get: (target, name) => (name === 'get' ? get : (Reflect.get(target, name, target) as unknown)),
    });
    return { placement, asked: () => asked };
  }

  it('asks once for a key that is used again and again', () => {
    const { placement, asked } = counting();
    const get = cacheHotKeys(placement, { maxKeys: 4 });
    const owner = createRing(['a', 'b', 'c']).get('hot');
    for (let i = 0; i < 100; i++) {
      expect(get('hot')).toBe(owner);
      get(`cold ${String(i)}`);
    }
    expect(asked()).toBe(101);
  });

  it('answers as the placement does, for text and bytes, with however few keys', () => {
    const ring = createRing(['a', 'b', 'c']);
    const get = cacheHotKeys(ring, { maxKeys: 2 });
    for (let i = 0; i < 500; i++) {
      const key = `k${String(i % 37)}`;
      expect(get(key)).toBe(ring.get(key));
      expect(get(new TextEncoder().encode(key))).toBe(ring.get(key));
    }
    expect(cacheHotKeys(createRing())('k')).toBeUndefined();
    expect(() => cacheHotKeys(ring, { maxKeys: 1 })).toThrow(InvalidOptionError);
  });
});
