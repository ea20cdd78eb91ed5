import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type Context, ServiceBroker } from 'moleculer';
import { type Contender, TEXT } from './contender.js';

/** As its documentation sets it up, with the discovery by UDP left out, since the addresses are known. */
function broker(nodeID: string, port: number | null, urls: string[]): ServiceBroker {
  return new ServiceBroker({
    nodeID,
    logger: false,
    metrics: false,
    tracing: false,
    transporter: { type: 'TCP', options: { udpDiscovery: false, port, urls } },
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export const moleculer: Contender = {
  async serve(received) {
    const port = await freePort();
    const server = broker('server', port, []);
    server.createService({
      name: 'bench',
      actions: { echo: ({ params }: Context<{ text: string }>) => params.text },
      events: { 'bench.count': () => received() },
    });
    await server.start();
    return { port };
  },
  async connect(port) {
    const client = broker('client', null, [`tcp://127.0.0.1:${port}/server`]);
    await client.start();
    await client.waitForServices('bench', 60_000);
    let batch = 0;
    return {
      request: () => client.call('bench.echo', { text: TEXT }),
      send: () => {
        void client.emit('bench.count', { text: TEXT });
        return ++batch % 64 !== 0;
      },
      // It has no back pressure: give it turns of the event loop, as a careful user would.
      ready: () => new Promise((resolve) => setImmediate(resolve)),
    };
  },
};
