import type { BranchRecord, TccRecord, TccStatus } from './core/tcc.js';
import type { TccOutcome } from './definition.js';

/** What hooks and waiters are told of an instance whose state is terminal. */
export function outcomeOf(instance: {
  readonly id: string;
  readonly definition: string;
  readonly version: number;
  readonly input: unknown;
  readonly record: TccRecord;
}): TccOutcome {
  const { id, definition, version, input, record } = instance;
  return {
    id,
    definition,
    version,
    status: record.status as Extract<TccStatus, 'confirmed' | 'cancelled'>,
    reason: record.reason,
    input,
    outputs: outputsOf(record),
    errors: errorsOf(record),
  };
}

/** What the tries answered, by branch. */
export function outputsOf(record: TccRecord): Record<string, unknown> {
  return byBranch(record, (known) => known.output);
}

/** Why tries refused or failed, by branch. */
function errorsOf(record: TccRecord): Record<string, string> {
  return byBranch(record, (known) => known.tryError);
}

/** What `pick` takes from each branch, where it is not undefined. */
export function byBranch<T>(
  record: TccRecord,
  pick: (known: BranchRecord) => T | undefined,
): Record<string, T> {
  const picked: Record<string, T> = {};
  for (const [branch, known] of Object.entries(record.branches)) {
    const value = pick(known);
    if (value !== undefined) picked[branch] = value;
  }
  return picked;
}
