import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runClient } from '../../src/client/run.js';
import { call, leaderOf } from '../../src/cluster/http.js';
import { Cluster } from '../../src/cluster/processes.js';
import { runDemo } from '../../src/demo/run.js';

describe('three processes under load', () => {
  it('lose nothing and contradict nobody while their leader is killed with SIGKILL', async () => {
    const printed: string[] = [];
    const report = await runDemo(
      { core: 'raft', seconds: 12, killEvery: 1, clients: 6, seed: 3 },
      { write: (text) => printed.push(text) },
      new AbortController().signal,
    );
    expect(report, printed.join('')).toMatchObject({ linearizable: true, agreed: true });
    expect(report.kills).toBeGreaterThan(0);
    expect(report.ok).toBeGreaterThan(100);
  }, 120_000);
});

describe('the store', () => {
  let directory = '';
  let cluster: Cluster | undefined;
  let urls: string[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'replicated-kv-test-'));
    cluster = await Cluster.start(directory);
    urls = [...cluster.urls.values()];
  }, 120_000);

  afterAll(async () => {
    await cluster?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  /** The terminal client: what it printed, and its exit code. */
  async function kv(...args: string[]): Promise<{ out: string; err: string; code: number }> {
    const printed = { out: [] as string[], err: [] as string[] };
    const code = await runClient(
      ['--nodes', urls.join(), ...args],
      {},
      {
        out: (line) => printed.out.push(line),
        err: (line) => printed.err.push(line),
        signal: new AbortController().signal,
      },
    );
    return { out: printed.out.join('\n'), err: printed.err.join('\n'), code };
  }

  it('reads on any node what was written at another, and tells those who watch', async () => {
    const [one = '', two = '', three = ''] = urls;
    const watching = await fetch(`${three}/watch?prefix=w/`);
    const events = watching.body?.getReader();
    const put = await call<{ applied: boolean; version: number }>(`${one}/kv/w%2Fx`, {
      method: 'PUT',
      body: { value: 'hello' },
    });
    expect(put).toMatchObject({ status: 200, body: { applied: true } });
    expect(await call(`${two}/kv/w%2Fx`)).toEqual({
      status: 200,
      body: { key: 'w/x', value: 'hello', version: put.body.version },
    });
    const first = await events?.read();
    expect(Buffer.from(first?.value ?? []).toString()).toBe(
      `data: {"type":"put","key":"w/x","value":"hello","version":${String(put.body.version)}}\n\n`,
    );
    await events?.cancel();
    const stale = { value: 'late', ifVersion: put.body.version - 1 };
    expect(await call(`${two}/kv/w%2Fx`, { method: 'PUT', body: stale })).toMatchObject({
      status: 412,
      body: { applied: false },
    });
    expect(await call(`${one}/kv?prefix=w/`)).toMatchObject({ body: [{ key: 'w/x' }] });
    expect(await call(`${one}/kv/w%2Fx`, { method: 'DELETE' })).toMatchObject({ status: 200 });
    expect(await call(`${three}/kv/w%2Fx`)).toMatchObject({ status: 404 });
  });

  it('says what is wrong with a request', async () => {
    const [one = ''] = urls;
    for (const body of [{ value: 5 }, {}, { value: 'x', ttlMs: 0 }, { value: 'x', ifVersion: -1 }]) {
      await expect(call(`${one}/kv/x`, { method: 'PUT', body })).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
        definite: true,
      });
    }
    await expect(call(`${one}/kv/x?level=tomorrow`)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    const leader = (await leaderOf(cluster?.urls ?? new Map())) ?? '';
    const voters = ['a', 'b', 'b'];
    await expect(
      call(`${cluster?.urls.get(leader) ?? ''}/membership`, { method: 'POST', body: { voters } }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID', definite: true });
  });

  it('is spoken to by a terminal client, which kills the leader too', async () => {
    expect(await kv('put', 'k', '1')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^version \d+$/) as string,
    });
    expect(await kv('get', 'k')).toEqual({ code: 0, out: '1', err: '' });
    expect(await kv('cas', 'k', '2', '3')).toMatchObject({ code: 3, err: 'It is "1".' });
    expect(await kv('cas', 'k', '1', '3')).toMatchObject({ code: 0 });
    expect((await kv('list')).out).toBe('k\t3');
    expect((await kv('status')).out).toMatch(/^node +role[^]*LEADER/);
    expect(await kv('nonsense')).toMatchObject({ code: 2 });
    expect(await kv('get', '--frobnicate')).toMatchObject({ code: 2 });
    const leader = (await leaderOf(cluster?.urls ?? new Map())) ?? '';
    expect((await kv('kill', 'leader')).out).toMatch(new RegExp(`^killed ${leader}, process \\d+$`));
    // The others hold what was written, and take more.
    expect(await kv('get', 'k')).toMatchObject({ code: 0, out: '3' });
    expect(await kv('delete', 'k')).toMatchObject({ code: 0 });
    await cluster?.up(leader);
    expect(await kv('get', 'k')).toMatchObject({ code: 3 });
  }, 120_000);
});
