import { connect } from 'node:net';

/** Connects to the server of a URL, sends `greeting`, and returns the first bytes it answers. */
export function firstBytes(url: string, defaultPort: number, greeting = ''): Promise<Buffer> {
  const { hostname, port } = new URL(url);
  return new Promise<Buffer>((resolve, reject) => {
    const socket = connect({
      host: hostname,
      port: port === '' ? defaultPort : Number(port),
      timeout: 5_000,
    });
    const fail = (reason: string): void => {
      reject(new Error(`${hostname}:${port} ${reason}`));
      socket.destroy();
    };
    socket
      .once('connect', () => socket.write(greeting))
      .once('data', (bytes) => {
        resolve(bytes);
        socket.destroy();
      })
      .once('timeout', () => {
        fail('did not answer within 5000 ms');
      })
      .once('end', () => {
        fail('closed the connection');
      })
      .once('error', reject);
  });
}
