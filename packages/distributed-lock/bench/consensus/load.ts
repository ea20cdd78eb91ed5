import { systemRuntime } from '@quorate/runtime';

/** What the parent asks a process for. */
export interface Load {
  /** A way to take locks, by its name in the process. */
  readonly subject: string;
  /** How many workers there are, each with a key of its own. */
  readonly width: number;
  readonly forMs: number;
}

/** What came of it. */
export interface LoadResult {
  /** How many times a lock was acquired and released. */
  readonly count: number;
  readonly ms: number;
  /** In milliseconds, of each pair. */
  readonly latencies: readonly number[];
}

/** Takes a lock; what it resolves with gives it back. */
export type Acquire = (key: string) => Promise<() => Promise<unknown>>;

/** Longer than a round, so that nothing is renewed in it. */
export const LEASE_MS = 60_000;

/** Does what the parent asks for, until it is gone. */
export function serve(subjects: Readonly<Record<string, Acquire>>, leader?: () => string | undefined): void {
  process.on('message', (wanted: Load | 'leader') => {
    if (wanted === 'leader') process.send?.(leader?.() ?? '');
    else void load(subjects, wanted).then((result) => process.send?.(result));
  });
  process.on('disconnect', () => process.exit());
  process.send?.('ready');
}

async function load(
  subjects: Readonly<Record<string, Acquire>>,
  { subject, width, forMs }: Load,
): Promise<LoadResult> {
  const acquire = subjects[subject];
  if (acquire === undefined) throw new Error(`no subject ${subject}`);
  const latencies: number[] = [];
  const startMs = systemRuntime.monotonic();
  const worker = async (number: number): Promise<void> => {
    for (;;) {
      const sentMs = systemRuntime.monotonic();
      if (sentMs - startMs >= forMs) return;
      await (
        await acquire(`${subject}-${String(number)}`)
      )();
      latencies.push(systemRuntime.monotonic() - sentMs);
    }
  };
  await Promise.all(Array.from({ length: width }, (_, number) => worker(number)));
  return { count: latencies.length, ms: systemRuntime.monotonic() - startMs, latencies };
}
