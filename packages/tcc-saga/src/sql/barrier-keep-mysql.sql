update tx_barrier set result = ? where gid = ? and branch = ? and op = ? and seq = ?
