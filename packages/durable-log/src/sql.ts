export { createSqlLog, sqlLogMigrations, type SqlLogOptions } from './sql-log.js';
