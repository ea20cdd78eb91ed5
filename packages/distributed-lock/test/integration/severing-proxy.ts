import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A way to a server that can be cut just when an answer comes back: the server executed what nobody heard of. */
export class SeveringProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #armed: ((request: string) => boolean) | undefined;
  #severed: (() => void) | undefined;

  private constructor(port: number) {
    this.#server = createServer({ noDelay: true }, (near) => {
      const far = connect({ host: '127.0.0.1', port, noDelay: true });
      let asked = '';
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.on('data', (chunk: Buffer) => {
        asked = chunk.toString('latin1');
        far.write(chunk);
      });
      far.on('data', (chunk: Buffer) => {
        if (this.#armed?.(asked) === true) {
          this.#armed = undefined;
          near.resetAndDestroy();
          this.#severed?.();
        } else near.write(chunk);
      });
    });
  }

  static async to(port: number): Promise<SeveringProxy> {
    const proxy = new SeveringProxy(port);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Cuts the connection instead of passing on the next answer to a request that contains `text`. */
  sever(text: string): Promise<void> {
    this.#armed = (request) => request.includes(text);
    return new Promise((resolve) => {
      this.#severed = resolve;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
