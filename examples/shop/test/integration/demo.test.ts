import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { service } from '@quorate/testing';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SERVICES } from '../../src/lib/names.js';

interface Run {
  readonly child: ChildProcess;
  readonly lines: string[];
  /** Resolves with the first line that matches. */
  line(pattern: RegExp): Promise<string>;
  readonly exit: Promise<number | null>;
}

/** The demo as a user runs it, with its output going to a pipe. */
function demo(...args: readonly string[]): Run {
  const program = join(import.meta.dirname, '..', '..', 'src', 'demo.ts');
  const flags = ['--conditions=@quorate/source', '--import', 'tsx'];
  const child = spawn(process.execPath, [...flags, program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines: string[] = [];
  const waiting: { pattern: RegExp; resolve: (line: string) => void }[] = [];
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', (line) => {
      lines.push(line);
      for (const { pattern, resolve } of waiting) if (pattern.test(line)) resolve(line);
    });
  }
  const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    child,
    lines,
    exit,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const found = lines.find((line) => pattern.test(line));
        if (found !== undefined) resolve(found);
        waiting.push({ pattern, resolve });
        void exit.then(() =>
          reject(new Error(`The demo ended without ${String(pattern)}:\n${lines.join('\n')}`)),
        );
      }),
  };
}

/** Whether somebody answers at this address. */
async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    () => true,
    () => false,
  );
}

async function urlsOf(run: Run): Promise<string[]> {
  const lines = await Promise.all(SERVICES.map((name) => run.line(new RegExp(`^ {2}${name} +http`))));
  return lines.map((line) => `${/http:\S+/.exec(line)?.[0] ?? ''}/health`);
}

describe('the demo', () => {
  it('kills every service, loses nothing, and says so in plain lines', async () => {
    const run = demo('--orders', '24', '--kill-every', '1', '--seed', '11');
    expect(await run.exit, run.lines.join('\n')).toBe(0);
    const output = run.lines.join('\n');
    for (const name of SERVICES) expect(output).toMatch(new RegExp(`SIGKILL +${name} `));
    expect(output).toMatch(/confirmed, \d+ cancelled \(.*out of stock/);
    expect(output).toMatch(/cancelled \(.*timed out/);
    expect(output).toMatch(/The audit passed/);
    expect(output).not.toContain('\x1b');
  }, 120_000);

  it('runs on a given server, keeps running when asked, and drops only its own databases on Ctrl-C', async () => {
    const url = await service('postgres');
    const databases = async (): Promise<string[]> => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      const { rows } = await client.query<{ datname: string }>('select datname from pg_database');
      await client.end();
      return rows.map(({ datname }) => datname);
    };
    const run = demo('--postgres', url, '--orders', '3', '--kill-every', '0', '--keep');
    const prefix = /quorate_shop_\w+_(?=\*)/.exec(await run.line(/databases/))?.[0] ?? 'none';
    await run.line(/The shop is left running/);
    expect((await databases()).filter((name) => name.startsWith(prefix))).toHaveLength(4);
    for (const address of await urlsOf(run)) expect(await answers(address)).toBe(true);
    run.child.kill('SIGINT');
    expect(await run.exit).toBe(0);
    expect((await databases()).filter((name) => name.startsWith(prefix))).toEqual([]);
    expect(await databases()).toContain('postgres');
  }, 90_000);

  it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    'leaves no process behind when it gets %s in the middle',
    async (signal) => {
      const run = demo('--orders', '500', '--kill-every', '1');
      const addresses = await urlsOf(run);
      const server = /127\.0\.0\.1:\d+/.exec(await run.line(/databases/))?.[0] ?? '';
      await run.line(/SIGKILL/);
      run.child.kill(signal);
      const code = await run.exit;
      expect(code).toBe({ SIGINT: 130, SIGTERM: 143, SIGKILL: null }[signal]);
      await expect
        .poll(async () => (await Promise.all(addresses.map(answers))).filter(Boolean), { timeout: 10_000 })
        .toEqual([]);
      // Its PostgreSQL server is gone, too.
      await expect
        .poll(
          () =>
            new pg.Client({ connectionString: `postgres://postgres@${server}/postgres` }).connect().then(
              () => 'there',
              (error: unknown) => (error as { code: string }).code,
            ),
          { timeout: 10_000 },
        )
        .toBe('ECONNREFUSED');
    },
    90_000,
  );

  it.each([
    [['--orders', 'x'], 2, /--orders must be an integer/],
    [['--help'], 0, /--kill-every S/],
    [['--postgres', 'postgres://127.0.0.1:1/x', '--orders', '1'], 1, /ECONNREFUSED/],
  ])('ends %j with exit code %i', async (args, code, message) => {
    const run = demo(...args);
    expect(await run.exit).toBe(code);
    expect(run.lines.join('\n')).toMatch(message);
  });
});
