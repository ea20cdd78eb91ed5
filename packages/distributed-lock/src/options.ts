import {
  type BackoffOptions,
  backoff,
  choiceOption,
  functionOption,
  identifierOption,
  integerOption,
  InvalidOptionError,
  numberOption,
  type Runtime,
  systemRuntime,
} from '@quorate/runtime';
import type { LockBackend } from './contract.js';
import type { Drift } from './core/validity.js';
import { LockUnsupportedError } from './errors.js';

/** How locks are taken and kept. */
export interface LocksOptions {
  /**
   * How long a lock outlives its holder, in milliseconds. A lock that is held is renewed long before.
   * @defaultValue 30_000, or what the backend allows that is nearest to it
   */
  readonly leaseMs?: number;
  /**
   * How often a held lock is renewed, in milliseconds; false leaves that to `extend`.
   * @defaultValue a third of the lease
   */
  readonly renew?: false | { readonly everyMs: number };
  /**
   * What the clocks of client and server may differ while a lease lasts, as a part of it. A lease counts as lost so much
   * before its end.
   * @defaultValue 0.01
   */
  readonly driftRatio?: number;
  /**
   * And a constant, in milliseconds.
   * @defaultValue 2
   */
  readonly driftMs?: number;
  /** The pauses between attempts where the backend has no queue or failed. By default from 10 ms to 1 s with full jitter. */
  readonly backoff?: BackoffOptions;
  /**
   * How often a call to the backend is made before its error is thrown.
   * @defaultValue 3
   */
  readonly attempts?: number;
  /** A name of this client, of at most 200 bytes. Owners begin with it, so that it shows in `inspect`. */
  readonly client?: string;
  /** @defaultValue systemRuntime */
  readonly runtime?: Runtime;
}

/** How long, and in what way, to wait for a lock. */
export interface AcquireOptions {
  /**
   * How long to wait, in milliseconds; then `LockTimeoutError`. Zero asks once.
   * @defaultValue for ever
   */
  readonly waitMs?: number;
  /** Ends the wait, with `LockAbortedError`. It has no effect on a lock that was granted. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether to stand in the queue of the backend. True on a backend without FIFO throws `LockUnsupportedError`; false
   * tries again and again beside the queue, and may wait long.
   * @defaultValue what the backend has
   */
  readonly fair?: boolean;
  /** The lease of this lock, in milliseconds, in place of the common one. */
  readonly leaseMs?: number;
}

/** Options, checked and complete. */
export interface Settings {
  readonly runtime: Runtime;
  readonly leaseMs: number;
  /** From the lease to the time between renewals; `undefined`: none. */
  readonly renewEveryMs: ((leaseMs: number) => number) | undefined;
  readonly drift: Drift;
  readonly backoff: BackoffOptions;
  readonly attempts: number;
  readonly client: string | undefined;
}

const DEFAULT_LEASE_MS = 30_000;
const MAX_KEY_BYTES = 255;
const MAX_CLIENT_BYTES = 200;
const MODES = ['exclusive', 'shared', 'permits'] as const;

/** Checks a backend and the options that go with it. */
export function settingsOf(backend: LockBackend, options: LocksOptions): Settings {
  checkBackend(backend);
  const { min, max } = backend.capabilities.leaseMs;
  const runtime = options.runtime ?? systemRuntime;
  if (typeof (runtime as unknown) !== 'object')
    throw new InvalidOptionError('runtime', runtime, 'a Runtime, such as systemRuntime');
  const drift: Drift = {
    ratio: numberOption('driftRatio', options.driftRatio ?? 0.01, { max: 0.5 }),
    ms: numberOption('driftMs', options.driftMs ?? 2),
  };
  const leaseMs = leaseOption(
    backend,
    drift,
    options.leaseMs ?? Math.max(min, Math.min(max, DEFAULT_LEASE_MS)),
  );
  const { renew } = options;
  if (renew !== undefined && renew !== false && typeof (renew as unknown) !== 'object')
    throw new InvalidOptionError('renew', renew, 'false or { everyMs }');
  const everyMs =
    typeof renew === 'object' ? numberOption('renew.everyMs', renew.everyMs, { min: 1, max: leaseMs }) : 0;
  const client = options.client === undefined ? undefined : identifierOption('client', options.client);
  if (client !== undefined && Buffer.byteLength(client) > MAX_CLIENT_BYTES)
    throw new InvalidOptionError('client', client, `at most ${String(MAX_CLIENT_BYTES)} bytes`);
  const pauses = { minMs: 10, maxMs: 1_000, ...options.backoff };
  backoff(runtime, pauses);
  return {
    runtime,
    leaseMs,
    renewEveryMs:
      renew === false ? undefined : (lease) => (everyMs === 0 ? lease / 3 : Math.min(everyMs, lease / 2)),
    drift,
    backoff: pauses,
    attempts: integerOption('attempts', options.attempts ?? 3, { min: 1 }),
    client,
  };
}

