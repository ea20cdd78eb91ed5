import { describe, expect, it } from 'vitest';
import { HELP, parseArguments, UsageError } from '../src/cli/arguments.js';

describe('the arguments of quorate-simulate', () => {
  it('have defaults, and say the seeds to run', () => {
    expect(parseArguments([])).toMatchObject({
      from: 1,
      count: 100,
      failures: 1,
      shrink: true,
      scenarios: [],
      files: [],
    });
    expect(parseArguments(['--seeds', '10000', '--from', '5', 'a', 'b'])).toMatchObject({
      from: 5,
      count: 10_000,
      files: ['a', 'b'],
    });
    expect(parseArguments(['--seed', '7', '--faults', '1,3', '--scenario', 'x'])).toMatchObject({
      from: 7,
      count: 1,
      onlyFaults: [1, 3],
      scenarios: ['x'],
      shrink: false,
    });
    expect(parseArguments(['--seed=-7', '--faults', 'none'])).toMatchObject({ from: -7, onlyFaults: [] });
  });

  it.each([
    [['--seeds', 'many'], '--seeds must be an integer of at least 1, got "many"'],
    [['--seeds', '0'], '--seeds must be an integer'],
    [['--jobs', '1.5'], '--jobs must be an integer'],
    [['--seed', '1', '--from', '2'], 'without --seeds and --from'],
    [['--faults', '1'], 'give it with --seed'],
    [['--seed', '1', '--faults', '1,x'], '--faults must be numbers'],
    [['--wrong'], "Unknown option '--wrong'"],
  ])('are refused where they make no sense: %j', (args, message) => {
    expect(() => parseArguments(args)).toThrow(UsageError);
    expect(() => parseArguments(args)).toThrow(message);
  });

  it('are all in the help', () => {
    const options = [
      'seeds',
      'from',
      'seed',
      'scenario',
      'faults',
      'jobs',
      'failures',
      'timeout',
      'no-shrink',
      'out',
      'list',
    ];
    for (const option of options) expect(HELP).toContain(`--${option}`);
  });
});
