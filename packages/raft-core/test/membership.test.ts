import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MalformedBytesError } from '@quorate/runtime/bytes';
import {
  type Configuration,
  decodeConfiguration,
  encodeConfiguration,
  leaveJoint,
  planChange,
} from '../src/core/membership.js';
import { majority } from '../src/core/quorum.js';

function configuration(voters: readonly string[], more: Partial<Configuration> = {}): Configuration {
  return { voters, outgoing: [], learners: [], witnesses: [], autoLeave: false, ...more };
}

const abc = configuration(['a', 'b', 'c']);

describe('planning a change of membership', () => {
  it.each([
    ['one voter more', ['a', 'b', 'c', 'd']],
    ['one voter less', ['a', 'b']],
    ['no other voters', ['c', 'a', 'b']],
  ])('%s is a single-server change (dissertation, section 4.1)', (_, voters) => {
    const planned = planChange(abc, { voters, learners: [] });
    expect(planned).toMatchObject({ ok: true, next: { voters, outgoing: [], autoLeave: false } });
  });

  it('more than one passes through a joint configuration (section 4.3)', () => {
    const planned = planChange(abc, { voters: ['a', 'd', 'e'], learners: ['b'] });
    expect(planned).toMatchObject({
      ok: true,
      next: { voters: ['a', 'd', 'e'], outgoing: ['a', 'b', 'c'], learners: ['b'], autoLeave: true },
    });
  });

  it('a replaced voter is two changes', () => {
    expect(planChange(abc, { voters: ['a', 'b', 'd'], learners: [] })).toMatchObject({
      next: { autoLeave: true },
    });
  });

  it('a joint configuration that was asked for stays until it is left', () => {
    const planned = planChange(abc, { voters: ['a', 'b', 'd'], outgoing: ['a', 'b', 'c'], learners: [] });
    expect(planned).toMatchObject({ ok: true, next: { outgoing: ['a', 'b', 'c'], autoLeave: false } });
    const joint = configuration(['a', 'b', 'd'], { outgoing: ['a', 'b', 'c'] });
    expect(planChange(joint, { voters: ['a', 'b', 'd'], learners: [] })).toMatchObject({
      ok: true,
      next: { outgoing: [] },
    });
    expect(planChange(joint, { voters: ['a', 'b', 'e'], learners: [] })).toMatchObject({
      reason: 'config-pending',
    });
  });

  it.each([
    ['no voter', { voters: [], learners: [] }, 'no voter'],
    ['a voter twice', { voters: ['a', 'a'], learners: [] }, 'twice'],
    ['a voter that is a learner', { voters: ['a'], learners: ['a'] }, 'a voter and a learner'],
    ['a witness that is no voter', { voters: ['a'], learners: [], witnesses: ['b'] }, 'is no voter'],
    ['nobody who could lead', { voters: ['a'], learners: [], witnesses: ['a'] }, 'none could lead'],
    ['an id with a control character', { voters: ['a\n'], learners: [] }, 'no node id'],
    [
      'an outgoing half that is not the present one',
      { voters: ['a'], outgoing: ['x'], learners: [] },
      'present set',
    ],
  ])('%s is refused, and said', (_, wanted, detail) => {
    const planned = planChange(abc, wanted);
    expect(planned).toMatchObject({ ok: false, reason: 'config-invalid' });
    expect((planned as { detail: string }).detail).toContain(detail);
  });

  it('majorities of a configuration and of the one planned from it overlap', () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const set = fc.subarray(names, { minLength: 1 });
    const largeSets = (voters: readonly string[]): string[][] =>
      Array.from({ length: 2 ** voters.length }, (_, bits) =>
        voters.filter((_, at) => (bits & (1 << at)) !== 0),
      ).filter((one) => one.length >= majority(voters.length));
    fc.assert(
      fc.property(set, set, (from, to) => {
        const planned = planChange(configuration(from), { voters: to, learners: [] });
        expect(planned.ok).toBe(true);
        if (!planned.ok) return;
        // Whoever decides in the next configuration includes a majority of the outgoing half, if there is one.
        const deciding = planned.next.outgoing.length > 0 ? planned.next.outgoing : planned.next.voters;
        for (const one of largeSets(from)) {
          for (const other of largeSets(deciding)) expect(one.some((id) => other.includes(id))).toBe(true);
        }
      }),
    );
  });

  it('leaving keeps the incoming half', () => {
    const joint = configuration(['a', 'd'], {
      outgoing: ['a', 'b', 'w'],
      witnesses: ['w'],
      learners: ['b'],
      autoLeave: true,
    });
    expect(leaveJoint(joint)).toEqual(configuration(['a', 'd'], { learners: ['b'] }));
  });
});

describe('configurations as bytes', () => {
  it('come back as they were', () => {
    const joint = configuration(['a', 'ü'], {
      outgoing: ['a', 'b', 'c'],
      learners: ['b'],
      witnesses: ['c'],
      autoLeave: true,
    });
    expect(decodeConfiguration(encodeConfiguration(joint))).toEqual(joint);
  });

  it('are refused when they are anything else', () => {
    expect(() => decodeConfiguration(encodeConfiguration(configuration([])))).toThrow(MalformedBytesError);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          decodeConfiguration(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedBytesError);
        }
      }),
    );
  });
});