/** Checks the lease of one lock. */
export function leaseOption(backend: LockBackend, drift: Drift, value: unknown): number {
  const { min, max } = backend.capabilities.leaseMs;
  const leaseMs = integerOption('leaseMs', value, { min, max });
  if (leaseMs * (1 - drift.ratio) <= drift.ms)
    throw new InvalidOptionError('leaseMs', value, `above the drift of ${String(drift.ms)} ms`);
  return leaseMs;
}

/** Checks a key against what the backend can store. */
export function keyOption(backend: LockBackend, key: unknown): string {
  const most = Math.min(MAX_KEY_BYTES, backend.capabilities.maxKeyBytes);
  if (typeof key !== 'string' || key.length === 0 || Buffer.byteLength(key) > most || /\p{Cs}/u.test(key)) {
    throw new InvalidOptionError(
      'key',
      key,
      `a string of 1 to ${String(most)} bytes of UTF-8 without lone surrogates`,
    );
  }
  return key;
}

/** Checks the options of one acquisition. */
export function acquireOptions(
  backend: LockBackend,
  settings: Settings,
  options: AcquireOptions,
): {
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
  readonly fair: boolean;
  readonly leaseMs: number;
} {
  if (typeof (options as unknown) !== 'object' || (options as unknown) === null)
    throw new InvalidOptionError('options', options, 'an object');
  const {
    waitMs = Number.POSITIVE_INFINITY,
    signal,
    fair = backend.capabilities.waiting !== 'retry',
  } = options;
  if (waitMs !== Number.POSITIVE_INFINITY) numberOption('waitMs', waitMs);
  if (signal !== undefined && !((signal as unknown) instanceof AbortSignal))
    throw new InvalidOptionError('signal', signal, 'an AbortSignal');
  if (typeof (fair as unknown) !== 'boolean') throw new InvalidOptionError('fair', fair, 'true or false');
  if (options.fair === true && !backend.capabilities.fifo)
    throw new LockUnsupportedError(backend.name, 'fair queue (capabilities.fifo is false)');
  const leaseMs =
    options.leaseMs === undefined ? settings.leaseMs : leaseOption(backend, settings.drift, options.leaseMs);
  return { waitMs, signal, fair, leaseMs };
}

function checkBackend(backend: LockBackend): void {
  const given = backend as Partial<LockBackend> | null | undefined;
  if (typeof given !== 'object' || given === null)
    throw new InvalidOptionError('backend', given, 'a LockBackend, such as memoryBackend()');
  identifierOption('backend.name', given.name);
  for (const method of ['claim', 'renew', 'release', 'close'] as const)
    functionOption(`backend.${method}`, given[method]);
  const { capabilities } = given;
  if (typeof capabilities !== 'object')
    throw new InvalidOptionError('backend.capabilities', capabilities, 'an object');
  choiceOption('capabilities.fencing', capabilities.fencing, ['durable', 'volatile', 'none']);
  choiceOption('capabilities.waiting', capabilities.waiting, ['push', 'poll', 'blocking', 'retry']);
  choiceOption('capabilities.releasedOnCrash', capabilities.releasedOnCrash, ['session', 'time']);
  choiceOption('capabilities.safety', capabilities.safety, [
    'consensus',
    'single-node',
    'best-effort-quorum',
  ]);
  for (const mode of capabilities.modes) choiceOption('capabilities.modes', mode, MODES);
  const min = integerOption('capabilities.leaseMs.min', capabilities.leaseMs.min, { min: 1 });
  integerOption('capabilities.leaseMs.max', capabilities.leaseMs.max, { min });
  integerOption('capabilities.maxKeyBytes', capabilities.maxKeyBytes, { min: 1, max: MAX_KEY_BYTES });
  if (capabilities.fifo && capabilities.waiting === 'retry')
    throw new InvalidOptionError('capabilities.fifo', true, 'false where waiting is by retry');
}
