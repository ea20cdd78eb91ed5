import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { QuorateError, randomId, systemRuntime } from '@quorate/runtime';
import { descriptorOf, ServiceRegistry, type SharedService } from './registry.js';
import { type Source, sourceOf } from './source.js';

/** Where the test files of a run find the broker; with a secret, so that nobody else starts servers through it. */
const VARIABLE = 'QUORATE_TEST_BROKER';

interface Answers {
  service: { readonly url: string };
  source: Source;
}

/** Lends the servers of one run to all its processes. */
export interface Broker {
  /** Stops the servers and returns those that were used. */
  close(): Promise<readonly SharedService[]>;
}

/** Starts the broker of a run; processes started from now on find it through the environment. */
export async function startBroker(): Promise<Broker> {
  const registry = new ServiceRegistry();
  const secret = randomId(systemRuntime);
  const server = createServer((request, response) => {
    const [, given, question, name] = (request.url ?? '').split('/');
    const answer = (status: number, body: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (given !== secret || (question !== 'service' && question !== 'source')) {
      answer(404, { error: 'not found' });
      return;
    }
    reply(registry, question, name ?? '').then(
      (body) => {
        answer(200, body);
      },
      (error: unknown) => {
        answer(500, { error: error instanceof Error ? error.message : String(error) });
      },
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  process.env[VARIABLE] = `http://127.0.0.1:${String(port)}/${secret}`;
  return {
    async close() {
      Reflect.deleteProperty(process.env, VARIABLE);
      await closeServer(server);
      return registry.close();
    },
  };
}

async function reply(registry: ServiceRegistry, question: keyof Answers, name: string): Promise<object> {
  if (question === 'source') return sourceOf(descriptorOf(name));
  const { url } = await registry.get(name);
  return { url };
}

/** Asks the broker of this run; `undefined` when there is none. */
export function askBroker<Q extends keyof Answers>(
  question: Q,
  name: string,
): Promise<Answers[Q]> | undefined {
  const address = process.env[VARIABLE];
  if (address === undefined) return undefined;
  return new Promise((resolve, reject) => {
    // Installing a server takes as long as it takes: unlike fetch, this has no time limit.
    httpRequest(`${address}/${question}/${name}`, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response
        .on('data', (chunk: string) => (body += chunk))
        .on('error', reject)
        .on('end', () => {
          const answer = JSON.parse(body) as Answers[Q] & { error?: string };
          if (response.statusCode === 200) resolve(answer);
          else reject(new QuorateError('SERVICE_FAILED', answer.error ?? body));
        });
    })
      .on('error', reject)
      .end();
  });
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}
