import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it.each(['raft', 'etcd', 'redis', 'redlock', 'optimistic', 'postgres', 'mysql'])(
  'does each task once and in order on %s, with workers killed and frozen',
  async (backend) => {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [
        '--conditions=@quorate/source',
        '--import',
        'tsx',
        'src/main.ts',
        '--tasks',
        '160',
        '--backend',
        backend,
      ],
      { cwd: join(import.meta.dirname, '../..') },
    );
    expect(stderr).toBe('');
    expect(stdout).toContain(`${backend}: 160 tasks done by `);
    const [, killed, frozen, refused] =
      /killed (\d+) times, frozen (\d+) times, (\d+) stale writes refused/.exec(stdout) ?? [];
    expect(Number(killed)).toBeGreaterThan(0);
    expect(Number(frozen)).toBeGreaterThan(0);
    expect(Number(refused)).toBeGreaterThan(0);
    expect(stdout).toMatch(/audit passed: each task once, in order\n$/);
  },
  120_000,
);
