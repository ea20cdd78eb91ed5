import { InvalidOptionError, isIdentifier } from '@quorate/runtime';

/** Checks the common beginning of key names. A brace in it would decide where a cluster keeps every lock. */
export function prefixOption(value: unknown): string {
  if (value === undefined) return 'quorate:lock:';
  if (typeof value !== 'string' || /[{}]/.test(value) || (value !== '' && !isIdentifier(value)))
    throw new InvalidOptionError('prefix', value, 'a string without braces and control characters');
  return value;
}
