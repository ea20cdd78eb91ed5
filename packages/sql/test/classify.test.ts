import {
  isDeadlock,
  isForeignKeyViolation,
  isLockTimeout,
  isRetryable,
  isSerializationFailure,
  isUndefinedTable,
  isUniqueViolation,
  SqlError,
  sqlStateOf,
  toSafeInteger,
  UnsafeIntegerError,
} from '@quorate/sql';
import { expect, test } from 'vitest';
import { isDefiniteCommitFailure } from '../src/core/classify.js';

const postgres = (code: string, severity = 'ERROR'): Error =>
  Object.assign(new Error('x'), { code, severity });
const mysql = (errno: number, sqlState: string): Error =>
  Object.assign(new Error('x'), { errno, sqlState, code: 'ER_X' });

test.each([
  [postgres('40001'), isSerializationFailure, true],
  [postgres('40P01'), isDeadlock, true],
  [postgres('55P03'), isLockTimeout, true],
  [postgres('55P03'), isRetryable, false],
  [postgres('23505'), isUniqueViolation, true],
  [postgres('23503'), isForeignKeyViolation, true],
  [postgres('42P01'), isUndefinedTable, true],
  [mysql(1213, '40001'), isDeadlock, true],
  [mysql(1213, '40001'), isSerializationFailure, false],
  [mysql(1020, 'HY000'), isSerializationFailure, true],
  [mysql(1205, 'HY000'), isLockTimeout, true],
  [mysql(1205, 'HY000'), isRetryable, false],
  [mysql(1062, '23000'), isUniqueViolation, true],
  [mysql(1452, '23000'), isUniqueViolation, false],
  [mysql(1452, '23000'), isForeignKeyViolation, true],
  [mysql(1146, '42S02'), isUndefinedTable, true],
  [new Error('wrapped', { cause: new Error('twice', { cause: postgres('40001') }) }), isRetryable, true],
  [Object.assign(new Error('x'), { code: 'EPIPE', errno: -32 }), isRetryable, false],
  [undefined, isRetryable, false],
  ['40001', isRetryable, false],
])('%o: %o is %s', (error, ask, answer) => {
  expect(ask(error)).toBe(answer);
});

test('a name of five letters is no SQLSTATE, and circles of causes end', () => {
  expect(sqlStateOf(Object.assign(new Error('x'), { code: 'EPIPE' }))).toBeUndefined();
  const circle: { cause?: unknown } = {};
  circle.cause = circle;
  expect(sqlStateOf(circle)).toBeUndefined();
  expect(new SqlError('X', 'y', { cause: postgres('23505') }).sqlState).toBe('23505');
});

test.each([
  [postgres('40001'), true],
  [postgres('23505'), true],
  [postgres('57P01', 'FATAL'), false],
  [postgres('57014'), false],
  [postgres('08006'), false],
  [new Error('Connection terminated unexpectedly'), false],
  [mysql(1213, '40001'), true],
  [mysql(3101, 'HY000'), true],
  [mysql(1180, 'HY000'), false],
  [mysql(1317, '70100'), false],
  [Object.assign(mysql(1213, '40001'), { fatal: true }), false],
])('%o, in answer to COMMIT, is definite: %s', (error, definite) => {
  expect(isDefiniteCommitFailure(error)).toBe(definite);
});

test('integers come as strings, numbers and bigints', () => {
  expect(['9007199254740991', 42, -7n].map(toSafeInteger)).toEqual([9007199254740991, 42, -7]);
  for (const bad of ['9007199254740992', 2n ** 60n, 1.5, '', ' 1', '1e3', null, undefined, Number.NaN]) {
    expect(() => toSafeInteger(bad)).toThrow(UnsafeIntegerError);
  }
});
