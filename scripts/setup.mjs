// Makes a fresh clone ready with nothing but Node and npm, and costs a few milliseconds when it already is.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Quorate's workspace needs Node 20.19 or newer; this is ${process.version}.`);
  process.exit(1);
}

/** Packages of a lock file that belong on this machine, by path, with their versions. */
function packagesOf(file) {
  try {
    const { packages } = JSON.parse(readFileSync(join(root, file), 'utf8'));
    return new Map(Object.entries(packages).map(([path, entry]) => [path, entry]));
  } catch {
    return undefined;
  }
}

function installed() {
  const wanted = packagesOf('package-lock.json');
  const present = packagesOf('node_modules/.package-lock.json');
  if (wanted === undefined || present === undefined) return false;
  for (const [path, entry] of wanted) {
    // Optional packages are other platforms' binaries; the root and the workspace folders are not installed.
    if (path === '' || entry.optional || !path.startsWith('node_modules/')) continue;
    const found = present.get(path);
    if (found === undefined || found.version !== entry.version || found.resolved !== entry.resolved) {
      if (!(entry.link && found?.link)) return false;
    }
  }
  return true;
}

if (!installed()) {
  console.error('[setup] installing dependencies with npm ci ...');
  const started = process.hrtime.bigint();
  const { status, error } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (error) console.error(error.message);
  if (status !== 0) process.exit(status ?? 1);
  console.error(`[setup] ready after ${Number((process.hrtime.bigint() - started) / 1_000_000_000n)} s`);
}
