import { type Dialect, type SqlConnection, toSafeInteger } from '@quorate/sql';
import type { Entry, Index, SnapshotMeta } from './contract.js';
import { LogShape, type Position } from './core/log-shape.js';
import { CorruptLogError } from './errors.js';
import { sql } from './sql.gen.js';

const INSERT_ROWS = 500;
const INSERT_BYTES = 1024 * 1024;
const KINDS: readonly string[] = ['command', 'config', 'noop'];

/** A snapshot that is in the database. */
export interface StoredRow {
  readonly id: number;
  readonly meta: SnapshotMeta;
  readonly sizeBytes: number;
}

/** The statements of one log. Every method runs on the connection that it is given, in its transaction if it has one. */
export class LogTables {
  constructor(
    readonly dialect: Dialect,
    readonly name: string,
  ) {}

  async #run(
    on: SqlConnection,
    text: string,
    values: readonly unknown[],
  ): Promise<readonly Record<string, unknown>[]> {
    let parameter = 0;
    const placed = this.dialect === 'postgres' ? text.replaceAll('?', () => `$${String(++parameter)}`) : text;
    return (await on.query(placed, values)).rows;
  }

  /** Takes the log for a new epoch, which is returned; makes it where there is none. */
  async takeOver(on: SqlConnection): Promise<number> {
    const [row] = await this.#run(on, 'select epoch from quorate_log where log_name = ? for update', [
      this.name,
    ]);
    if (row === undefined) {
      const insert =
        'insert into quorate_log (log_name, epoch, state, anchor_index, anchor_term) values (?, 1, ?, 0, 0)';
      await this.#run(on, insert, [this.name, Buffer.alloc(0)]);
      return 1;
    }
    const epoch = toSafeInteger(row['epoch']) + 1;
    await this.#run(on, 'update quorate_log set epoch = ? where log_name = ?', [epoch, this.name]);
    return epoch;
  }

  /** The epoch in force; nobody changes it until the transaction ends. */
  async epoch(on: SqlConnection): Promise<number> {
    const [row] = await this.#run(on, 'select epoch from quorate_log where log_name = ? for update', [
      this.name,
    ]);
    return row === undefined ? 0 : toSafeInteger(row['epoch']);
  }

  async load(
    on: SqlConnection,
  ): Promise<{ shape: LogShape; state: Uint8Array; snapshot: StoredRow | undefined }> {
    const columns = 'state, anchor_index, anchor_term, snapshot_id';
    const [head] = await this.#run(on, `select ${columns} from quorate_log where log_name = ?`, [this.name]);
    const shape = new LogShape();
    shape.reset({ index: toSafeInteger(head?.['anchor_index']), term: toSafeInteger(head?.['anchor_term']) });
    const extent = 'select min(entry_index) as low, max(entry_index) as high, count(*) as held';
    const [range] = await this.#run(on, `${extent} from quorate_log_entry where log_name = ?`, [this.name]);
    const held = toSafeInteger(range?.['held']);
    if (held > 0) {
      const low = toSafeInteger(range?.['low']);
      const high = toSafeInteger(range?.['high']);
      if (low !== shape.first || high !== low + held - 1) {
        throw new CorruptLogError('table quorate_log_entry', low, `entries of ${this.name} are missing`, {
          unit: 'index',
        });
      }
      const changes = await this.#run(on, sql['term-changes'], [this.name]);
      for (const [number, change] of changes.entries()) {
        const next = changes[number + 1];
        const until = next === undefined ? high + 1 : toSafeInteger(next['entry_index']);
        while (shape.last + 1 < until) shape.push(toSafeInteger(change['term']));
      }
    }
    const snapshot = await this.#snapshot(on, head?.['snapshot_id']);
    return { shape, state: bytesOf(head?.['state']), snapshot };
  }

  async #snapshot(on: SqlConnection, id: unknown): Promise<StoredRow | undefined> {
    if (id === null || id === undefined) return undefined;
    const columns = 'entry_index, term, membership, size_bytes';
    const where = 'where log_name = ? and snapshot_id = ?';
    const [row] = await this.#run(on, `select ${columns} from quorate_log_snapshot ${where}`, [
      this.name,
      id,
    ]);
    if (row === undefined)
      throw new CorruptLogError('table quorate_log_snapshot', 0, `a snapshot of ${this.name} is missing`, {
        unit: 'index',
      });
    return {
      id: toSafeInteger(id),
      meta: {
        index: toSafeInteger(row['entry_index']),
        term: toSafeInteger(row['term']),
        membership: bytesOf(row['membership']),
      },
      sizeBytes: toSafeInteger(row['size_bytes']),
    };
  }

  async truncate(on: SqlConnection, after: Index): Promise<void> {
    await this.#run(on, 'delete from quorate_log_entry where log_name = ? and entry_index > ?', [
      this.name,
      after,
    ]);
  }

  async append(on: SqlConnection, entries: readonly Entry[]): Promise<void> {
    for (let from = 0; from < entries.length;) {
      const values: unknown[] = [];
      let bytes = 0;
      let rows = 0;
      for (
        let entry = entries[from];
        entry !== undefined && rows < INSERT_ROWS;
        entry = entries[from + rows]
      ) {
        if (rows > 0 && bytes + entry.data.length > INSERT_BYTES) break;
        const { index, term, kind, id = null, data } = entry;
        values.push(this.name, index, term, kind, id === null ? null : this.#text(id), Buffer.from(data));
        bytes += data.length;
        rows++;
      }
      const list = Array.from({ length: rows }, () => '(?, ?, ?, ?, ?, ?)').join(', ');
      const columns = 'log_name, entry_index, term, kind, proposal, data';
      await this.#run(on, `insert into quorate_log_entry (${columns}) values ${list}`, values);
      from += rows;
    }
  }

  async setState(on: SqlConnection, state: Uint8Array): Promise<void> {
    await this.#run(on, 'update quorate_log set state = ? where log_name = ?', [
      Buffer.from(state),
      this.name,
    ]);
  }

  async setAnchor(on: SqlConnection, { index, term }: Position): Promise<void> {
    const update = 'update quorate_log set anchor_index = ?, anchor_term = ? where log_name = ?';
    await this.#run(on, update, [index, term, this.name]);
    await this.#run(on, 'delete from quorate_log_entry where log_name = ? and entry_index <= ?', [
      this.name,
      index,
    ]);
  }

  async read(on: SqlConnection, from: Index, to: Index, rows: number): Promise<Entry[]> {
    const columns = 'entry_index, term, kind, proposal, data';
    const where = 'where log_name = ? and entry_index >= ? and entry_index < ?';
    const order = `order by entry_index limit ${String(rows)}`;
    const found = await this.#run(on, `select ${columns} from quorate_log_entry ${where} ${order}`, [
      this.name,
      from,
      to,
    ]);
    return found.map((row) => {
      const kind = textOf(row['kind']);
      const index = toSafeInteger(row['entry_index']);
      if (!isKind(kind))
        throw new CorruptLogError('table quorate_log_entry', index, `an unknown kind ${kind}`, {
          unit: 'index',
        });
      const entry = { index, term: toSafeInteger(row['term']), kind, data: bytesOf(row['data']) };
      return row['proposal'] === null ? entry : { ...entry, id: textOf(row['proposal']) };
    });
  }

  async addChunk(on: SqlConnection, snapshot: number, chunk: number, data: Uint8Array): Promise<void> {
    const insert = 'insert into quorate_log_chunk (log_name, snapshot_id, chunk, data) values (?, ?, ?, ?)';
    await this.#run(on, insert, [this.name, snapshot, chunk, Buffer.from(data)]);
  }

  async addSnapshot(on: SqlConnection, { id, meta, sizeBytes }: StoredRow): Promise<void> {
    const columns = 'log_name, snapshot_id, entry_index, term, membership, size_bytes';
    const values = [this.name, id, meta.index, meta.term, Buffer.from(meta.membership), sizeBytes];
    await this.#run(on, `insert into quorate_log_snapshot (${columns}) values (?, ?, ?, ?, ?, ?)`, values);
  }

  async setSnapshot(on: SqlConnection, id: number): Promise<void> {
    await this.#run(on, 'update quorate_log set snapshot_id = ? where log_name = ?', [id, this.name]);
  }

  async chunk(on: SqlConnection, snapshot: number, chunk: number): Promise<Uint8Array | undefined> {
    const where = 'where log_name = ? and snapshot_id = ? and chunk = ?';
    const [row] = await this.#run(on, `select data from quorate_log_chunk ${where}`, [
      this.name,
      snapshot,
      chunk,
    ]);
    return row && bytesOf(row['data']);
  }

  /** Removes one snapshot, or with `except` all others. */
  async removeSnapshots(on: SqlConnection, id: number, except = false): Promise<void> {
    const where = `where log_name = ? and snapshot_id ${except ? '<>' : '='} ?`;
    await this.#run(on, `delete from quorate_log_chunk ${where}`, [this.name, id]);
    await this.#run(on, `delete from quorate_log_snapshot ${where}`, [this.name, id]);
  }

  /** Names are bytes in MySQL, so that no collation takes one for another. */
  #text(value: string): string | Buffer {
    return this.dialect === 'mysql' ? Buffer.from(value) : value;
  }
}

function isKind(kind: string): kind is Entry['kind'] {
  return KINDS.includes(kind);
}

function bytesOf(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? new Uint8Array(value) : new Uint8Array(0);
}

function textOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
}
