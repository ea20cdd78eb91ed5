delete from tx_barrier where gid = $1 and branch = $2 and op = $3 and seq = $4
