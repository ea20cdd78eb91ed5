import { type LockCapabilities } from '@quorate/distributed-lock';
import { InvalidOptionError, numberOption, type Runtime } from '@quorate/runtime';
import { strict as assert } from 'node:assert';
import { claimChecks } from './conformance/claims.js';
import {
  type Check,
  CheckContext,
  type LockConformanceHook,
  type LockConformanceWorld,
  type Manner,
} from './conformance/harness.js';
import { kindChecks } from './conformance/kinds.js';
import { lockChecks } from './conformance/locks.js';
import { waitChecks } from './conformance/waits.js';

export { checkLockHistory, type Held, LockHistory, type LockHistoryEvent } from './conformance/history.js';
export type { LockConformanceHook, LockConformanceWorld } from './conformance/harness.js';

/** The two functions that the kit needs of a test runner; those of `node:test`, Vitest, Jest and Mocha fit. */
export interface LockConformanceRunner {
  describe(name: string, define: () => void): void;
  it(name: string, run: () => Promise<void>): void;
}

/** What {@link lockConformance} checks, and with what. */
export interface LockConformanceOptions {
  /** The name under which the checks are shown. */
  readonly name: string;
  /** What the backend promises. The kit checks that its clients say the same. */
  readonly capabilities: LockCapabilities;
  readonly runner: LockConformanceRunner;
  /** Makes a fresh world for one check. Keys are never used twice, so that a server may be shared. */
  setup(): Promise<LockConformanceWorld>;
  /**
   * What the world cannot do, each with the reason. The checks that need it are listed as impossible, in a check of its
   * own that fails when the world can after all. All else must be there.
   * @defaultValue none
   */
  readonly impossible?: Partial<Record<LockConformanceHook, string>>;
  /**
   * The lease of the checks, in milliseconds. A check takes some of them in real time.
   * @defaultValue 400, or what the backend allows that is nearest to it
   */
  readonly leaseMs?: number;
  /**
   * Milliseconds after which something that must happen counts as not happening. Keep it below the runner's own limit.
   * @defaultValue 10_000 and ten leases
   */
  readonly limitMs?: number;
  /**
   * Milliseconds after which a blocking claim that was sent has reached the server.
   * @defaultValue 100
   */
  readonly settleMs?: number;
}

const HOOKS: readonly LockConformanceHook[] = ['crash', 'restart', 'guarded'];

const checks: readonly Check[] = [...claimChecks, ...waitChecks, ...kindChecks, ...lockChecks].sort(
  (one, other) => one.number - other.number,
);

/**
 * The checks that every lock backend must pass. Defines one test for each that concerns it with the given runner, and
 * names the others. Import it in a test of your backend; it needs no particular test runner.
 */
export function lockConformance(options: LockConformanceOptions): void {
  const { name, runner, capabilities, impossible = {} } = options;
  const { min, max } = capabilities.leaseMs;
  const leaseMs = numberOption('leaseMs', options.leaseMs ?? Math.max(min, Math.min(max, 400)), { min, max });
  const manner: Manner = {
    leaseMs,
    limitMs: numberOption('limitMs', options.limitMs ?? 10_000 + 10 * leaseMs, { min: 1 }),
    settleMs: numberOption('settleMs', options.settleMs ?? 100),
  };
  for (const hook of Object.keys(impossible)) {
    if (!HOOKS.includes(hook as LockConformanceHook))
      throw new InvalidOptionError('impossible', hook, `of ${HOOKS.join(', ')}`);
  }
  runner.describe(name, () => {
    const left: string[] = [];
    for (const check of checks) {
      const { number, needs } = check;
      const reason = needs === undefined ? undefined : impossible[needs];
      if (check.applies?.(capabilities) === false) left.push(`${String(number)} (not promised)`);
      else if (reason !== undefined) left.push(`${String(number)} (${reason})`);
      else runner.it(`${String(number)}. ${check.name}`, () => run(check, options, manner));
    }
    const title = left.length === 0 ? 'every check concerns this backend' : `left out: ${left.join(', ')}`;
    runner.it(title, () =>
      run({ number: 0, name: title, run: (context) => checkHooks(context, options) }, options, manner),
    );
  });
}

async function run(check: Check, options: LockConformanceOptions, manner: Manner): Promise<void> {
  const world = await options.setup();
  const context = new CheckContext(world, options.capabilities, manner);
  const whole = (async () => {
    try {
      await check.run(context);
    } finally {
      await context.end();
    }
  })();
  await drive(world.runtime, whole);
}

/** Lets virtual time pass while the check runs; real time passes by itself. */
async function drive(runtime: Runtime, whole: Promise<void>): Promise<void> {
  const { runUntil } = runtime as {
    readonly runUntil?: (done: () => boolean, limitMs: number) => Promise<void>;
  };
  if (runUntil !== undefined) {
    let settled = false;
    const settle = (): void => {
      settled = true;
    };
    whole.then(settle, settle);
    await runUntil(() => settled, 3_600_000);
  }
  await whole;
}

async function checkHooks(
  context: CheckContext,
  { impossible = {}, capabilities }: LockConformanceOptions,
): Promise<void> {
  for (const hook of HOOKS) {
    const there = context.world[hook] !== undefined;
    const reason = impossible[hook];
    // Without a fence there is nothing that a guard could check.
    if (hook === 'guarded' && capabilities.fencing === 'none') continue;
    if (hook === 'restart' && capabilities.fencing !== 'durable') continue;
    if (reason === undefined) assert.ok(there, `setup must offer ${hook}, or declare it impossible`);
    else assert.ok(!there, `${hook} is declared impossible (${reason}), but setup offers it`);
  }
  await (await context.client()).close();
}
