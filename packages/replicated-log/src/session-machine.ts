import type { Entry } from '@quorate/durable-log';
import { ByteReader, ByteWriter } from '@quorate/runtime/bytes';
import type { AppliedCommand, StateMachine } from './contract.js';
import { ChunkReader, frozen } from './chunks.js';
import { ReplicatedLogError } from './errors.js';
import { type Command, decodeCommand } from './core/commands.js';
import { isWitnessMachine } from './witness.js';

/** What became of one command in the log. */
export type Outcome<R> =
  | { readonly kind: 'result'; readonly result: R }
  | { readonly kind: 'opened'; readonly session: number }
  | { readonly kind: 'done' }
  /** The session is not, or no longer, there. The command had no effect in this place of the log. */
  | { readonly kind: 'expired' }
  /** There are as many sessions as there may be. */
  | { readonly kind: 'full' };

interface SessionState<R> {
  readonly ttlMs: number;
  expiresAtMs: number;
  acknowledged: number;
  /** Results above `acknowledged`. */
  readonly results: Map<number, R>;
}

/** Part of the format: every node must agree, and a log outlives its version of this file. */
const MAX_SESSIONS = 100_000;
/** So many commands of a session may have results that the client has not acknowledged. */
export const SESSION_WINDOW = 1_024;
const SWEEP_EVERY_MS = 10_000;
const VERSION = 1;
const MAX_HEADER_BYTES = 1_073_741_824;

/**
 * Wraps the user's state machine: keeps replicated time, and lets a command of a session take effect once
 * (dissertation of D. Ongaro, section 6.3). Deterministic like what it wraps: sessions are named by the index that
 * opened them and expire by replicated time.
 */
export class SessionMachine<R, Q, A> {
  readonly #machine: StateMachine<R, Q, A>;
  #timeMs = 0;
  #sweepAtMs = 0;
  #sessions = new Map<number, SessionState<R>>();

  constructor(machine: StateMachine<R, Q, A>) {
    this.#machine = machine;
  }

  /** Whether a command that only carries time would make something happen at `nowMs`. */
  isDue(nowMs: number): boolean {
    const next = this.#machine.nextTimeMs?.();
    return next !== undefined && next <= nowMs && nowMs > this.#timeMs;
  }

  query(query: Q): A {
    return this.#machine.query(query);
  }

