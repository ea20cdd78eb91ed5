// The table of lock backends in the README of @quorate/distributed-lock, from the capabilities that they export:
// `npm run embed` writes it, `npm run embed -- --check` fails when it is stale. A backend is a subpath of that package
// that exports `<name>Capabilities`, or several; a doc comment has no part in it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';

const root = join(import.meta.dirname, '..');
const folder = join(root, 'packages/distributed-lock');
const readme = join(folder, 'README.md');
const [BEGIN, END] = ['<!-- backends: written by `npm run embed` -->', '<!-- /backends -->'];

const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
const rows = [];
for (const [subpath, target] of Object.entries(exports)) {
  if (subpath === '.' || typeof target === 'string') continue;
  const module = await import(join(folder, target['@quorate/source']));
  for (const [name, value] of Object.entries(module)) {
    if (!name.endsWith('Capabilities')) continue;
    const variant = name.slice(0, -'Capabilities'.length);
    const plain = subpath.slice(2).replaceAll(/-(\w)/g, (_, letter) => letter.toUpperCase());
    rows.push([`\`${subpath.slice(1)}\`${variant === plain ? '' : ` \`${variant}\``}`, ...cells(value)]);
  }
}

/** What a backend promises, in the words of the README. */
function cells({ fencing, fifo, waiting, releasedOnCrash, safety, modes, upgrade, downgrade, leaseMs }) {
  const kinds = { exclusive: 'mutex', shared: 'read-write', permits: 'semaphore' };
  const conversions = [upgrade && 'upgrade', downgrade && 'downgrade'].filter(Boolean);
  return [
    safety,
    fencing,
    fifo ? 'FIFO' : 'no order',
    waiting,
    `by ${releasedOnCrash}`,
    [...modes.map((mode) => kinds[mode]), ...conversions].join(', '),
    `${leaseMs.min} ms to ${shown(leaseMs.max)}`,
  ];
}

function shown(ms) {
  const [day, hour] = [86_400_000, 3_600_000];
  if (ms >= 365 * day) return `${Math.floor(ms / (365 * day))} years`;
  if (ms >= day) return `${Math.floor(ms / day)} days`;
  return ms >= hour ? `${Math.floor(ms / hour)} h` : `${Math.floor(ms / 1000)} s`;
}

const heads = ['backend', 'safety', 'fence', 'order', 'waiting', 'after a crash', 'locks', 'lease'];
const table = [heads, heads.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
const before = readFileSync(readme, 'utf8');
const [start, end] = [before.indexOf(BEGIN), before.indexOf(END)];
if (start === -1 || end < start)
  throw new Error(`packages/distributed-lock/README.md lacks ${BEGIN} … ${END}`);
const text = `${before.slice(0, start)}${BEGIN}\n\n${table}\n\n${before.slice(end)}`;
const after = await format(text, { ...(await resolveConfig(readme)), filepath: readme });
if (after !== before && process.argv.includes('--check')) {
  console.error('packages/distributed-lock/README.md: the table of backends is stale: run `npm run embed`');
  process.exitCode = 1;
} else if (after !== before) {
  writeFileSync(readme, after);
  console.log(`packages/distributed-lock/README.md: ${rows.length} backends`);
}
