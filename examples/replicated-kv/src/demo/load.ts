import { seededRandom, sleep, systemRuntime } from '@quorate/runtime';
import { History, type MapInput, mapModel, type RegisterOutput } from '@quorate/simulator';
import { call, CallError } from '../cluster/http.js';

/** How the operations went. */
export interface LoadCounts {
  ok: number;
  /** Certainly without effect: nobody answered, or nobody led in time. */
  failed: number;
  /** An answer was lost. */
  unknown: number;
}

const KEYS = 6;
/** A key is used for so long: an open outcome overlaps with everything behind it, which makes judging slow. */
const KEY_MS = 1_000;

/** Clients that each do one thing after the other at any node, and write down what they saw. */
export class Load {
  readonly history = new History<MapInput, RegisterOutput>('kv', mapModel, () => systemRuntime.monotonic());
  readonly counts: LoadCounts = { ok: 0, failed: 0, unknown: 0 };
  /** How long successful operations took, in milliseconds. */
  readonly latencies: number[] = [];
  /** The write that was begun last of those that succeeded. */
  lastWrite = { beganMs: 0, endedMs: 0 };
  #values = 0;
  constructor(
    readonly urls: readonly string[],
    readonly seed: number,
  ) {}

  /** Runs `clients` of them until the signal aborts. Resolves when each has its last answer. */
  async run(clients: number, signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from({ length: clients }, (_, at) => this.#client(at, signal)));
  }

  async #client(number: number, signal: AbortSignal): Promise<void> {
    const random = seededRandom(this.seed * 1_000 + number);
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
    while (!signal.aborted) {
      const key = `k${String(Math.floor(systemRuntime.monotonic() / KEY_MS))}-${String(Math.floor(random() * KEYS))}`;
      const path = `${pick(this.urls)}/kv/${key}`;
      const value = String(++this.#values);
      const dice = random();
      const name = `client-${String(number)}`;
      const before = this.counts.failed;
      if (dice < 0.4) {
        await this.#record(name, { type: 'read', key }, async () => {
          const { status, body } = await call<{ value: string }>(path);
          return status === 404 ? undefined : body.value;
        });
      } else if (dice < 0.75) {
        await this.#record(name, { type: 'write', key, value }, async () => {
          await call(path, { method: 'PUT', body: { value } });
          return undefined;
        });
      } else if (dice < 0.85) {
        await this.#record(name, { type: 'remove', key }, async () => {
          await call(path, { method: 'DELETE' });
          return undefined;
        });
      } else {
        await this.#compareAndSet(name, key, path, value);
      }
      // A node that is down refuses at once: do not hammer it.
      if (this.counts.failed > before) await sleep(systemRuntime, 20);
    }
  }

  /** Reads what is there, however old, and writes if it still is. */
  async #compareAndSet(name: string, key: string, path: string, value: string): Promise<void> {
    const seen = await call<{ value: string; version: number }>(`${path}?level=stale`).catch(() => undefined);
    const there = seen?.status === 200 ? seen.body : undefined;
    await this.#record(name, { type: 'cas', key, expected: there?.value, value }, async () => {
      const body = { value, ifVersion: there?.version ?? 0 };
      return (await call<{ applied: boolean }>(path, { method: 'PUT', body })).body.applied;
    });
  }

  async #record(process: string, input: MapInput, run: () => Promise<RegisterOutput>): Promise<void> {
    const began = systemRuntime.monotonic();
    try {
      await this.history.record(process, input, run);
      this.counts.ok++;
      const now = systemRuntime.monotonic();
      this.latencies.push(now - began);
      if (input.type !== 'read' && began > this.lastWrite.beganMs)
        this.lastWrite = { beganMs: began, endedMs: now };
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (error.definite) this.counts.failed++;
      else this.counts.unknown++;
    }
  }
}
