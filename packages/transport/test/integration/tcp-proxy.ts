import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

interface Pair {
  /** The end towards whoever dialled the proxy. */
  readonly near: Socket;
  /** The end towards the target. */
  readonly far: Socket;
}

/** A network between two nodes that can be cut, stalled, left half open, listened in to, and lied on. */
export class Proxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #stalled = false;
  #refusing = false;
  /** What the dialling ends have sent so far, connection by connection. */
  readonly recorded: Buffer[][] = [];

  /** `target` is asked for each connection; while it gives nothing the connection is reset. */
  constructor(target: () => string | undefined) {
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
      const [host = '', port] = target()?.split(':') ?? [];
      if (this.#refusing || host === '') {
        near.resetAndDestroy();
        return;
      }
      const far = connect({ host, port: Number(port), noDelay: true, allowHalfOpen: true });
      const pair = { near, far };
      const record: Buffer[] = [];
      this.recorded.push(record);
      this.#pairs.add(pair);
      near.on('data', (chunk: Buffer) => {
        record.push(chunk);
        far.write(chunk);
      });
      far.on('data', (chunk: Buffer) => {
        near.write(chunk);
      });
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        from.on('error', () => {});
        from.on('end', () => {
          if (!this.#stalled) to.end();
        });
        from.on('close', () => {
          if (this.#stalled || !this.#pairs.delete(pair)) return;
          to.destroy();
        });
      }
      if (this.#stalled) this.#pause(pair);
    });
  }

  static async to(target: string): Promise<Proxy> {
    const proxy = new Proxy(() => target);
    await proxy.listen();
    return proxy;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Resets every connection at both ends. New ones are let through. */
  cut(): void {
    for (const { near, far } of this.#take()) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** Resets the dialling ends only: the targets never learn of it. */
  cutNear(): void {
    for (const { near, far } of this.#take()) {
      far.pause();
      this.#orphans.push(far);
      near.resetAndDestroy();
    }
  }

  /** Resets the targets' ends only. */
  cutFar(): void {
    for (const { near, far } of this.#take()) {
      near.pause();
      this.#orphans.push(near);
      far.resetAndDestroy();
    }
  }
  readonly #orphans: Socket[] = [];

  /** From now on resets whoever dials. */
  refuse(refusing: boolean): void {
    this.#refusing = refusing;
  }

  /** Carries nothing any more, in either direction, and leaves every connection open. */
  stall(): void {
    this.#stalled = true;
    for (const pair of this.#pairs) this.#pause(pair);
  }

  resume(): void {
    this.#stalled = false;
    for (const { near, far } of this.#pairs) {
      near.resume();
      far.resume();
    }
  }

  /** Says something to one end of every connection in the name of the other, and ends the connection if asked to. */
  inject(bytes: Uint8Array, to: 'near' | 'far' = 'far', end = false): void {
    for (const pair of this.#pairs) {
      pair[to].write(bytes);
      if (end) pair[to].end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    for (const orphan of this.#orphans) orphan.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #take(): Pair[] {
    const pairs = [...this.#pairs];
    this.#pairs.clear();
    return pairs;
  }

  #pause({ near, far }: Pair): void {
    near.pause();
    far.pause();
  }
}
