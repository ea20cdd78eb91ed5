import type { AppliedCommand, ResultCodec, StateMachine } from '@quorate/replicated-log';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import { ChunkReader } from './chunks.js';
import {
  decodeLockCommand,
  decodeLockResult,
  encodeLockResult,
  type LockCommand,
  type LockResult,
  MAX_LOCK_NAME_BYTES,
} from './core/lock-format.js';

/** What a {@link LockMachine} is asked: how things stand with one lock. */
export interface LockQuery {
  readonly name: string;
}

/** Who has a lock, and how many wait for it. */
export interface LockStatus {
  readonly holder:
    { readonly owner: string; readonly fence: number; readonly expiresAtMs: number } | undefined;
  readonly waiting: number;
}

interface Claim {
  readonly owner: string;
  ttlMs: number;
  expiresAtMs: number;
}

/** The first claim has the lock, the others wait in the order in which they came. Never empty. */
interface Lock {
  fence: number;
  claims: Claim[];
}

const VERSION = 1;
const MAX_SNAPSHOT_BYTES = 1_073_741_824;

/**
 * Replicated locks with leases by replicated time, a fair queue, and fences that grow with every grant. Claims that
 * are not renewed in time are gone, whether they have the lock or wait for it. Give each node one of its own.
 *
 * A lock is mutual exclusion among those who believe in replicated time; an owner that was paused may not know that it
 * has lost it. Hand the fence to what the lock protects, and let that refuse lower ones than it has seen.
 */
export class LockMachine implements StateMachine<LockResult, LockQuery, LockStatus> {
  readonly results: ResultCodec<LockResult> = { encode: encodeLockResult, decode: decodeLockResult };
  #locks = new Map<string, Lock>();
  #fence = 0;
  /** No claim expires before this. */
  #nextMs = Number.POSITIVE_INFINITY;

  apply(commands: readonly AppliedCommand[]): readonly LockResult[] {
    return commands.map(({ data, timeMs }) => {
      this.advance(timeMs);
      return this.#run(decodeLockCommand(data), timeMs);
    });
  }

  advance(timeMs: number): void {
    if (timeMs < this.#nextMs) return;
    for (const name of [...this.#locks.keys()]) {
      this.#keep(name, timeMs, ({ expiresAtMs }) => expiresAtMs > timeMs);
    }
    this.#findNext();
  }

  nextTimeMs(): number | undefined {
    return this.#nextMs === Number.POSITIVE_INFINITY ? undefined : this.#nextMs;
  }

  query({ name }: LockQuery): LockStatus {
    const lock = this.#locks.get(name);
    const [holder] = lock?.claims ?? [];
    if (lock === undefined || holder === undefined) return { holder: undefined, waiting: 0 };
    const { owner, expiresAtMs } = holder;
    return { holder: { owner, fence: lock.fence, expiresAtMs }, waiting: lock.claims.length - 1 };
  }

  async *snapshot(): AsyncGenerator<Uint8Array, void, undefined> {
    const writer = new ByteWriter().u8(VERSION).varint(this.#fence).varint(this.#locks.size);
    for (const [name, { fence, claims }] of this.#locks) {
      writer.string(name).varint(fence).varint(claims.length);
      for (const { owner, ttlMs, expiresAtMs } of claims)
        writer.string(owner).varint(ttlMs).varint(expiresAtMs);
    }
    const body = writer.finish();
    yield new ByteWriter(4).u32(body.length).finish();
    yield await Promise.resolve(body);
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const input = new ChunkReader(chunks);
    const size = new ByteReader(await input.take(4));
    const bytes = size.u32();
    if (bytes > MAX_SNAPSHOT_BYTES) size.fail(`locks of ${String(bytes)} bytes`, 0);
    const reader = new ByteReader(await input.take(bytes));
    if (reader.u8() !== VERSION) reader.fail('locks of an unknown version', 0);
    const highest = reader.varint();
    const locks = new Map<string, Lock>();
    for (let left = reader.varint(); left > 0; left--) {
      const name = reader.string(MAX_LOCK_NAME_BYTES);
      const fence = reader.varint();
      const claims: Claim[] = [];
      for (let more = reader.varint(); more > 0; more--) {
        const owner = reader.string(MAX_LOCK_NAME_BYTES);
        claims.push({ owner, ttlMs: reader.varint(), expiresAtMs: reader.varint() });
      }
      locks.set(name, { fence, claims });
    }
    reader.end();
    this.#locks = locks;
    this.#fence = highest;
    this.#findNext();
  }

  #run(command: LockCommand, timeMs: number): LockResult {
    const { name, owner } = command;
    if (command.type === 'release') {
      this.#keep(name, timeMs, (claim) => claim.owner !== owner);
      return { state: 'none' };
    }
    const { ttlMs } = command;
    this.#nextMs = Math.min(this.#nextMs, timeMs + ttlMs);
    const lock = this.#locks.get(name);
    const own = lock?.claims.find((claim) => claim.owner === owner);
    if (own !== undefined) {
      Object.assign(own, { ttlMs, expiresAtMs: timeMs + ttlMs });
    } else if (lock === undefined) {
      this.#locks.set(name, {
        fence: ++this.#fence,
        claims: [{ owner, ttlMs, expiresAtMs: timeMs + ttlMs }],
      });
    } else if (command.type === 'acquire') {
      lock.claims.push({ owner, ttlMs, expiresAtMs: timeMs + ttlMs });
    }
    return this.#standing(name, owner);
  }

  #standing(name: string, owner: string): LockResult {
    const lock = this.#locks.get(name);
    const ahead = lock?.claims.findIndex((claim) => claim.owner === owner) ?? -1;
    const claim = lock?.claims[ahead];
    if (lock === undefined || claim === undefined) return { state: 'none' };
    const { expiresAtMs } = claim;
    return ahead === 0
      ? { state: 'held', fence: lock.fence, expiresAtMs }
      : { state: 'waiting', ahead, expiresAtMs };
  }

  /** Removes claims. Whoever becomes the first has the lock from now on, for its whole time to live. */
  #keep(name: string, timeMs: number, wanted: (claim: Claim) => boolean): void {
    const lock = this.#locks.get(name);
    if (lock === undefined) return;
    const [before] = lock.claims;
    lock.claims = lock.claims.filter(wanted);
    const [first] = lock.claims;
    if (first === undefined) {
      this.#locks.delete(name);
    } else if (first !== before) {
      lock.fence = ++this.#fence;
      first.expiresAtMs = timeMs + first.ttlMs;
    }
  }

  #findNext(): void {
    this.#nextMs = Number.POSITIVE_INFINITY;
    for (const { claims } of this.#locks.values()) {
      for (const { expiresAtMs } of claims) this.#nextMs = Math.min(this.#nextMs, expiresAtMs);
    }
  }
}
