export { benchDisk, type DiskRun } from './bench/disk.js';
export { etcdIsThere, startEtcdCluster } from './bench/etcd-cluster.js';
export { ask, cpuUs, endProcesses, endScripts, freePorts, runScript, until } from './bench/processes.js';
export { median, quantile, ratio, readable } from './bench/statistics.js';
