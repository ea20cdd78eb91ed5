delete from tx_barrier where gid = ? and branch = ? and op = ? and seq = ?
