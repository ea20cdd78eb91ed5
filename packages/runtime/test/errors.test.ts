import { describe, expect, it } from 'vitest';
import { DeadlineError, describeValue, InvalidOptionError, QuorateError } from '@quorate/runtime';

describe('QuorateError', () => {
  it('carries a code, begins its message with it, and keeps the cause', () => {
    const cause = new Error('disk');
    const error = new QuorateError('LOG_FULL', 'no room', { cause });
    expect(error.code).toBe('LOG_FULL');
    expect(error.message).toBe('LOG_FULL: no room');
    expect(error.cause).toBe(cause);
    expect(error.name).toBe('QuorateError');
  });

  it('has no cause where none was given, and keeps one that is undefined', () => {
    expect('cause' in new QuorateError('A', 'b')).toBe(false);
    expect('cause' in new QuorateError('A', 'b', { cause: undefined })).toBe(true);
  });

  it('is recognised by class along the hierarchy, and not beside it', () => {
    const error = new DeadlineError(5);
    expect(error).toBeInstanceOf(DeadlineError);
    expect(error).toBeInstanceOf(QuorateError);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(InvalidOptionError);
    expect(new QuorateError('A', 'b')).not.toBeInstanceOf(DeadlineError);
  });

  it('is recognised across two copies of a package', () => {
    class Copy extends Error {
      static readonly brand: string = '@quorate/runtime#QuorateError';
    }
    class DeadlineCopy extends Copy {
      static override readonly brand: string = '@quorate/runtime#DeadlineError';
    }
    expect(new DeadlineCopy()).toBeInstanceOf(DeadlineError);
    expect(new DeadlineCopy()).toBeInstanceOf(QuorateError);
    expect(new Copy()).not.toBeInstanceOf(DeadlineError);
  });

  it('does not take every error for an instance of a subclass without a brand', () => {
    class Own extends QuorateError {}
    expect(new Own('A', 'b')).toBeInstanceOf(Own);
    expect(new Own('A', 'b')).toBeInstanceOf(QuorateError);
    expect(new QuorateError('A', 'b')).not.toBeInstanceOf(Own);
  });

  it.each([null, undefined, 1, 'x', {}, Object.create(null)])('is not %s', (value) => {
    expect(value instanceof QuorateError).toBe(false);
  });
});

describe('describeValue', () => {
  it.each([
    ['a "b"\n', '"a \\"b\\"\\n"'],
    ['x'.repeat(100), `"${'x'.repeat(80)}…" (100 characters)`],
    [Number.NaN, 'NaN'],
    [7n, '7n'],
    [null, 'null'],
    [undefined, 'undefined'],
    [[1, 2], 'an array of 2'],
    [{ secret: 1 }, 'an object'],
    [new Uint8Array(3), 'Uint8Array of 3 bytes'],
    [() => 1, 'a function'],
  ])('shows a value shortly: %#', (value, shown) => {
    expect(describeValue(value)).toBe(shown);
  });
});
