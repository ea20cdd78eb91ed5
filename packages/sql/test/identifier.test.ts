import { type Dialect, InvalidIdentifierError, quoteIdentifier } from '@quorate/sql';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

/** Reads a quoted path as the server does. */
function unquote(dialect: Dialect, quoted: string): string[] {
  const quote = dialect === 'postgres' ? '"' : '`';
  const names: string[] = [];
  for (let at = 0; at < quoted.length;) {
    expect(quoted[at]).toBe(quote);
    let name = '';
    for (at++; quoted[at] !== quote || quoted[at + 1] === quote; at++) {
      expect(at).toBeLessThan(quoted.length);
      if (quoted[at] === quote) at++;
      name += quoted[at] ?? '';
    }
    names.push(name);
    at++;
    if (at < quoted.length) expect(quoted[at++]).toBe('.');
  }
  return names;
}

describe.each<Dialect>(['postgres', 'mysql'])('%s', (dialect) => {
  const name = fc.string({
    unit: fc.constantFrom('a', 'é', '"', '`', '.', "'", '\\', ';', ' ', '-', '\n', '𝄞', '\0'),
  });

  test('what is quoted is read back as it was, or refused', () => {
    fc.assert(
      fc.property(fc.tuple(name, name), (path) => {
        let quoted: string;
        try {
          quoted = quoteIdentifier(dialect, ...path);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidIdentifierError);
          return;
        }
        expect(unquote(dialect, quoted)).toEqual(path);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['', 'a name is a non-empty string'],
    ['a\0b', 'it has a NUL character'],
    ['a\ud800', 'it is not well-formed Unicode'],
    [7 as unknown as string, 'a name is a non-empty string'],
  ])('refuses %o', (bad, why) => {
    expect(() => quoteIdentifier(dialect, bad)).toThrow(`INVALID_IDENTIFIER: `);
    expect(() => quoteIdentifier(dialect, bad)).toThrow(why);
  });
});

test('PostgreSQL takes 63 bytes and MySQL 64 characters', () => {
  expect(quoteIdentifier('postgres', 'x'.repeat(63))).toHaveLength(65);
  expect(() => quoteIdentifier('postgres', 'x'.repeat(64))).toThrow('more than 63 bytes');
  expect(() => quoteIdentifier('postgres', 'é'.repeat(32))).toThrow('more than 63 bytes');
  expect(quoteIdentifier('mysql', 'é'.repeat(64))).toHaveLength(66);
  expect(() => quoteIdentifier('mysql', 'x'.repeat(65))).toThrow('more than 64 characters');
});

test('MySQL has no names that end with a space or go beyond U+FFFF', () => {
  expect(() => quoteIdentifier('mysql', 'a ')).toThrow('ends with a space');
  expect(() => quoteIdentifier('mysql', '𝄞')).toThrow('beyond U+FFFF');
  expect(quoteIdentifier('postgres', '𝄞 ')).toBe('"𝄞 "');
});
