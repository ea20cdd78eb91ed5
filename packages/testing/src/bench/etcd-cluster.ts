import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { freePorts, runProgram, until } from './processes.js';

const IDS = ['a', 'b', 'c'];

/** Whether the program is installed. */
export function etcdIsThere(): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((path) => existsSync(join(path, 'etcd')));
}

/** Three members on loopback that sync to disk, and the port at which the leader among them has clients. */
export async function startEtcdCluster(
  folder: string,
): Promise<{ readonly servers: readonly ChildProcess[]; readonly port: number }> {
  const free = await freePorts(2 * IDS.length);
  const url = (port: number | undefined): string => `http://127.0.0.1:${port}`;
  const members = IDS.map((id, at) => ({ id, client: url(free[at]), peer: url(free[at + IDS.length]) }));
  const cluster = members.map(({ id, peer }) => `${id}=${peer}`).join(',');
  const servers = members.map(({ id, client, peer }) =>
    runProgram('etcd', [
      ...['--name', id, '--data-dir', join(folder, `etcd-${id}`), '--log-level', 'error', '--logger', 'zap'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', cluster, '--initial-cluster-state', 'new'],
    ]),
  );
  const port = await until(async () => {
    for (const [at, { client }] of members.entries()) {
      const answer = await fetch(`${client}/v3/maintenance/status`, { method: 'POST', body: '{}' }).catch(
        () => undefined,
      );
      const status = (await answer?.json()) as Partial<Record<string, unknown>> | undefined;
      const { member_id: member } = (status?.['header'] ?? {}) as { member_id?: string };
      if (member !== undefined && member === status?.['leader']) return free[at];
    }
    return undefined;
  });
  return { servers, port };
}
