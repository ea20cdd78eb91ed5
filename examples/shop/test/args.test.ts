import { describe, expect, it } from 'vitest';
import { ArgumentError, DEFAULTS, parseDemoArgs } from '../src/demo/args.js';

const parse = (...argv: string[]): unknown => parseDemoArgs(argv, () => 77);

describe('the flags of the demo', () => {
  it('have defaults, and a seed that is made anew', () => {
    expect(parse()).toEqual({
      orders: DEFAULTS.orders,
      killEvery: DEFAULTS.killEvery,
      seed: 77,
      postgres: undefined,
      keep: false,
    });
  });

  it('are all read, in both forms', () => {
    expect(
      parse('--orders', '12', '--kill-every=0.5', '--seed', '0', '--postgres', 'postgres://u@h/d', '--keep'),
    ).toEqual({ orders: 12, killEvery: 0.5, seed: 0, postgres: 'postgres://u@h/d', keep: true });
    expect(parse('--help')).toBe('help');
    expect(parse('-h')).toBe('help');
  });

  it.each([
    [['--orders', '0'], '--orders must be an integer from 1 to 100000, got "0"'],
    [['--orders', '1.5'], '--orders must be an integer from 1 to 100000, got "1.5"'],
    [['--orders', ''], '--orders must be an integer from 1 to 100000, got ""'],
    [['--orders', 'many'], '--orders must be an integer from 1 to 100000, got "many"'],
    [['--kill-every=-1'], '--kill-every must be a number from 0 to 3600, got "-1"'],
    [['--kill-every', 'NaN'], '--kill-every must be a number from 0 to 3600, got "NaN"'],
    [['--seed', 'x'], '--seed must be an integer from 0 to 4294967295, got "x"'],
    [['--postgres', 'localhost'], '--postgres must be an address such as postgres://'],
    [['--postgres', 'mysql://root:hunter2@h/d'], '--postgres must be an address such as postgres://'],
    [['--ordres', '5'], "Unknown option '--ordres'"],
    [['--orders'], "Option '--orders <value>' argument missing"],
    [['--keep=yes'], "Option '--keep' does not take an argument"],
    [['fast'], "Unexpected argument 'fast'"],
  ])('refuse %j and say what is accepted', (argv, message) => {
    expect(() => parse(...argv)).toThrow(ArgumentError);
    expect(() => parse(...argv)).toThrow(message);
    // An address may hold a password.
    expect(() => parse(...argv)).not.toThrow('hunter2');
  });
});
