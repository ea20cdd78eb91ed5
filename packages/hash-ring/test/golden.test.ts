import { type Placement, type PlacementChange } from '@quorate/hash-ring';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { strategies } from './strategies.js';

interface Golden {
  readonly bytes: string;
  readonly checksum: string;
  readonly owners: readonly string[];
}

/** Snapshots of version 1, with what they must go on to answer for ever. */
const golden = JSON.parse(
  readFileSync(new URL('golden/snapshots-v1.json', import.meta.url), 'utf8'),
) as Record<string, Golden>;
const CHANGE: PlacementChange = { remove: ['n1'], add: [{ id: 'n5', zone: 'z2' }] };
const KEYS = Array.from({ length: 12 }, (_, i) => `key-${String(i)}`);

function make(create: (typeof strategies)[number]['create']): Placement {
  return create(['n3', 'n1', { id: 'n2', zone: 'z1', rack: 'r1' }, 'n4'], { seed: 7 }).with(CHANGE);
}

it.each(strategies)(
  '$name still reads its snapshots and places the same keys',
  ({ name, create, decode }) => {
    const expected = golden[name];
    const placement = make(create);
    const bytes = Buffer.from(placement.toBytes()).toString('hex');
    expect({ bytes, checksum: placement.checksum, owners: KEYS.map((key) => placement.get(key)) }).toEqual(
      expected,
    );
    const decoded = decode(Buffer.from(expected?.bytes ?? '', 'hex'));
    expect(KEYS.map((key) => decoded.get(key))).toEqual(expected?.owners);
  },
);
