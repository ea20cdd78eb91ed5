// A worker: takes the lock, asks for the next task, does it, and says so under its fence, if there is one.
import { once } from 'node:events';
import { createLocks } from '@quorate/distributed-lock';
import { sleep, systemRuntime } from '@quorate/runtime';
import { backends } from './backends.js';
import type { Answer, Given, Question, WorkerArguments } from './protocol.js';

const given = JSON.parse(process.argv[2] ?? '') as WorkerArguments;
const backend = await backends[given.backend]?.connect(given);
if (backend === undefined) throw new Error(`no backend ${given.backend}`);
const locks = createLocks(backend, { leaseMs: given.leaseMs, client: given.id });

async function ask<T extends Answer>(question: Question): Promise<T> {
  process.send?.(question);
  const [answer] = (await once(process, 'message')) as [T];
  return answer;
}

process.on('disconnect', () => process.exit());
for (;;) {
  try {
    const lease = await locks.acquire(given.directory);
    const fence = locks.capabilities.fencing === 'none' ? undefined : lease.fence;
    const { task, version } = await ask<Given>({ type: 'next', fence });
    if (task === undefined) {
      await lease.release();
      break;
    }
    await sleep(systemRuntime, 3 + systemRuntime.random() * 10);
    // It may have stood still since: the store looks at the fence or the version, and this worker need not know.
    await ask({ type: 'done', task, fence, version });
    await lease.release();
  } catch {
    // The lock was lost, or its server is away: the next turn tells.
    await sleep(systemRuntime, 50);
  }
}
await locks.close();
process.exit();