  /** Whether the node is a witness, which is sent entries without their commands. */
  get isWitness(): boolean {
    return isWitnessMachine(this.#machine);
  }

  /** Applies entries of the kind `command`; gives one outcome for each. */
  apply(entries: readonly Entry[]): Outcome<R>[] {
    if (this.isWitness) return entries.map(() => ({ kind: 'result', result: undefined as R }));
    const outcomes: Outcome<R>[] = [];
    // Runs of plain commands reach the machine as one batch.
    let batch: AppliedCommand[] = [];
    const flush = (): void => {
      if (batch.length === 0) return;
      for (const result of this.#run(batch)) outcomes.push({ kind: 'result', result });
      batch = [];
    };
    for (const { index, term, data } of entries) {
      if (data.length === 0) throw withoutCommand(index);
      const command = decodeCommand(data);
      this.#timeMs = Math.max(this.#timeMs, command.timeMs);
      if (command.kind === 'plain') {
        batch.push({ index, term, data: command.data, timeMs: this.#timeMs });
      } else {
        flush();
        outcomes.push(this.#applyOther(index, term, command));
      }
      if (this.#timeMs >= this.#sweepAtMs) this.#sweep();
    }
    flush();
    return outcomes;
  }

  /** Freezes sessions and state in this turn. */
  snapshot(): AsyncIterable<Uint8Array> {
    const header = this.#encode();
    const length = new ByteWriter(4).u32(header.length).finish();
    return frozen([length, header], this.#machine.snapshot());
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    if (this.isWitness) return;
    const reader = new ChunkReader(chunks);
    const size = new ByteReader(await reader.take(4)).u32();
    if (size > MAX_HEADER_BYTES) throw invalid(`a header of ${String(size)} bytes`);
    const sessions = this.#decode(await reader.take(size));
    await this.#machine.restore(reader.rest());
    this.#timeMs = sessions.timeMs;
    this.#sweepAtMs = sessions.sweepAtMs;
    this.#sessions = sessions.sessions;
  }

  #applyOther(index: number, term: number, command: Exclude<Command, { kind: 'plain' }>): Outcome<R> {
    switch (command.kind) {
      case 'tick':
        this.#machine.advance?.(this.#timeMs);
        return { kind: 'done' };
      case 'open':
        if (this.#sessions.size >= MAX_SESSIONS) return { kind: 'full' };
        this.#sessions.set(index, {
          ttlMs: command.ttlMs,
          expiresAtMs: this.#timeMs + command.ttlMs,
          acknowledged: 0,
          results: new Map(),
        });
        return { kind: 'opened', session: index };
      case 'close':
        this.#sessions.delete(command.session);
        return { kind: 'done' };
      case 'keep-alive':
        return this.#touch(command.session) === undefined ? { kind: 'expired' } : { kind: 'done' };
      case 'session':
        return this.#once(index, term, command);
    }
  }

  #once(index: number, term: number, command: Extract<Command, { kind: 'session' }>): Outcome<R> {
    const session = this.#touch(command.session);
    if (session === undefined) return { kind: 'expired' };
    if (command.acknowledged > session.acknowledged) {
      session.acknowledged = command.acknowledged;
      for (const sequence of session.results.keys()) {
        if (sequence <= command.acknowledged) session.results.delete(sequence);
      }
    }
    const { sequence, data } = command;
    if (session.results.has(sequence)) {
      return { kind: 'result', result: session.results.get(sequence) as R };
    }
    // Acknowledged: its client has long gone on. Beyond the window: no client of ours sends that.
    if (sequence <= session.acknowledged || sequence > session.acknowledged + SESSION_WINDOW) {
      return { kind: 'done' };
    }
    const [result] = this.#run([{ index, term, data, timeMs: this.#timeMs }]) as [R];
    session.results.set(sequence, result);
    return { kind: 'result', result };
  }

  #run(commands: readonly AppliedCommand[]): readonly R[] {
    const results = this.#machine.apply(commands);
    if (results.length === commands.length) return results;
    throw new Error(
      `the state machine gave ${String(results.length)} results for ${String(commands.length)} commands`,
    );
  }

  #touch(id: number): SessionState<R> | undefined {
    const session = this.#sessions.get(id);
    if (session === undefined || session.expiresAtMs <= this.#timeMs) {
      this.#sessions.delete(id);
      return undefined;
    }
    session.expiresAtMs = this.#timeMs + session.ttlMs;
    return session;
  }

  #sweep(): void {
    this.#sweepAtMs = this.#timeMs + SWEEP_EVERY_MS;
    for (const [id, { expiresAtMs }] of this.#sessions) {
      if (expiresAtMs <= this.#timeMs) this.#sessions.delete(id);
    }
  }

  #encode(): Uint8Array {
    const writer = new ByteWriter().u8(VERSION).varint(this.#timeMs).varint(this.#sweepAtMs);
    writer.varint(this.#sessions.size);
    for (const [id, { ttlMs, expiresAtMs, acknowledged, results }] of this.#sessions) {
      writer.varint(id).varint(ttlMs).varint(expiresAtMs).varint(acknowledged).varint(results.size);
      for (const [sequence, result] of results) writer.varint(sequence).bytes(this.#results().encode(result));
    }
    return writer.finish();
  }

  #decode(bytes: Uint8Array): {
    timeMs: number;
    sweepAtMs: number;
    sessions: Map<number, SessionState<R>>;
  } {
    const reader = new ByteReader(bytes);
    if (reader.u8() !== VERSION) reader.fail('sessions of an unknown version', 0);
    const timeMs = reader.varint();
    const sweepAtMs = reader.varint();
    const sessions = new Map<number, SessionState<R>>();
    const size = reader.varint();
    if (size > MAX_SESSIONS) reader.fail(`${String(size)} sessions`);
    for (let at = 0; at < size; at++) {
      const id = reader.varint();
      const [ttlMs, expiresAtMs, acknowledged] = [reader.varint(), reader.varint(), reader.varint()];
      const results = new Map<number, R>();
      const count = reader.varint();
      if (count > SESSION_WINDOW) reader.fail(`${String(count)} results of one session`);
      for (let of = 0; of < count; of++) {
        results.set(reader.varint(), this.#results().decode(reader.bytes()));
      }
      sessions.set(id, { ttlMs, expiresAtMs, acknowledged, results });
    }
    reader.end();
    return { timeMs, sweepAtMs, sessions };
  }

  #results(): NonNullable<StateMachine<R, Q, A>['results']> {
    const { results } = this.#machine;
    if (results !== undefined) return results;
    throw invalid('results of sessions, and this state machine has no `results` to read or write them');
  }
}

/** No node writes an empty command. */
function withoutCommand(index: number): Error {
  return new Error(
    `entry ${String(index)} came without its command, as witnesses get it: a node that the membership names a witness ` +
      'is started with witnessMachine(); one that shall be more is added under a new name, with an empty storage',
  );
}

function invalid(what: string): ReplicatedLogError {
  return new ReplicatedLogError('INVALID_SNAPSHOT', `the snapshot holds ${what}`, { definite: true });
}
