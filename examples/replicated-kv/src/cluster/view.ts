import { sleep, systemRuntime } from '@quorate/runtime';
import { type NodeStatus, statusOf } from './http.js';

/** A terminal, or whatever else the output goes to. */
export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Rows in columns, as wide as they need to be. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** How the nodes stand, as lines of text. */
export function describe(statuses: ReadonlyMap<string, NodeStatus | undefined>): string[] {
  return table([
    ['node', 'role', 'term', 'leader', 'commit', 'applied', 'log', 'pid'],
    ...[...statuses].map(([id, status]) =>
      status === undefined
        ? [id, 'down', '-', '-', '-', '-', '-', '-']
        : [
            id,
            status.role === 'leader' ? 'LEADER' : status.role,
            String(status.term),
            status.leader ?? '-',
            String(status.commit),
            String(status.applied),
            `${String(status.first)}..${String(status.last)}`,
            String(status.pid),
          ],
    ),
  ]);
}

/**
 * Shows who leads until `signal` aborts: on a terminal a table that is drawn over itself, elsewhere a line whenever
 * a node's role, term or leader changes.
 */
export async function watchLeader(
  urls: ReadonlyMap<string, string>,
  output: Output,
  signal: AbortSignal,
  hint = '',
): Promise<void> {
  let height = 0;
  const said = new Map<string, string>();
  while (!signal.aborted) {
    const entries = await Promise.all([...urls].map(async ([id, url]) => [id, await statusOf(url)] as const));
    const statuses = new Map(entries);
    if (output.isTTY === true) {
      const lines = [...describe(statuses), ...(hint === '' ? [] : ['', hint])];
      const rewind = height > 0 ? `\x1b[${String(height)}A\r` : '';
      output.write(`${rewind}${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
      height = lines.length;
    } else {
      for (const [id, status] of statuses) {
        const now =
          status === undefined
            ? 'down'
            : `${status.role}, term ${String(status.term)}, leader ${status.leader ?? 'unknown'}`;
        if (said.get(id) !== now) output.write(`${id}: ${now}\n`);
        said.set(id, now);
      }
    }
    await sleep(systemRuntime, 250, { signal }).catch(() => undefined);
  }
}
