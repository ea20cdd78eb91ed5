import { spawn } from 'node:child_process';
import { which } from './descriptor.js';

/**
 * Debian's policy hook keeps the daemons of the packages from being started on their default ports. The script runs
 * in a session of its own and takes the hook away itself: an interrupted run leaves neither the hook nor a half
 * configured package behind. The lists of packages are refreshed only when it does not go without; their lock is one
 * for which apt-get does not wait. One such script runs at a time.
 */
const SCRIPT = `
set -u
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
get() { apt-get -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"; }
# Whether the lists know the packages is asked first, and quietly: a fresh machine has no lists.
if apt-get -qq -s install --no-install-recommends "$@" > /dev/null 2>&1; then
  get install -y --no-install-recommends "$@" && exit 0
fi
[ "$REFRESH" = yes ] || exit 1
for attempt in 1 2 3 4 5; do
  get update && break
  sleep "$attempt"
done
get install -y --no-install-recommends "$@"
`;

/** Whether Debian packages can be installed here: by root, on a system that has them. */
export function canInstall(): boolean {
  return process.getuid?.() === 0 && which('apt-get') !== undefined;
}

/** Installs Debian packages, with progress on stderr. Resolves when it is over; a failure is no error. */
export function aptInstall(packages: readonly string[], { refresh = true } = {}): Promise<void> {
  console.error(`[services] installing ${packages.join(', ')} with apt-get, this once ...`);
  return new Promise((resolve) => {
    spawn('flock', ['/var/lib/dpkg', 'sh', '-c', SCRIPT, 'apt-install', ...packages], {
      stdio: ['ignore', 2, 2],
      detached: true,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', REFRESH: refresh ? 'yes' : 'no' },
    })
      .once('error', (error) => {
        console.error(`[services] ${error.message}`);
        resolve();
      })
      .once('exit', () => {
        resolve();
      });
  });
}
