import { strict as assert } from 'node:assert';
import type { Entry, Index, LogStorage, SnapshotMeta, Term } from '../contract.js';

/** A place for one check: a directory, a schema, a medium. */
export interface ConformancePlace {
  /** A storage on this place, not loaded. Whenever it is called, it is the same place. */
  open(): LogStorage;
  /**
   * Ends whoever has the place open, as a crash of its process would: without `close`, and so that the next one can
   * open the place. What was not synced may be lost.
   */
  crash?(): Promise<void>;
  /** Removes the place. Storages that a check left open are closed before. */
  teardown(): Promise<void>;
}

/** One check of the kit. */
export interface Check {
  readonly name: string;
  /** It needs {@link ConformancePlace.crash}. */
  readonly crashes?: true;
  run(context: CheckContext): Promise<void>;
}

/** A place under check. */
export class CheckContext {
  readonly #opened: LogStorage[] = [];

  constructor(readonly place: ConformancePlace) {}

  /** A storage that is closed after the check. */
  open(): LogStorage {
    const log = this.place.open();
    this.#opened.push(log);
    return log;
  }

  async loaded(): Promise<LogStorage> {
    const log = this.open();
    await log.load();
    return log;
  }

  /** The same place, closed and opened again. */
  async reopened(log: LogStorage): Promise<LogStorage> {
    await log.close();
    return this.loaded();
  }

  /** The same place after a crash. */
  async crashed(): Promise<LogStorage> {
    assert.ok('crash' in this.place, 'setup must offer crash, or say why it is impossible');
    await this.place.crash();
    // A process that is gone closes nothing, and what it asked of its disk may never be answered.
    this.#opened.length = 0;
    return this.loaded();
  }

  async end(): Promise<void> {
    for (const log of this.#opened) await log.close().catch(() => undefined);
    await this.place.teardown();
  }
}

/** Consecutive entries of one term. */
export function entries(first: Index, count: number, term: Term = 1, label = 'data'): Entry[] {
  return Array.from({ length: count }, (_, offset) => ({
    index: first + offset,
    term,
    kind: 'command',
    data: bytes(`${label} ${String(first + offset)}`),
  }));
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function text(data: Uint8Array): string {
  return new TextDecoder().decode(data);
}

export function meta(index: Index, term: Term = 1, membership = 'members'): SnapshotMeta {
  return { index, term, membership: bytes(membership) };
}

/** Writes entries durably. */
export async function append(log: LogStorage, ...batches: readonly (readonly Entry[])[]): Promise<void> {
  for (const batch of batches) await log.write({ entries: batch }, { sync: true });
}

/** The data of a range, as text. */
export async function dataOf(log: LogStorage, from: Index, to: Index): Promise<string[]> {
  return (await log.read(from, to, Number.MAX_SAFE_INTEGER)).map(({ data }) => text(data));
}

/** Takes a snapshot in and puts it in force. */
export async function install(log: LogStorage, of: SnapshotMeta, content: string): Promise<void> {
  const staged = await log.stageSnapshot(of, [bytes(content)]);
  await staged.install();
}

/** What the snapshot in force holds. */
export async function snapshotOf(log: LogStorage): Promise<string | undefined> {
  const stored = await log.openSnapshot();
  return stored && collect(stored.chunks());
}

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return text(Buffer.concat(parts));
}

/** Expects a refusal with a code. */
export async function refuses(promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.equal((error as { code?: unknown }).code, code);
    return true;
  });
}
