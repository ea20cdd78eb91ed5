import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  choiceOption,
  functionOption,
  identifierOption,
  integerOption,
  InvalidOptionError,
  isIdentifier,
  numberOption,
} from '@quorate/runtime';

describe('options', () => {
  it('returns what is allowed', () => {
    expect(numberOption('x', 0.5)).toBe(0.5);
    expect(integerOption('x', 3, { min: 3, max: 3 })).toBe(3);
    expect(choiceOption('x', 'a', ['a', 'b'])).toBe('a');
    expect(identifierOption('x', 'knoten-ü')).toBe('knoten-ü');
    const run = (): void => {};
    expect(functionOption('x', run)).toBe(run);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, -1, '1', null, undefined, 1n])(
    'numberOption refuses %s',
    (value) => {
      expect(() => numberOption('leaseMs', value)).toThrow(InvalidOptionError);
    },
  );

  it.each([1.5, 2 ** 53, -1, '1', Number.NaN])('integerOption refuses %s', (value) => {
    expect(() => integerOption('leaseMs', value)).toThrow(InvalidOptionError);
  });

  it('names the option, the range and the value', () => {
    expect(() => integerOption('leaseMs', 0, { min: 1, max: 9 })).toThrow(
      'INVALID_OPTION: leaseMs must be an integer from 1 to 9, got 0',
    );
    expect(() => numberOption('leaseMs', -1)).toThrow(
      'leaseMs must be a finite number of at least 0, got -1',
    );
    expect(() => choiceOption('mode', 'c', ['a', 'b'])).toThrow('mode must be one of "a", "b", got "c"');
    try {
      functionOption('handle', 5);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidOptionError);
      expect(error).toMatchObject({ code: 'INVALID_OPTION', option: 'handle', value: 5 });
    }
  });

  it.each(['', 'a\nb', 'a\0', '\u{7f}', '\ud800', 'ü'.repeat(128), 'x'.repeat(256), 5, null])(
    'identifierOption refuses %j',
    (value) => {
      expect(() => identifierOption('node', value)).toThrow(InvalidOptionError);
    },
  );

  it('accepts only identifiers that survive UTF-8 within 255 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        if (!isIdentifier(text)) return;
        const bytes = Buffer.from(text);
        expect(bytes.length).toBeLessThanOrEqual(255);
        expect(bytes.toString()).toBe(text);
      }),
    );
  });
});
