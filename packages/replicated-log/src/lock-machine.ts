import type { AppliedCommand, StateMachine } from '@quorate/replicated-log';
import { InvalidOptionError } from '@quorate/runtime';
import {
  type ClaimGrant,
  type ClaimId,
  claimKey,
  type ConvertResult,
  type LockStatus,
  type RenewResult,
} from './core/lock-claims.js';
import { LockTable } from './core/lock-table.js';
import {
  type ClaimMark,
  decodeLockCommand,
  decodeLocks,
  encodeLocks,
  type LockCommand,
} from './core/lock-format.js';

/** What a command in the log came to. */
export type LockResult =
  | ConvertResult
  | RenewResult
  | { readonly state: 'released' | 'lapsed' }
  /** Permits cannot be converted. Nothing happened. */
  | { readonly state: 'unfit' };

/** What a {@link LockMachine} is asked: who has a key. */
export interface LockQuery {
  readonly key: string;
}

/** Hears what a machine does as it applies commands. Called within `apply`; it must not throw. */
export interface LockListener {
  /** The command at the index `stamp` prolonged a claim, or granted it. */
  prolonged?(claim: ClaimId, stamp: number, leaseMs: number): void;
  /** A claim that waited was granted. */
  granted?(claim: ClaimId, grant: ClaimGrant): void;
  /** A claim was released, or its lease passed. */
  ended?(claim: ClaimId): void;
  /** A snapshot took the place of the state: ask for {@link LockMachine.claims}. */
  replaced?(): void;
}

/** Time stands still in the table: a lease ends when a command says that it was seen to pass. */
const NOW_MS = 0;
const CHUNK_BYTES = 65_536;

/**
 * The state machine behind the locks of a replicated log: every mode, one fair queue per key, upgrades and downgrades, and
 * fences that are part of the log, and so rise over every fault that it survives. Give each node one of its own, hand it
 * to `startNode`, and then both to `keepLeases`. Repeating a command of the same owner does no harm: it needs no session.
 *
 * It knows no clock, not even that of the log: a lease ends by a command of a node that has seen it pass. A command that
 * prolongs a claim makes those void that were proposed by whoever had not seen it yet.
 */
export class LockMachine implements StateMachine<LockResult, LockQuery, LockStatus> {
  #table = new LockTable();
  /** Of every claim in the table. */
  readonly #marks = new Map<string, ClaimId & ClaimMark>();
  readonly #listeners = new Set<LockListener>();

  apply(commands: readonly AppliedCommand[]): readonly LockResult[] {
    return commands.map(({ data, index }) => {
      const result = this.#run(decodeLockCommand(data), index);
      for (const { key, owner, grant } of this.#table.takeHandOvers()) {
        this.#prolonged({ key, owner }, index, grant.validMs);
        for (const listener of this.#listeners) listener.granted?.({ key, owner }, grant);
      }
      return result;
    });
  }

  query({ key }: LockQuery): LockStatus {
    return this.#table.inspect(key, NOW_MS);
  }

  async *snapshot(): AsyncGenerator<Uint8Array, void, undefined> {
    const bytes = encodeLocks({
      table: {
        fence: this.#table.fence,
        locks: [...this.#table.keys()].map((key) => ({ key, ...this.#table.dump(key) })),
      },
      mark: (key, owner) => this.#marks.get(claimKey(key, owner)) ?? { stamp: 0, order: 0 },
    });
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
      yield await Promise.resolve(bytes.subarray(at, at + CHUNK_BYTES));
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const pieces: Uint8Array[] = [];
    for await (const chunk of chunks) pieces.push(chunk);
    const { table, marks } = decodeLocks(Buffer.concat(pieces));
    this.#table = new LockTable();
    // Also where nobody holds anything, fences go on.
    this.#table.load('', { holders: [], queue: [] }, table.fence);
    for (const { key, ...state } of table.locks) this.#table.load(key, state, table.fence);
    this.#marks.clear();
    for (const mark of marks) this.#marks.set(claimKey(mark.key, mark.owner), mark);
    for (const listener of this.#listeners) listener.replaced?.();
  }

  /** Every claim, with the longest lease that it was ever promised. */
  *claims(): Iterable<ClaimId & { readonly stamp: number; readonly leaseMs: number }> {
    for (const key of this.#table.keys()) {
      const { holders, queue } = this.#table.dump(key);
      for (const { owner, expiresAtMs } of [...holders, ...queue]) {
        const { stamp = 0 } = this.#marks.get(claimKey(key, owner)) ?? {};
        yield { key, owner, stamp, leaseMs: expiresAtMs - NOW_MS };
      }
    }
  }

  /** Tells a listener what happens from now on. Returns how to end that. */
  listen(listener: LockListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #run(command: LockCommand, index: number): LockResult {
    switch (command.type) {
      case 'claim': {
        const { request } = command;
        const result = this.#table.claim(request, NOW_MS);
        if (result.state !== 'busy') this.#prolonged(request, index, request.leaseMs);
        return result;
      }
      case 'convert':
        return this.#convert(command, index);
      case 'renew': {
        const { claim, leaseMs } = command;
        const result = this.#table.renew(claim, leaseMs, NOW_MS);
        if (result.state === 'held') this.#prolonged(claim, index, leaseMs);
        return result;
      }
      case 'release':
        return { state: this.#end(command.claim) };
      case 'lapse':
        for (const { stamp, ...claim } of command.claims)
          if (this.#marks.get(claimKey(claim.key, claim.owner))?.stamp === stamp) this.#end(claim);
        return { state: 'lapsed' };
    }
  }

  #convert({ request, order }: Extract<LockCommand, { type: 'convert' }>, index: number): LockResult {
    const mark = this.#marks.get(claimKey(request.key, request.owner));
    // Nobody waits for the answer to a conversion that a later one has overtaken.
    if (mark !== undefined && order <= mark.order) return { state: 'busy' };
    let result: ConvertResult;
    try {
      result = this.#table.convert(request, NOW_MS);
    } catch (error) {
      if (error instanceof InvalidOptionError) return { state: 'unfit' };
      throw error;
    }
    if (result.state !== 'lost') this.#prolonged(request, index, request.leaseMs, order);
    return result;
  }

  #end(claim: ClaimId): 'released' | 'lost' {
    const result = this.#table.release(claim, NOW_MS);
    if (result === 'released') {
      this.#marks.delete(claimKey(claim.key, claim.owner));
      for (const listener of this.#listeners) listener.ended?.(claim);
    }
    return result;
  }

  #prolonged({ key, owner }: ClaimId, stamp: number, leaseMs: number, order?: number): void {
    const id = claimKey(key, owner);
    this.#marks.set(id, { key, owner, stamp, order: order ?? this.#marks.get(id)?.order ?? 0 });
    for (const listener of this.#listeners) listener.prolonged?.({ key, owner }, stamp, leaseMs);
  }
}
