import { identifierOption, integerOption, InvalidOptionError } from '@quorate/runtime';
import type { SqlConnection } from '@quorate/sql';
import { sql } from './sql.gen.js';

/** A message that was given up. */
export interface DeadMessage {
  readonly id: string;
  readonly topic: string;
  readonly key: string;
  readonly payload: unknown;
  readonly headers: Readonly<Record<string, string>>;
  /** How often it was tried. */
  readonly attempts: number;
  /** The last error. */
  readonly reason: string;
  /** When it was published: milliseconds since the Unix epoch by the database's clock. */
  readonly createdAt: number;
  /** When it was given up, likewise. */
  readonly diedAt: number;
  readonly partition: number;
  readonly seq: number;
}

/** Which dead messages to list. */
export interface ListDeadOptions {
  /** @defaultValue all topics */
  readonly topic?: string;
  /** Begins behind this message, the last of the page before. */
  readonly after?: Pick<DeadMessage, 'partition' | 'seq'>;
  /** @defaultValue 100 */
  readonly limit?: number;
}

type DeadColumns = Omit<DeadMessage, 'payload' | 'headers' | 'createdAt' | 'diedAt' | 'seq'> & {
  readonly payload: string;
  readonly headers: string;
  readonly created_at: number;
  readonly died_at: number;
  readonly seq: string;
};

/** A page of the dead messages, in the order of their places. */
export async function listDead(
  connection: SqlConnection,
  options: ListDeadOptions = {},
): Promise<DeadMessage[]> {
  const { after = { partition: -1, seq: 0 } } = options;
  const { rows } = await connection.query<DeadColumns>(sql['list-dead'], [
    options.topic === undefined ? null : identifierOption('topic', options.topic),
    integerOption('after.partition', after.partition, { min: -1 }),
    integerOption('after.seq', after.seq),
    integerOption('limit', options.limit ?? 100, { min: 1, max: 10_000 }),
  ]);
  return rows.map(({ created_at, died_at, payload, headers, seq, ...same }) => ({
    ...same,
    payload: JSON.parse(payload) as unknown,
    headers: JSON.parse(headers) as Record<string, string>,
    createdAt: created_at,
    diedAt: died_at,
    seq: Number(seq),
  }));
}

/**
 * Puts dead messages back to the places that they had, with all their attempts before them, and lets their keys go
 * on: under `afterDead: 'block-key'` the order of a key is kept. Returns how many there were; unknown ids are
 * ignored, so that doing it twice does no harm.
 */
export async function redrive(connection: SqlConnection, ids: readonly string[]): Promise<number> {
  return (await connection.query(sql.redrive, [idsOption(ids)])).rowCount;
}

/** Deletes dead messages for good and lets their keys go on without them. Returns how many there were. */
export async function discardDead(connection: SqlConnection, ids: readonly string[]): Promise<number> {
  const { rows } = await connection.query<{ discarded: number }>(sql.discard, [idsOption(ids)]);
  return rows[0]?.discarded ?? 0;
}

function idsOption(ids: readonly string[]): readonly string[] {
  if (!Array.isArray(ids)) throw new InvalidOptionError('ids', ids, 'an array of message ids');
  return ids.map((id, index) => identifierOption(`ids[${String(index)}]`, id));
}
