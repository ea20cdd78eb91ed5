import { updateWithVersion } from '@quorate/distributed-lock/optimistic';
import { quoteIdentifier, type SqlDatabase } from '@quorate/sql';
import type { Answer, Given, Question } from './protocol.js';

/** A task that was done, or a write that was refused. */
export interface Written {
  readonly task: number;
  /** None where the lock has none. */
  readonly fence: number | undefined;
  readonly version: number;
  readonly worker: string;
}

/** The row that says how many tasks are done: what the lock protects. */
export interface TaskRow {
  /** How it keeps former holders out, for the report. */
  readonly guard: string;
  /** Whether writes come under fences that rise. */
  readonly fenced: boolean;
  read(fence: number | undefined): Promise<{ readonly done: number; readonly version: number }>;
  /** Counts one more task as done; false, and nothing was written, for a former holder. */
  write(by: Written): Promise<boolean>;
}

/** Takes no write with a fence below one that it has seen. */
export class FencedRow implements TaskRow {
  readonly guard: string = 'by their fence';
  readonly fenced = true;
  #fence = 0;
  #done = 0;

  read(fence = 0): Promise<{ done: number; version: number }> {
    this.#fence = Math.max(this.#fence, fence);
    return Promise.resolve({ done: this.#done, version: this.#done });
  }

  write({ fence = 0 }: Written): Promise<boolean> {
    const stale = fence < this.#fence;
    this.#fence = Math.max(this.#fence, fence);
    if (!stale) this.#done++;
    return Promise.resolve(!stale);
  }
}

/**
 * For a lock without a fence: takes a write only at the version that its writer has read. Of two who believe to hold the
 * lock and read the same version, one writes. Both may have worked, which a fence cannot prevent either; but here the
 * former holder wins if it is the quicker.
 */
export class VersionedRow implements TaskRow {
  readonly guard = 'by the version of the row, as this lock has no fence';
  readonly fenced = false;
  #version = 0;

  read(): Promise<{ done: number; version: number }> {
    return Promise.resolve({ done: this.#version, version: this.#version });
  }

  write({ version }: Written): Promise<boolean> {
    const stale = version !== this.#version;
    if (!stale) this.#version++;
    return Promise.resolve(!stale);
  }
}

/** A row of a database, without a transaction or a row lock: fence and version are compared and set in one statement. */
export class SqlRow implements TaskRow {
  readonly guard = 'by fence and version of their row';
  readonly fenced = true;

  private constructor(
    readonly db: SqlDatabase,
    readonly table: string,
  ) {}

  static async create(db: SqlDatabase, table: string): Promise<SqlRow> {
    const name = quoteIdentifier(db.dialect, table);
    await db.query(
      `create table ${name} (id int primary key, done int not null, fence bigint not null, version int not null)`,
    );
    await db.query(`insert into ${name} values (1, 0, 0, 1)`);
    return new SqlRow(db, table);
  }

  /** Reading tells the row that there is a new holder. */
  async read(fence = 0): Promise<{ done: number; version: number }> {
    const outcome = await updateWithVersion<Row>(this.db, this.table, 1, (row) =>
      fence > Number(row.fence) ? { fence } : undefined,
    );
    if (outcome.state === 'missing') throw new Error(`the row of ${this.table} is gone`);
    return { done: outcome.row.done, version: outcome.version };
  }

  async write({ fence = 0 }: Written): Promise<boolean> {
    const outcome = await updateWithVersion<Row>(this.db, this.table, 1, (row) =>
      fence < Number(row.fence) ? undefined : { fence, done: row.done + 1 },
    );
    return outcome.state === 'updated';
  }

  async drop(): Promise<void> {
    await this.db.query(`drop table ${quoteIdentifier(this.db.dialect, this.table)}`);
  }
}

interface Row {
  readonly done: number;
  readonly fence: number | string;
}

/** The tasks, and what became of them. */
export class TaskStore {
  readonly done: Written[] = [];
  /** Writes of former holders. */
  readonly refused: Written[] = [];

  constructor(
    readonly tasks: number,
    readonly row: TaskRow,
  ) {}

  async answer(worker: string, question: Question): Promise<Answer> {
    if (question.type === 'next') {
      const { done, version } = await this.row.read(question.fence);
      const given: Given = { task: done >= this.tasks ? undefined : done + 1, version };
      return given;
    }
    const { task, fence, version } = question;
    const by: Written = { task, fence, version, worker };
    const accepted = await this.row.write(by);
    (accepted ? this.done : this.refused).push(by);
    return { accepted };
  }

  /** What is wrong: every task must be done once, in order, under fences that rise where there are any. */
  async audit(): Promise<string[]> {
    const faults: string[] = [];
    const { done } = await this.row.read(undefined);
    if (done !== this.done.length)
      faults.push(`the row says ${String(done)} tasks, and ${String(this.done.length)} were written`);
    if (this.done.length !== this.tasks)
      faults.push(`${String(this.done.length)} of ${String(this.tasks)} tasks were done`);
    let last = 0;
    for (const [at, { task, fence, worker }] of this.done.entries()) {
      if (task !== at + 1) faults.push(`${worker} did task ${String(task)} as number ${String(at + 1)}`);
      if (!this.row.fenced) continue;
      if (fence === undefined || fence <= last)
        faults.push(`task ${String(task)} was done under fence ${String(fence)} after ${String(last)}`);
      last = fence ?? last;
    }
    return faults;
  }
}
