// What raft costs: `npm run bench -w @quorate/raft-core`, all tables in about five minutes. Parts by
// `-- --only core,durable,growth`, and a closer look by `--rounds 9` and `--ms 1000`.
import { parseArgs } from 'node:util';
import { benchCore } from './core.js';
import { benchDurable } from './durable.js';
import { benchGrowth } from './growth.js';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'core,durable,growth' },
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '500' },
    clients: { type: 'string', default: '1,64' },
    profile: { type: 'string' },
  },
});
const parts = new Set(values.only.split(','));
const rounds = Number(values.rounds);
const forMs = Number(values.ms);
const counts = values.clients.split(',').map(Number);

console.log(`Node ${process.version}`);
if (parts.has('core')) await benchCore(rounds, forMs);
if (parts.has('durable')) await benchDurable({ rounds, forMs: 4 * forMs, counts, profile: values.profile });
if (parts.has('growth')) await benchGrowth();
