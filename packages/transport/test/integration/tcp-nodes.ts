import { EventEmitter, once } from 'node:events';
import type { DownReason } from '@quorate/transport';
import { createTcpLink, type TcpLink, type TcpLinkOptions } from '@quorate/transport/tcp';

export const SECRET = 'a secret of the test cluster';

/** A received frame whose body is text. */
export interface Received {
  readonly from: string;
  readonly session: number;
  readonly text: string;
}

/** A link with a memory of what it was told, on a free port of the loopback interface. */
export class Node {
  readonly link: TcpLink;
  /** All events so far: `up b 1`, `down b closed`. */
  readonly log: string[] = [];
  readonly received: Received[] = [];
  readonly #changed = new EventEmitter();

  constructor(self: string, options: Partial<TcpLinkOptions> = {}) {
    this.link = createTcpLink({
      self,
      clusterId: 'test',
      listen: { port: 0 },
      auth: { secret: SECRET },
      reconnect: { minMs: 5, maxMs: 40 },
      ...options,
    });
  }

  get address(): string {
    const { host, port } = this.link.address() ?? { host: 'nowhere', port: 0 };
    return `${host}:${port}`;
  }

  start(): Promise<void> {
    return this.link.start({
      frame: (from, session, bytes) => {
        this.received.push({ from, session, text: Buffer.from(bytes).toString() });
        this.#changed.emit('change');
      },
      up: (peer, session) => {
        this.#note(`up ${peer} ${session}`);
      },
      down: (peer: string, reason: DownReason) => {
        this.#note(`down ${peer} ${reason}`);
      },
    });
  }

  /** Resolves once `holds` does; asks again after each event of this link. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await once(this.#changed, 'change');
  }

  /** Resolves while there is a session with `peer`, with its number. */
  async up(peer: string): Promise<number> {
    const session = (): number | undefined => this.link.peers().find(({ id }) => id === peer)?.session;
    await this.until(() => session() !== undefined);
    return session() ?? 0;
  }

  async down(peer: string): Promise<void> {
    await this.until(() => this.link.peers().find(({ id }) => id === peer)?.session === undefined);
  }

  /** The oldest frame that was not asked for yet. */
  async next(): Promise<Received> {
    for (;;) {
      const received = this.received.shift();
      if (received !== undefined) return received;
      await once(this.#changed, 'change');
    }
  }

  #note(line: string): void {
    this.log.push(line);
    this.#changed.emit('change');
  }
}
