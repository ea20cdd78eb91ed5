import { describeValue } from '@quorate/runtime';
import { SqlError } from '../errors.js';

/** A number from the database that JavaScript cannot hold exactly. Code `UNSAFE_INTEGER`. */
export class UnsafeIntegerError extends SqlError {
  static override readonly brand: string = '@quorate/sql#UnsafeIntegerError';

  constructor(value: unknown) {
    super('UNSAFE_INTEGER', `${describeValue(value)} is not an integer from -(2^53 - 1) to 2^53 - 1`);
  }
}

const INTEGER = /^-?\d{1,16}$/;

/**
 * An integer of 64 bits as a number. Drivers return those as strings, numbers or bigints, depending on how the
 * user set them up; one that does not fit a number exactly throws {@link UnsafeIntegerError}.
 */
export function toSafeInteger(value: unknown): number {
  const number =
    typeof value === 'bigint' || (typeof value === 'string' && INTEGER.test(value)) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw new UnsafeIntegerError(value);
  return number;
}
