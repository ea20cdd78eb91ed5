import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../../../..');
const program = join(import.meta.dirname, '../../bin/quorate-simulate.mjs');
// Below the root, so that modules resolve as they do for the workspace.
const folder = mkdtempSync(join(root, 'node_modules', '.simulate-'));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});
writeFileSync(
  join(folder, 'some.scenario.mjs'),
  `export const scenarios = [
  { name: 'sound', run: (simulation) => simulation.runFor(10) },
  {
    name: 'broken',
    async run(simulation) {
      for (let at = 1; at <= 20; at++) {
        simulation.fault({ name: 'fault ' + at, atMs: at, begin: () => {
          if (simulation.seed === 7 && at === 13) simulation.fail('check', 'it broke');
        } });
      }
      await simulation.runFor(100);
    },
  },
  { name: 'hangs', async run({ seed }) { while (seed === 3); } },
  { name: 'dies', async run({ seed }) { if (seed === 2) process.exit(9); } },
];`,
);

/** What the command prints, and its exit code. */
function simulate(...args: string[]): Promise<{ code: number; out: string }> {
  return new Promise((resolve) => {
    const node = ['--conditions=@quorate/source', '--import', 'tsx', program, ...args];
    execFile(process.execPath, node, { cwd: folder }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), out: stdout + stderr });
    });
  });
}

// Each starts processes that load TypeScript, which takes its time on a busy machine.
describe('quorate-simulate', { timeout: 300_000 }, () => {
  it('runs all seeds of the one that is asked for', async () => {
    const { code, out } = await simulate('--scenario', 'sound', '--seeds', '300', '--jobs', '2');
    expect(out).toMatch(/^ok {3}sound {5}300 seeds, .* violations: none$/m);
    expect(code).toBe(0);
  });

  it('reports a failing seed with its fault, a page and the command that replays it', async () => {
    const { code, out } = await simulate('--scenario', 'broken', '--seeds', '40', '--jobs', '2');
    expect(code).toBe(1);
    expect(out).toContain('FAIL broken, seed 7: VIOLATION: check: it broke');
    expect(out).toMatch(/with one fault:\n {4}#13 at 13\.0 ms: fault 13\n/);
    expect(out).toContain('replay: npx quorate-simulate --scenario broken --seed 7 --faults 13');
    const page = /page: (.*)/.exec(out)?.[1] ?? '';
    expect(readFileSync(join(folder, page), 'utf8')).toContain('it broke');
    const trace = /trace: (.*)/.exec(out)?.[1];
    const replayed = await simulate('--scenario', 'broken', '--seed', '7', '--faults', '13');
    expect([replayed.code, /trace: (.*)/.exec(replayed.out)?.[1]]).toEqual([1, trace]);
    expect((await simulate('--scenario', 'broken', '--seed', '7', '--faults', 'none')).code).toBe(0);
  });

  it('reports a seed that hangs or ends its process, and runs the others', async () => {
    const hangs = await simulate(
      '--scenario',
      'hangs',
      '--seeds',
      '6',
      '--jobs',
      '1',
      '--timeout',
      '3',
      '--failures',
      '2',
    );
    expect(hangs.code).toBe(1);
    expect(hangs.out).toContain('FAIL hangs, seed 3: did not end within 3 s');
    expect(hangs.out).toContain('5 seeds');
    const dies = await simulate('--scenario', 'dies', '--seeds', '4', '--jobs', '1', '--failures', '2');
    expect(dies.out).toContain('FAIL dies, seed 2: ended the process (9)');
  });

  it('says what is wrong with its arguments', async () => {
    const { code, out } = await simulate('--scenario', 'nobody');
    expect(out).toContain('no scenario is called nobody; there are: sound, broken, hangs, dies');
    expect(code).toBe(2);
  });
});
