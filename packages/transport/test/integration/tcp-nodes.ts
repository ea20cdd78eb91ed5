import { EventEmitter, once } from 'node:events';
import type { DownReason } from '@quorate/transport';
import {
  createTcpLink,
  tcpEvents,
  type RefusalCode,
  type TcpLink,
  type TcpLinkOptions,
  type TcpRefusedEvent,
  type TcpUnreachableEvent,
} from '@quorate/transport/tcp';

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
  readonly #refusals: TcpRefusedEvent[] = [];
  readonly #unreachable: TcpUnreachableEvent[] = [];
  readonly #changed = new EventEmitter();
  readonly #unsubscribe: (() => void)[];

  constructor(self: string, options: Partial<TcpLinkOptions> = {}) {
    this.link = createTcpLink({
      self,
      clusterId: 'test',
      listen: { port: 0 },
      auth: { secret: SECRET },
      reconnect: { minMs: 5, maxMs: 40 },
      ...options,
    });
    this.#unsubscribe = [
      tcpEvents.refused.subscribe((event) => {
        if (event.self !== self) return;
        this.#refusals.push(event);
        this.#changed.emit('change');
      }),
      tcpEvents.unreachable.subscribe((event) => {
        if (event.self !== self) return;
        this.#unreachable.push(event);
        this.#changed.emit('change');
      }),
    ];
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
  next(): Promise<Received> {
    return this.#take(this.received, () => true);
  }

  /** The oldest refusal of that kind which was not asked for yet. */
  refused(code: RefusalCode): Promise<TcpRefusedEvent> {
    return this.#take(this.#refusals, (event) => event.code === code);
  }

  /** The oldest failure to reach `peer` which was not asked for yet. */
  unreachable(peer: string): Promise<TcpUnreachableEvent> {
    return this.#take(this.#unreachable, (event) => event.peer === peer);
  }

  async close(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.link.close(0);
  }

  async #take<T>(events: T[], matches: (event: T) => boolean): Promise<T> {
    for (;;) {
      const at = events.findIndex(matches);
      const [event] = at < 0 ? [] : events.splice(at, 1);
      if (event !== undefined) return event;
      await once(this.#changed, 'change');
    }
  }

  #note(line: string): void {
    this.log.push(line);
    this.#changed.emit('change');
  }
}

/** The nodes of a test, which end with it. */
export class Nodes {
  readonly #nodes: Node[] = [];

  make(self: string, options: Partial<TcpLinkOptions> = {}): Node {
    const node = new Node(self, options);
    this.#nodes.push(node);
    return node;
  }

  async start(self: string, options: Partial<TcpLinkOptions> = {}): Promise<Node> {
    const node = this.make(self, options);
    await node.start();
    return node;
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.splice(0).map((node) => node.close()));
  }
}
