import { InvalidOptionError, numberOption } from '@quorate/runtime';
import { strict as assert } from 'node:assert';
import { boundsChecks } from './conformance/bounds.js';
import {
  type Check,
  CheckContext,
  type ConformanceHook,
  type ConformanceNetwork,
  type Patience,
} from './conformance/harness.js';
import { messageChecks } from './conformance/messages.js';
import { requestChecks } from './conformance/requests.js';
import { sessionChecks } from './conformance/sessions.js';

export type {
  ConformanceHook,
  ConformanceNetwork,
  GarbageKind,
  ImpostorKind,
} from './conformance/harness.js';

/** The two functions that the kit needs of a test runner; those of `node:test`, Vitest, Jest and Mocha fit. */
export interface ConformanceRunner {
  describe(name: string, define: () => void): void;
  it(name: string, run: () => Promise<void>): void;
}

/** What {@link conformance} checks, and with what. */
export interface ConformanceOptions {
  /** The name under which the checks are shown. */
  readonly name: string;
  /**
   * Makes a fresh network of `nodes` transports for one check. They all know each other, and are not started: the
   * checks do that.
   */
  setup(nodes: number): Promise<ConformanceNetwork>;
  readonly runner: ConformanceRunner;
  /**
   * Hooks that this medium cannot offer, each with the reason. The checks that need them are listed as impossible, in
   * a check of its own that fails when the network offers them after all. Every other hook must be there.
   * @defaultValue none
   */
  readonly impossible?: Partial<Record<ConformanceHook, string>>;
  /**
   * Milliseconds after which something that must happen counts as not happening. Keep it below the runner's own limit
   * for a test, which cannot say what it waited for.
   * @defaultValue 4_000
   */
  readonly limitMs?: number;
  /**
   * Milliseconds that a message may be held back by the medium; so long a check waits where it must see that nothing
   * happens.
   * @defaultValue 50
   */
  readonly settleMs?: number;
}

const HOOKS: Record<ConformanceHook, readonly (keyof ConformanceNetwork)[]> = {
  stall: ['stall', 'resume', 'queueBytes'],
  connections: ['connections'],
  garbage: ['garbage'],
  impostor: ['impostor'],
};

const checks: readonly Check[] = [...messageChecks, ...requestChecks, ...sessionChecks, ...boundsChecks].sort(
  (one, other) => one.number - other.number,
);

/**
 * The checks that every link, and every decorator of a transport, must pass. Defines one test for each with the given
 * runner. Import it in a test of your adapter; it needs no particular test runner.
 */
export function conformance(options: ConformanceOptions): void {
  const { name, runner, impossible = {} } = options;
  const patience: Patience = {
    limitMs: numberOption('limitMs', options.limitMs ?? 4_000, { min: 1 }),
    settleMs: numberOption('settleMs', options.settleMs ?? 50),
  };
  for (const hook of Object.keys(impossible)) {
    if (!Object.hasOwn(HOOKS, hook)) {
      throw new InvalidOptionError('impossible', hook, `of ${Object.keys(HOOKS).join(', ')}`);
    }
  }
  runner.describe(name, () => {
    for (const check of checks) {
      if (check.needs !== undefined && impossible[check.needs] !== undefined) continue;
      runner.it(`${String(check.number)}. ${check.name}`, () => run(check, options, patience));
    }
    const left = Object.entries(impossible).map(([hook, reason]) => {
      const numbers = checks.filter(({ needs }) => needs === hook).map(({ number }) => String(number));
      return `${numbers.length === 0 ? `${hook} in 20` : numbers.join(' and ')} (${reason})`;
    });
    const title = left.length === 0 ? 'nothing is impossible here' : `impossible here: ${left.join('; ')}`;
    runner.it(title, () => checkHooks(options, patience));
  });
}

async function run(check: Check, options: ConformanceOptions, patience: Patience): Promise<void> {
  const network = await options.setup(check.nodes);
  try {
    assert.equal(network.nodes.length, check.nodes, 'setup makes as many nodes as it is asked for');
    const context = new CheckContext(network, patience);
    if (check.unstarted !== true) await context.start();
    await check.run(context);
  } finally {
    await network.teardown();
  }
}

async function checkHooks(options: ConformanceOptions, patience: Patience): Promise<void> {
  const network = await options.setup(1);
  try {
    for (const [hook, members] of Object.entries(HOOKS)) {
      const reason = options.impossible?.[hook as ConformanceHook];
      for (const member of members) {
        const there = network[member] !== undefined;
        if (reason === undefined)
          assert.ok(there, `setup must offer ${member}, or declare ${hook} impossible`);
        else assert.ok(!there, `${hook} is declared impossible (${reason}), but setup offers ${member}`);
      }
    }
    await new CheckContext(network, patience).start();
  } finally {
    await network.teardown();
  }
}
