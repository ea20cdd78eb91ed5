insert ignore into tx_barrier (gid, branch, op, seq, reason) values (?, ?, ?, ?, ?)
