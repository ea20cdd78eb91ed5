import { createHash } from 'node:crypto';
import { createKetama } from '@quorate/hash-ring/ketama';
import { describe, expect, it } from 'vitest';

/** The file `ketama.servers` of libketama: addresses and memory. */
const SERVERS = [
  { id: '10.0.1.1:11211', weight: 600 },
  { id: '10.0.1.2:11211', weight: 300 },
  { id: '10.0.1.3:11211', weight: 200 },
  { id: '10.0.1.4:11211', weight: 350 },
  { id: '10.0.1.5:11211', weight: 1000 },
  { id: '10.0.1.6:11211', weight: 800 },
  { id: '10.0.1.7:11211', weight: 950 },
  { id: '10.0.1.8:11211', weight: 100 },
];

/** The first point at or after a token, around the circle. */
function pointAfter(ends: Uint32Array, points: number, token: number): number {
  let low = 0;
  let high = points;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ends[middle] ?? 0) < token) low = middle + 1;
    else high = middle;
  }
  return ends[low === points ? 0 : low] ?? 0;
}

describe('ketama', () => {
  it('prints the million lines of ketama_test whose MD5 libketama publishes', () => {
    // ketama_test prints its error string, which is empty, and then for each key its hash, its point and its server.
    const ketama = createKetama(SERVERS);
    const ends = ketama.rangeEnds();
    const output = createHash('md5').update('\n');
    let chunk = '';
    for (let key = 0; key < 1_000_000; key++) {
      const name = String(key);
      const token = ketama.token(name);
      chunk += `${String(token)} ${String(pointAfter(ends, ketama.points, token))} ${ketama.get(name) ?? ''}\n`;
      if (chunk.length > 1_000_000) {
        output.update(chunk);
        chunk = '';
      }
    }
    expect(output.update(chunk).digest('hex')).toBe('5672b131391f5aa2b280936aec1eea74');
  });

  it('gives seven equal servers the 1120 points that 32-bit floats give, where doubles give 1092', () => {
    expect(createKetama(['a', 'b', 'c', 'd', 'e', 'f', 'g']).points).toBe(1120);
  });

  it('hashes a key as ketama_hashi does', () => {
    const ketama = createKetama(SERVERS);
    const digest = createHash('md5').update('some key').digest();
    expect(ketama.token('some key')).toBe(digest.readUInt32LE(0));
    expect(ketama.tokenSpace).toBe('md5:0');
  });

  it('gives a server of weight 0 no points', () => {
    const ketama = createKetama([...SERVERS, { id: 'drained', weight: 0 }]);
    expect(ketama.points).toBe(createKetama(SERVERS).points);
  });

  it('recomputes the points when a server is added', () => {
    const extra = { id: '10.0.1.9:11211', weight: 400 };
    expect(createKetama(SERVERS).with({ add: [extra] }).checksum).toBe(
      createKetama([extra, ...SERVERS]).checksum,
    );
  });
});
