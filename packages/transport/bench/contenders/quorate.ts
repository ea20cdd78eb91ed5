import { createTransport, type Transport } from '@quorate/transport';
import { createTcpLink } from '@quorate/transport/tcp';
import { BODY, type Contender } from './contender.js';

const common = { clusterId: 'bench', auth: { secret: 'the secret of the benchmark' } } as const;

export const quorate: Contender = {
  async serve(received) {
    const link = createTcpLink({ self: 'server', listen: { port: 0 }, ...common });
    const transport = createTransport(link);
    transport.respond('echo', ({ body }) => body);
    transport.subscribe('count', () => {
      received();
    });
    await transport.start();
    return { port: link.address()?.port ?? 0 };
  },
  async connect(port) {
    const link = createTcpLink({ self: 'client', peers: { server: `127.0.0.1:${port}` }, ...common });
    const transport: Transport = createTransport(link);
    await transport.start();
    await new Promise<void>((resolve) => {
      transport.onPeer(({ type }) => {
        if (type === 'up') resolve();
      });
    });
    const options = { timeoutMs: 10_000 };
    return {
      request: () => transport.request('server', 'echo', BODY, options),
      send: () => transport.send('server', 'count', BODY) === 'queued',
      ready: () => transport.writable('server'),
    };
  },
};
