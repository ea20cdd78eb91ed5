import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { BODY, type Contender } from './contender.js';

/*
 * The limit: what one writes by hand for this benchmark alone. A frame is `length u32 | id u32 | body`, where id 0
 * is a one-way message; a Map of promises; all frames of a turn of the event loop in one write. No names, no
 * channels, no deadlines, no bounds, no handshake, no errors.
 *
 * `bare` is that loop as one writes it. Its two ends work in turns, each waiting for all that the other has to say.
 * `split` writes the first kilobytes of a turn ahead, so that both work at once: no loop over node:net was found here
 * that does more requests.
 */
const HEADER_BYTES = 8;
const CHUNK_BYTES = 64 * 1024;
const HEAD_BYTES = 6 * 1024;

class Writer {
  readonly #socket: Socket;
  readonly #split: boolean;
  #headIsOut = false;
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #length = 0;
  #scheduled = false;
  readonly #flush = (): void => {
    this.#scheduled = false;
    this.#headIsOut = false;
    this.#write();
  };

  constructor(socket: Socket, split: boolean) {
    this.#socket = socket;
    this.#split = split;
  }

  /** False when the socket asks for a pause. */
  frame(id: number, body: Uint8Array): boolean {
    const size = HEADER_BYTES + body.length;
    if (this.#length + size > CHUNK_BYTES) this.#write();
    const at = this.#length;
    const chunk = this.#chunk;
    const length = 4 + body.length;
    chunk[at] = length >>> 24;
    chunk[at + 1] = length >>> 16;
    chunk[at + 2] = length >>> 8;
    chunk[at + 3] = length;
    chunk[at + 4] = id >>> 24;
    chunk[at + 5] = id >>> 16;
    chunk[at + 6] = id >>> 8;
    chunk[at + 7] = id;
    chunk.set(body, at + HEADER_BYTES);
    this.#length = at + size;
    if (this.#split && !this.#headIsOut && this.#length >= HEAD_BYTES) {
      this.#headIsOut = true;
      this.#write();
    }
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#flush);
    }
    return !this.#socket.writableNeedDrain;
  }

  #write(): void {
    if (this.#length === 0) return;
    this.#socket.write(this.#chunk.subarray(0, this.#length));
    // What is written on the spot leaves the chunk free; what is not keeps it.
    if (this.#socket.writableLength > 0) this.#chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#length = 0;
  }
}

function readFrames(socket: Socket, take: (id: number, body: Uint8Array) => void): void {
  let rest: Buffer | undefined;
  socket.on('data', (data: Buffer) => {
    const chunk = rest === undefined ? data : Buffer.concat([rest, data]);
    let at = 0;
    while (chunk.length - at >= HEADER_BYTES) {
      const end = at + 4 + chunk.readUInt32BE(at);
      if (end > chunk.length) break;
      take(chunk.readUInt32BE(at + 4), chunk.subarray(at + HEADER_BYTES, end));
      at = end;
    }
    rest = at < chunk.length ? chunk.subarray(at) : undefined;
  });
}

const loop = (split: boolean): Contender => ({
  async serve(received) {
    const server = createServer({ noDelay: true }, (socket) => {
      const writer = new Writer(socket, split);
      readFrames(socket, (id, body) => {
        if (id === 0) received();
        else writer.frame(id, body);
      });
      socket.on('error', () => {});
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: (server.address() as AddressInfo).port };
  },
  async connect(port) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const writer = new Writer(socket, split);
    const pending = new Map<number, (body: Uint8Array) => void>();
    let ids = 0;
    readFrames(socket, (id, body) => {
      pending.get(id)?.(body);
      pending.delete(id);
    });
    return {
      request: () =>
        new Promise((resolve) => {
          const id = ++ids;
          pending.set(id, resolve);
          writer.frame(id, BODY);
        }),
      send: () => writer.frame(0, BODY),
      ready: async () => {
        if (socket.writableNeedDrain) await once(socket, 'drain');
      },
    };
  },
});

export const bare = loop(false);
export const split = loop(true);
