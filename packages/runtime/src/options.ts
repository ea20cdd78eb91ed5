import { describeValue, InvalidOptionError } from './errors.js';

/** The inclusive bounds of a number. */
export interface NumberBounds {
  /** @defaultValue 0 */
  readonly min?: number;
  /** @defaultValue Infinity for numbers, 2^53 - 1 for integers */
  readonly max?: number;
}

/** Returns `value` if it is a finite number within the bounds, else throws {@link InvalidOptionError}. */
export function numberOption(option: string, value: unknown, bounds: NumberBounds = {}): number {
  const { min = 0, max = Number.POSITIVE_INFINITY } = bounds;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > max) {
    throw new InvalidOptionError(option, value, `a finite number${within(min, max)}`);
  }
  return value;
}

/** Returns `value` if it is an integer within the bounds, else throws {@link InvalidOptionError}. */
export function integerOption(option: string, value: unknown, bounds: NumberBounds = {}): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw new InvalidOptionError(option, value, `an integer${within(min, max)}`);
  }
  return value;
}

/** Returns `value` if it is one of `allowed`, else throws {@link InvalidOptionError}. */
export function choiceOption<const T extends string>(
  option: string,
  value: unknown,
  allowed: readonly T[],
): T {
  if (!allowed.includes(value as T)) {
    throw new InvalidOptionError(
      option,
      value,
      `one of ${allowed.map((one) => JSON.stringify(one)).join(', ')}`,
    );
  }
  return value as T;
}

/** Returns `value` if it is a function, else throws {@link InvalidOptionError}. */
export function functionOption<T>(option: string, value: T): T {
  if (typeof value !== 'function') throw new InvalidOptionError(option, value, 'a function');
  return value;
}

/** The most bytes that an identifier may take on the wire. */
export const MAX_IDENTIFIER_BYTES = 255;

/**
 * Returns `value` if it can name something on the wire: a string of 1 to 255 bytes of UTF-8 without control
 * characters or lone surrogates (they would not survive encoding). Else throws {@link InvalidOptionError}.
 */
export function identifierOption(option: string, value: unknown): string {
  if (typeof value !== 'string' || value.length === 0 || !isIdentifier(value)) {
    throw new InvalidOptionError(
      option,
      value,
      `a string of 1 to ${String(MAX_IDENTIFIER_BYTES)} bytes of UTF-8 without control characters`,
    );
  }
  return value;
}

/** Whether a string can name something on the wire; see {@link identifierOption}. */
export function isIdentifier(value: string): boolean {
  return (
    value.length > 0 &&
    value.length <= MAX_IDENTIFIER_BYTES &&
    !CONTROL_OR_LONE_SURROGATE.test(value) &&
    Buffer.byteLength(value) <= MAX_IDENTIFIER_BYTES
  );
}

const CONTROL_OR_LONE_SURROGATE = /[\p{Cc}\p{Cs}]/u;

function within(min: number, max: number): string {
  if (min === Number.NEGATIVE_INFINITY)
    return max === Number.POSITIVE_INFINITY ? '' : ` of at most ${String(max)}`;
  if (max === Number.POSITIVE_INFINITY || max === Number.MAX_SAFE_INTEGER)
    return ` of at least ${describeValue(min)}`;
  return ` from ${describeValue(min)} to ${describeValue(max)}`;
}
