import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { InvalidOptionError, systemRuntime } from '@quorate/runtime';

/** Runs a program of its own, since what is tested is whether it ends. */
function run(body: string): { code: number | null; output: string } {
  const program = `import { systemRuntime, sleep } from '@quorate/runtime';\n${body}`;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--conditions=@quorate/source', '--import', 'tsx', '--input-type=module', '--eval', program],
    { encoding: 'utf8', timeout: 30_000, cwd: import.meta.dirname },
  );
  return { code: status, output: stdout + stderr };
}

describe('systemRuntime', () => {
  it('does not keep a process alive by a timer, unless asked', () => {
    expect(run(`systemRuntime.setTimer(60_000, () => {}); console.log('end');`)).toEqual({
      code: 0,
      output: 'end\n',
    });
    expect(
      run(`systemRuntime.setTimer(20, () => console.log('ran'), { keepAlive: true }); console.log('set');`),
    ).toEqual({ code: 0, output: 'set\nran\n' });
    expect(run(`await sleep(systemRuntime, 20); console.log('awake');`)).toEqual({
      code: 0,
      output: 'awake\n',
    });
  });

  it('never fires early against its own monotonic clock', async () => {
    for (const delayMs of [0, 0.1, 1, 1.5, 2.9, 10.01]) {
      const set = systemRuntime.monotonic();
      const fired = await new Promise<number>((resolve) => {
        systemRuntime.setTimer(delayMs, () => resolve(systemRuntime.monotonic()), { keepAlive: true });
      });
      expect(fired - set).toBeGreaterThanOrEqual(delayMs);
    }
  });

  it('waits for delays beyond 32 bits instead of firing at once', async () => {
    let fired = false;
    const long = systemRuntime.setTimer(2 ** 33, () => (fired = true));
    await new Promise<void>((resolve) => {
      systemRuntime.setTimer(20, resolve, { keepAlive: true });
    });
    long.cancel();
    expect(fired).toBe(false);
  });

  it('refuses a delay that is no number', () => {
    expect(() => systemRuntime.setTimer(Number.NaN, () => {})).toThrow(InvalidOptionError);
  });
});
