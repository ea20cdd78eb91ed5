import { once } from 'node:events';
import { WebSocket, WebSocketServer } from 'ws';
import { BODY, BODY_BYTES, type Contender } from './contender.js';

/** Requests carry an id in their first four bytes; 0 is a one-way message. */
const MAX_BUFFERED_BYTES = 1_000_000;

export const ws: Contender = {
  async serve(received) {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
    server.on('connection', (socket) => {
      socket.on('message', (data: Buffer) => {
        if (data.readUInt32BE(0) === 0) received();
        else socket.send(data);
      });
    });
    await once(server, 'listening');
    const address = server.address();
    return { port: typeof address === 'object' ? (address?.port ?? 0) : 0 };
  },
  async connect(port) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
    await once(socket, 'open');
    const pending = new Map<number, (body: Uint8Array) => void>();
    let ids = 0;
    socket.on('message', (data: Buffer) => {
      const id = data.readUInt32BE(0);
      pending.get(id)?.(data.subarray(4));
      pending.delete(id);
    });
    const frame = (id: number): Buffer => {
      const bytes = Buffer.allocUnsafe(4 + BODY_BYTES);
      bytes.writeUInt32BE(id);
      bytes.set(BODY, 4);
      return bytes;
    };
    let idle: (() => void)[] = [];
    const sent = (): void => {
      if (socket.bufferedAmount > MAX_BUFFERED_BYTES / 2) return;
      for (const resolve of idle) resolve();
      idle = [];
    };
    return {
      request: () =>
        new Promise((resolve) => {
          const id = ++ids;
          pending.set(id, resolve);
          socket.send(frame(id));
        }),
      send: () => {
        socket.send(frame(0), sent);
        return socket.bufferedAmount < MAX_BUFFERED_BYTES;
      },
      ready: () => new Promise((resolve) => idle.push(resolve)),
    };
  },
};
