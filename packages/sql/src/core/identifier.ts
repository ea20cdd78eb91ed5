import { describeValue } from '@quorate/runtime';
import type { Dialect } from '../contract.js';
import { SqlError } from '../errors.js';

/** A name that the server would refuse, cut short or fail to find again. Code `INVALID_IDENTIFIER`. */
export class InvalidIdentifierError extends SqlError {
  static override readonly brand: string = '@quorate/sql#InvalidIdentifierError';

  constructor(name: unknown, why: string) {
    super('INVALID_IDENTIFIER', `${describeValue(name)} cannot be an identifier: ${why}`);
  }
}

/** PostgreSQL cuts longer names short without an error (NAMEDATALEN - 1). */
const POSTGRES_MAX_BYTES = 63;
const MYSQL_MAX_CHARACTERS = 64;
const LONE_SURROGATE = /\p{Cs}/u;
const BEYOND_BASIC_PLANE = /[\u{10000}-\u{10ffff}]/u;

/**
 * Quotes the name of a table, column, schema or the like, so that it is taken literally; several names give a
 * path, such as `"schema"."table"`. What cannot be a name, or would be cut short, is refused with
 * {@link InvalidIdentifierError}.
 *
 * Sources: PostgreSQL manual 4.1.1; MySQL manual 11.2 (no supplementary characters, no space at the end).
 */
export function quoteIdentifier(dialect: Dialect, ...path: readonly [string, ...string[]]): string {
  return path.map((name) => quoteOne(dialect, name)).join('.');
}

function quoteOne(dialect: Dialect, name: string): string {
  if (typeof name !== 'string' || name === '')
    throw new InvalidIdentifierError(name, 'a name is a non-empty string');
  if (name.includes('\0')) throw new InvalidIdentifierError(name, 'it has a NUL character');
  if (LONE_SURROGATE.test(name)) throw new InvalidIdentifierError(name, 'it is not well-formed Unicode');
  if (dialect === 'postgres') {
    if (Buffer.byteLength(name) > POSTGRES_MAX_BYTES) {
      throw new InvalidIdentifierError(name, `it has more than ${String(POSTGRES_MAX_BYTES)} bytes of UTF-8`);
    }
    return `"${name.replaceAll('"', '""')}"`;
  }
  if (name.length > MYSQL_MAX_CHARACTERS) {
    throw new InvalidIdentifierError(name, `it has more than ${String(MYSQL_MAX_CHARACTERS)} characters`);
  }
  if (BEYOND_BASIC_PLANE.test(name))
    throw new InvalidIdentifierError(name, 'it has a character beyond U+FFFF');
  if (name.endsWith(' ')) throw new InvalidIdentifierError(name, 'it ends with a space');
  return `\`${name.replaceAll('`', '``')}\``;
}
