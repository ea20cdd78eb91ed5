import type { Runtime } from '@quorate/runtime';
import type { Link, LinkEvents, NodeId, SendOutcome } from '@quorate/transport';
import { expect, it } from 'vitest';
import { Cluster } from './node-cluster.js';
import { Journal } from './node-journal.js';

/** A link with a bandwidth: frames to one peer wait for those before them. */
class SlowLink implements Link {
  readonly self: NodeId;
  readonly capabilities;
  /** How long each small frame, such as a heartbeat, waited for others to go out. */
  readonly waitedMs: number[] = [];
  readonly #busyUntil = new Map<NodeId, number>();

  constructor(
    readonly link: Link,
    readonly runtime: Runtime,
    readonly bytesPerMs: number,
  ) {
    this.self = link.self;
    this.capabilities = link.capabilities;
  }

  start(events: LinkEvents): Promise<void> {
    return this.link.start(events);
  }

  send(to: NodeId, frame: Uint8Array): SendOutcome {
    const now = this.runtime.monotonic();
    const from = Math.max(now, this.#busyUntil.get(to) ?? 0);
    const until = from + frame.length / this.bytesPerMs;
    this.#busyUntil.set(to, until);
    if (frame.length < 200) this.waitedMs.push(from - now);
    const copy = frame.slice();
    this.runtime.setTimer(until - now, () => void this.link.send(to, copy));
    return 'queued';
  }

  peers() {
    return this.link.peers();
  }

  writable(to: NodeId, signal?: AbortSignal): Promise<void> {
    return this.link.writable(to, signal);
  }

  close(drainMs: number): Promise<void> {
    return this.link.close(drainMs);
  }
}

it('a snapshot on a slow line holds no heartbeat up for longer than two of its chunks', async () => {
  const links: SlowLink[] = [];
  const chunkBytes = 2_048;
  const bytesPerMs = 128;
  const cluster = await Cluster.start({
    machine: () => new Journal(),
    link: (link, runtime) => {
      const slow = new SlowLink(link, runtime, bytesPerMs);
      links.push(slow);
      return slow;
    },
    raft: { maxBytesPerMessage: chunkBytes },
    node: { snapshotChunkBytes: chunkBytes, keepEntries: 0 },
  });
  try {
    const leader = await cluster.elected();
    const behind = cluster.others(leader)[0] ?? '';
    await cluster.crash(behind);
    const log = cluster.log(leader);
    for (let count = 0; count < 200; count++) await cluster.settled(log.propose(Buffer.alloc(1_000, 'x')));
    await cluster.settled(log.snapshot());
    const { term } = log.status();
    for (const link of links) link.waitedMs.length = 0;
    const began = cluster.runtime.monotonic();
    await cluster.up(behind);
    await cluster.runtime.runUntil(
      () => cluster.log(behind).status().applied >= log.status().applied,
      60_000,
    );
    // It took several election timeouts, in which nobody stood for election.
    expect(cluster.runtime.monotonic() - began).toBeGreaterThan(1_500);
    expect(log.status()).toMatchObject({ term, role: 'leader' });
    const longest = Math.max(...links.flatMap(({ waitedMs }) => waitedMs));
    expect(longest).toBeLessThan((2 * (chunkBytes + 200)) / bytesPerMs);
  } finally {
    await cluster.close();
  }
});
