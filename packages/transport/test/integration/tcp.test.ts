import { afterEach, describe, expect, test } from 'vitest';
import type { TcpLinkOptions } from '@quorate/transport/tcp';
import { Node } from './tcp-nodes.js';

const nodes: Node[] = [];
const node = async (self: string, options: Partial<TcpLinkOptions> = {}): Promise<Node> => {
  const one = new Node(self, options);
  nodes.push(one);
  await one.start();
  return one;
};
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((one) => one.link.close(0)));
});

describe('sessions', () => {
  test('two nodes that list each other share one session, and frames go both ways', async () => {
    const a = await node('a');
    const b = await node('b', { peers: { a: a.address } });
    a.link.setPeers({ b: b.address });
    await a.up('b');
    await b.up('a');
    expect(a.link.send('b', Buffer.from('hello'))).toBe('queued');
    expect(await b.next()).toEqual({ from: 'a', session: 1, text: 'hello' });
    expect(b.link.send('a', Buffer.from('and back'))).toBe('queued');
    expect(await a.next()).toEqual({ from: 'b', session: 1, text: 'and back' });
  });
});
