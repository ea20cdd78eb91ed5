import { traceHashes } from '../simulation/hashes.js';

console.log(JSON.stringify(await traceHashes()));
