export { createFileLog, type FileLogOptions } from './file-log.js';
export { nodeFileSystem } from './node-file-system.js';
