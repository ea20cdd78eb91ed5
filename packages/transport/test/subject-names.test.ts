import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { namesNode, subjectNames } from '../src/core/subject-names.js';

describe('the names of a certificate', () => {
  test.each<[string | undefined, string[]]>([
    [undefined, []],
    ['', []],
    ['DNS:a', ['DNS:a']],
    [
      'DNS:a, URI:spiffe://prod/a, IP Address:127.0.0.1',
      ['DNS:a', 'URI:spiffe://prod/a', 'IP Address:127.0.0.1'],
    ],
    ['DNS:"evil, DNS:a", DNS:b', ['DNS:evil, DNS:a', 'DNS:b']],
    ['URI:"a\\"b, DNS:c"', ['URI:a"b, DNS:c']],
    ['DNS:a,DNS:b', []],
    ['DNS:"open', []],
    ['DNS:"a"b', []],
    ['nonsense', []],
  ])('%j are %j', (text, names) => {
    expect(subjectNames(text)).toEqual(names);
  });

  test('no quoted value yields a second name', () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        expect(subjectNames(`DNS:${JSON.stringify(value)}`)).toEqual([`DNS:${value}`]);
      }),
    );
  });

  test('name a node letter by letter, without wildcards', () => {
    expect(namesNode(['DNS:a', 'URI:urn:b'], 'a')).toBe(true);
    expect(namesNode(['DNS:a', 'URI:urn:b'], 'urn:b')).toBe(true);
    expect(namesNode(['DNS:*', 'DNS:A', 'IP Address:a', 'email:a'], 'a')).toBe(false);
  });
});
